"""What the model answered, in words that need no model: the title of the report, the answer, what its number means and for
which days it was foretold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from analysis.i18n import catalogue, phrase
from analysis.results.explanation import Explanation
from analysis.results.review import RunFacts
from analysis.review.weights import difference_said, step_said, value_said
from analysis.wording import given_title, task_title
from ple_model.fields import NO_CUTOFF
from ple_model.money import is_money
from ple_model.numerals import Language, share
from ple_model.reliability import CameTrue

RECOMMENDED = ("nba",)
"""Tasks whose answer is a recommendation; what all others answer is an estimate."""
RARE = 0.05
"""Within this of 0 or 1 people are counted in thousands, so that a whole number of them says enough."""
UNFOUNDED = ("skill", "dormant", "uncertain")
"""Why a person must decide where the number itself is not to be relied on."""
MIDDLE = 0.5
"""From here on the model has less to go on than for the middle customer."""
CLOSE = 0.9
"""Of the first answer's probability: from here on the next in line is called nearly as likely, by judgement."""
SEOUL = timezone(timedelta(hours=9))
"""Korea has no summer time: readers of Korean are told its time, all others UTC."""


@dataclass(frozen=True)
class Period:
    """The days that an answer is about."""

    start: date
    end: date

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1

    @staticmethod
    def of(found: Explanation, about: RunFacts) -> Period | None:
        """None where the dataset does not say it, or nothing is foretold."""
        if found.task not in about.periods or found.cutoff == NO_CUTOFF:
            return None
        try:
            day = date.fromisoformat(found.cutoff[:10])
        except ValueError:
            return None
        first, last = about.periods[found.task]
        return Period(day + timedelta(days=first), day + timedelta(days=last))


def report_title(found: Explanation, language: Language) -> str:
    """A recommendation is called so, anything else an estimate."""
    known = found.task in RECOMMENDED and not own_title(found)
    return phrase("review.title_recommendation" if known else "review.title_estimate", language)


def own_title(found: Explanation) -> str:
    """The title of a label of somebody's own, whose number means what they say and not what the task of the package means;
    else empty."""
    return given_title(found.task, found.title)


def asked_title(found: Explanation, language: Language) -> str:
    """What was asked for, by a label's own title or in the words of reports."""
    return own_title(found) or catalogue(language).get(f"asked.{found.task}") or task_title(found.task, language) or found.title


def answer(found: Explanation, period: Period | None, language: Language) -> str:
    """The one line that says it all: `Offer ranked first: time deposit – 16.0%`."""
    name, value = asked_title(found, language), value_said(found, found.prediction, language)
    own = own_title(found)
    if found.task == "engagement" and period is not None and not own:
        value = phrase("review.of_days", language, value=value, days=period.days)
    if found.task == "spending_bucket" and not own:
        value = phrase("review.rank", language, place=f"{min(max(round(found.prediction), 1), 100)}")
    if not found.target_name:
        return f"{name} – {value}"
    label = found.label_said(found.target_name, language)
    if (first := found.first_choice) is not None:
        return phrase(
            "review.asked_about", language, result=f"{name}: {label}", first=found.label_said(first.name, language),
            share=found.shown(first.probability, language),
        ) + f" – {value}"  # fmt: skip
    return f"{name}: {label} – {value}"


def people(probability: float, of: int) -> int:
    """How many of so many, by the percentage as it is printed: of 85.5% are 86 of 100."""
    return int(Decimal(f"{100 * probability:.1f}") * of / 100 + Decimal("0.5"))


def _counted(n: int, of: int, probability: float, language: Language) -> str:
    """`86`; nobody and everybody only where that is so, else `fewer than 1`, `more than 999`."""
    if n == 0 and probability > 0:
        return phrase("review.fewer_than", language, n="1")
    if n == of and probability < 1:
        return phrase("review.more_than", language, n=f"{of - 1:,}")
    return f"{n:,}"


def meaning(found: Explanation, period: Period | None, language: Language) -> str:
    """What the number means, as a sentence with a verb: how many of a hundred customers who are given it do what. Where it is
    not to be relied on, what it would mean, and that it must not be taken so."""
    said, about = _meant(found, period, language)
    own = next((p for p in found.predictions if p.task == found.task), None)
    if found.person_because in UNFOUNDED:
        return phrase("review.taken", language, said=said[:1].lower() + said[1:])
    if found.score_unit == "probability" and (own is None or not own.calibrated):  # what it rests on is known first
        if (checked := found.reliability) is None:
            said = phrase("review.uncalibrated", language, said=said[:1].lower() + said[1:])
        else:
            said = f"{said} {_checked(checked, language)}"
    return " ".join(filter(None, (said, _close(found, language), about)))


def _close(found: Explanation, language: Language) -> str:
    """That the next in line is nearly as likely as the first; empty where it is not, or no choice was explained."""
    others = [o for o in found.offers if o.index != found.target]
    if not others or found.first_choice is not None or others[0].probability < CLOSE * found.prediction:
        return ""
    label = found.label_said(others[0].name, language)
    return phrase("review.close", language, label=label, share=found.shown(others[0].probability, language))


def _checked(x: CameTrue, language: Language) -> str:
    """How often it came true of customers who were given about as much."""
    held = "holds" if x.holds else "less" if x.came < x.told else "more"
    return phrase(
        f"review.checked_{held}", language, n=f"{x.n:,}", low=f"{x.low:.0%}", high=f"{x.high:.0%}", came=share(x.came, 0.1),
        told=share(x.told, 0.1),
    )  # fmt: skip


def _meant(found: Explanation, period: Period | None, language: Language) -> tuple[str, str]:
    """(what the number means, what it rests on)."""
    when = phrase("review.when_unknown", language)
    if period is not None:
        when = phrase("review.when", language, days=period.days, start=period.start, end=period.end)
    known = catalogue(language)
    if found.score_unit == "probability":
        of = 100 if min(found.prediction, 1 - found.prediction) >= RARE or found.prediction in (0, 1) else 1000
        n = people(found.prediction, of)
        label = found.label_said(found.target_name, language) if found.target_name else ""
        key = f"meaning.{found.task}" if not own_title(found) else ""
        key = key if key in known else "meaning.class" if label else "meaning.yes"
        said = phrase(
            key, language, n=_counted(n, of, found.prediction, language), of=f"{of:,}",
            rest=_counted(of - n, of, 1 - found.prediction, language), label=label, when=when,
            title=asked_title(found, language),
        )  # fmt: skip
        for bound in phrase("review.bounds", language).split(";"):  # what is fewer than one is not about one
            rough, exact = bound.split("=", 1)
            said = said.replace(rough, exact)
        own = next((p for p in found.predictions if p.task == found.task), None)
        little = own is not None and own.rank is not None and own.rank >= MIDDLE
        hint = phrase("review.hint", language) if key == "meaning.life_stage" and little else ""
        if own is not None and own.calibrated:
            return said, " ".join(filter(None, (hint, phrase("review.calibrated", language))))
        return said, hint
    key = f"meaning.{found.task}" if f"meaning.{found.task}" in known and not own_title(found) else "meaning.value"
    place = min(max(round(found.prediction), 1), 100)
    value = value_said(found, found.prediction, language)
    said = phrase(
        key, language, value=value, when=when, place=f"{place}", above=f"{100 - place}", title=asked_title(found, language)
    )
    return said, phrase(f"review.{found.statistic}", language) if found.statistic else ""


def against(found: Explanation, language: Language) -> str:
    """The mean of all customers with how far this one lies from it; where reasons are shown, the invented customer that they
    start from."""
    size = difference_said(found, language) or phrase("review.less_than", language, value=step_said(found, language))
    if found.unit == "percentile" and found.score_unit == "value":
        size = phrase("review.places", language, value=size)
    above = found.prediction - found.population
    same = found.shown(found.prediction, language) == found.shown(found.population, language)
    side = "same" if same else "above" if above > 0 else "below"
    counted = found.score_unit == "value" and (found.unit == "active days" or is_money(found.unit))
    if counted and side != "same":
        side += "_amount"
    said = phrase(f"review.against_{side}", language, population=value_said(found, found.population, language), difference=size)
    if found.withheld:
        return said
    start = phrase("review.start", language, typical=value_said(found, found.typical, language))
    if same or above * found.difference >= 0:
        return f"{said} {start}"
    other = phrase("review.start_above" if found.difference > 0 else "review.start_below", language)
    return f"{said} {start} {other}"


def made_at(found: Explanation, language: Language) -> tuple[str, date | None]:
    """(when the report was made in the time of its readers, that day); the day None where the record does not say it."""
    try:
        moment = datetime.fromisoformat(str(found.audit.get("made", "")))
    except ValueError:
        return "–", None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(SEOUL if language == "ko" else UTC)
    return phrase("review.made_at", language, moment=f"{moment:%Y-%m-%d %H:%M}"), moment.date()


def period_said(period: Period, made: date | None, language: Language) -> str:
    """From which day to which, counted from the data's, and whether that is over."""
    over = made is not None and period.end < made
    return phrase(
        "review.period_over" if over else "review.period_said", language, start=period.start, end=period.end, days=period.days
    )
