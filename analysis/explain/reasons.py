"""Attributions -> sentences a reviewer can check: the feature's meaning, the customer's value beside one other in real units,
and by how much it moves the prediction. Columns that say the same are one reason, told by the strongest of them that a person
can say (`sayable`); derived inputs are told by what they were made of (`origin`). What has no plain name is no reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analysis.explain.hours import hours_said
from analysis.explain.origin.told import CIRCLE, Cell, OriginSentence, beside_said, topic_of
from analysis.explain.sayable import RESTS_ON
from analysis.explain.source_columns import CATEGORY
from analysis.i18n import catalogue, phrase
from analysis.naming import label_said
from analysis.results.explanation_parts import FeatureContribution, Kind, Reason
from analysis.wording import OPAQUE, is_field, quantity, task_title
from ple_model.fields import NO_CUTOFF
from ple_model.numerals import LANGUAGES, Language, number
from ple_model.schema import FeatureSchema

Array = NDArray[np.float64]
LEAST = 0.01
"""A reason weaker than this beside the strongest that is told is not worth a sentence."""
FOR, AGAINST = 4, 2
"""At most so many reasons a side."""
Teller = Callable[[str, float], OriginSentence | None]
"""What an input (or family of inputs) with this contribution was made of; None where that is not known."""
Alike = Callable[[str], Iterable[str]]
"""The columns that say the same as one, itself included."""
Middle = Callable[[str], float | None]
"""The median of similar customers in a column; None where it is nothing to compare with."""
Says = Callable[[str], bool]
"""Of a column: whether a person can say it."""
KindOf = Callable[[str], Kind | None]
"""What kind of sensitive fact a column may be; None where it is none."""
Rests = Callable[[str], OriginSentence | None]
"""What an estimate rests on; None where that is not known of the customer."""


CellOf = Callable[[str], Cell]
"""How the customer's value in a column is to be read."""


def as_read(name: str) -> Cell:
    """Every column has the value that it reads."""
    return "value"


def nobody(name: str) -> None:
    """No similar customers to compare with."""


def always(name: str) -> bool:
    """Every column can be said."""
    return True


def by_name(name: str, value: float = 0.0) -> OriginSentence:
    """An input in no more words than its name."""
    return OriginSentence(name, name)


@dataclass(frozen=True)
class Means:
    """What a reason is told with: see the types. `named`: of an input, whether it has a plain name at all."""

    teller: Teller = by_name
    alike: Alike = lambda name: (name,)
    middle: Middle = nobody
    cell: CellOf = as_read
    sayable: Says = always
    sensitive: KindOf = nobody
    rests: Rests = by_name
    named: Says = always


@dataclass(frozen=True)
class Subject:
    """What is being explained, for the end of each sentence. `probability`: contributions are in probability."""

    task: str
    task_title: str
    target_name: str
    probability: bool
    unit: str
    cutoff: str = NO_CUTOFF

    def effect(self, contribution: float, language: Language) -> str:
        """`raises the probability of 'fund' by 3.2 points`."""
        size, direction = abs(contribution), "raises" if contribution > 0 else "lowers"
        if not self.probability:
            key = f"reason.{direction}_{self.unit.replace(' ', '_')}"
            if key in catalogue(language):  # a unit that reads oddly as the object of a sentence
                return phrase(key, language, amount=number(size))
            return phrase(f"reason.{direction}_value", language, amount=quantity(size, self.unit, language))
        points = f"{100 * size:.1f}" if size >= 0.0005 else f"{100 * size:.2g}"
        what = (
            f"'{label_said(self.task, self.target_name, self.cutoff, language)}'"
            if self.target_name
            else task_title(self.task, language) or self.task_title.lower()
        )
        return phrase(f"reason.{direction}_probability", language, what=what, points=points)


def feature_contributions(
    schema: FeatureSchema, contributions: Array, own: Array, typical: Array, limit: int | None = 30
) -> tuple[FeatureContribution, ...]:
    """The strongest columns; contributions, own and typical are [734], the latter two in real units."""
    order = np.argsort(-np.abs(contributions), kind="stable")
    found = []
    for i in order[: limit if limit is not None else len(order)]:
        if contributions[i] == 0:
            break
        c = schema.columns[int(i)]
        found.append(
            FeatureContribution(
                c.name, c.part, c.group, c.unit, float(own[i]), float(typical[i]), float(contributions[i]), c.sentence_en,
                c.sentence_ko,
            )
        )  # fmt: skip
    return tuple(found)


def reasons(
    features: Sequence[FeatureContribution], groups: Mapping[str, float], subject: Subject, sign: float, limit: int = FOR,
    means: Means | None = None,
) -> tuple[Reason, ...]:  # fmt: skip
    """The strongest reasons whose contribution has the sign of `sign`, of what a person can say."""
    m = Means() if means is None else means
    candidates: list[tuple[float, Callable[[], Reason | None]]] = []
    for leader, together, value in merged(features, m.alike, m.cell, m.sayable):
        if value * sign > 0:
            hour = (
                partial(of_hour, [f for f in features if f.name in together], subject) if CIRCLE.search(leader.name) else None
            )
            candidates.append((abs(value), hour or partial(of_features, leader, together, value, subject, m)))
    for topic, (members, value) in topics(groups).items():
        if value * sign > 0 and m.named(topic):
            candidates.append((abs(value), partial(of_topic, topic, members, value, subject, m)))
    candidates.sort(key=lambda c: -c[0])
    found: list[Reason] = []
    strongest = 0.0  # of those that are told: what nobody can say is no measure of what somebody can
    for size, make in candidates:
        if len(found) == limit or size < LEAST * strongest:
            break
        if (reason := make()) is not None:
            strongest = strongest or size
            found.append(reason)
    return tuple(found)


def merged(
    features: Sequence[FeatureContribution], alike: Alike, cell: CellOf = as_read, sayable: Says = always
) -> list[tuple[FeatureContribution, tuple[str, ...], float]]:
    """(who speaks, whose contributions are taken together, their sum): columns that say the same are one reason. The strongest
    of those that pull the way of the sum speaks, one that a person can say and whose value is known before others."""
    open_ = {f.name: f for f in features if f.part not in OPAQUE}
    found = []
    for f in list(open_.values()):
        if f.name not in open_:
            continue
        together = [open_.pop(n) for n in dict.fromkeys((f.name, *alike(f.name))) if n in open_]
        value = sum(x.contribution for x in together)
        pulling = [x for x in together if x.contribution * value > 0] or together
        said = [x for x in pulling if sayable(x.name)] or pulling
        known = [x for x in said if cell(x.name) == "value"] or said
        leader = max(known, key=lambda x: x.contribution * np.sign(value))
        found.append((leader, tuple(x.name for x in together), value))
    return found


def topics(groups: Mapping[str, float]) -> dict[str, tuple[tuple[str, ...], float]]:
    """topic -> (inputs, their contribution) of all that are no columns that speak for themselves."""
    found: dict[str, tuple[tuple[str, ...], float]] = {}
    for group, value in groups.items():
        if group in OPAQUE or is_field(group):
            members, so_far = found.get(topic_of(group), ((), 0.0))
            found[topic_of(group)] = (*members, group), so_far + value
    return found


def of_features(
    f: FeatureContribution, together: tuple[str, ...], contribution: float, subject: Subject, m: Means
) -> Reason | None:
    """`of_feature` for all columns that say the same: their sum, in the words of one; an estimate by what it rests on. None
    where no person would say it."""
    if f.name in RESTS_ON:
        told = m.rests(f.name)
        return None if told is None else _told(told, together, contribution, subject, m)
    if not m.sayable(f.name):
        return None
    found = of_feature(replace(f, contribution=contribution), subject, m.middle, m.cell(f.name))
    return _marked(replace(found, sources=together), m.sensitive(f.name))


def of_hour(parts: Sequence[FeatureContribution], subject: Subject) -> Reason | None:
    """The sine and the cosine of an hour are one fact: the hour. None where it differs by less than it is rounded."""
    value = sum(f.contribution for f in parts)
    facts = tuple(hours_said(parts, x) for x in LANGUAGES)
    return None if not all(facts) else _reason((facts[0], facts[1]), tuple(f.name for f in parts), value, subject)


def of_topic(
    topic: str, members: tuple[str, ...], contribution: float, subject: Subject, m: Means
) -> Reason | None:  # fmt: skip
    """By what the input was made of; None where that is not known."""
    told = m.teller(topic, contribution)
    return None if told is None else _told(told, members, contribution, subject, m)


def of_feature(f: FeatureContribution, subject: Subject, middle: Middle = nobody, cell: Cell = "value") -> Reason:
    """`Days since the last purchase: 12 days (similar customers: 34 days); this raises ... by 3.2 points.`"""

    def said(sentence: str, language: Language) -> str:
        if f.unit == CATEGORY:  # its sentence holds the values
            return sentence.rstrip(".")
        return beside_said(f.name, sentence, f.unit, f.value, f.typical, middle(f.name), cell, language)

    return _reason((said(f.sentence_en, "en"), said(f.sentence_ko, "ko")), (f.name,), f.contribution, subject)


def _told(told: OriginSentence, sources: tuple[str, ...], contribution: float, subject: Subject, m: Means) -> Reason:
    found = _reason((told.en, told.ko), sources, contribution, subject, told.through)
    return _marked(found, next((k for k in map(m.sensitive, told.spoken) if k is not None), None))


def _reason(
    facts: tuple[str, str], sources: tuple[str, ...], contribution: float, subject: Subject,
    through: tuple[tuple[str, float], ...] = (),
) -> Reason:  # fmt: skip
    """The fact by itself, and with what it does."""
    en, ko = (
        phrase("reason.whole", x, fact=fact.rstrip("."), effect=subject.effect(contribution, x))
        for x, fact in zip(LANGUAGES, facts, strict=True)
    )
    return Reason(en, ko, sources, contribution, through, facts=facts)


def _marked(reason: Reason, kind: Kind | None) -> Reason:
    """With the mark of what may be sensitive, which stands beside the sentence and not in it."""
    return reason if kind is None else replace(reason, sensitive=True, kind=kind)
