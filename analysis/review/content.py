"""One explanation as the report for review: what was decided and why, how sure it is, on what it rests, and what a person adds.

Every number comes from the `Explanation` that the page shows, in the same words (`Explanation.shown`, `quantity`).
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.explain.origin.told import sentence_said
from analysis.i18n import section
from analysis.naming import said_name
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Reason
from analysis.results.review import ReviewBlock, ReviewReport, RunFacts
from analysis.review.checklist import checklist
from analysis.wording import given_title, plain_quantity, task_title, title
from ple_model.barred_words import BARRED_KINDS
from ple_model.fields import NO_CUTOFF
from ple_model.numerals import Language, percent, share, statistic
from ple_model.presence import plain_name
from ple_model.tasks import TASKS

NAMED = 8
"""Inputs that a customer lacks by name; of more it says how many."""
RARE = 0.05
"""Below this probability people are counted in thousands, so that a whole number of them says enough."""
DIGITS = 16
"""Digits of a fingerprint in print: as many as tell two runs apart; the audit record has all of them."""


def review(
    found: Explanation, about: RunFacts, language: Language = "en", *, customer: str | None = None, record: str | None = None
) -> ReviewReport:
    """The report. `customer`: what stands for the customer in it, a mask; None: the id itself. `record`: where the audit record
    is kept that this report is noted in; None: in none."""
    w = section("review", language)
    name = given_title(found.task, found.title) or task_title(found.task, language) or found.title
    result = f"{name}: {said_name(found.target_name, language)}" if found.target_name else name
    if (first := found.first_choice) is not None:
        result = w["asked_about"].format(
            result=result, first=said_name(first.name, language), share=found.shown(first.probability, language)
        )
    f = found.faithfulness
    verdict = found.meaningless(language) or (f.verdict_ko if language == "ko" else f.verdict_en)
    return ReviewReport(
        language=language,
        title=w["title"],
        customer=found.customer_id if customer is None else customer,
        masked=customer is not None,
        answer=f"{result} – {found.shown(found.prediction, language)}",
        against=w["against"].format(
            typical=found.shown(found.typical, language), population=found.shown(found.population, language)
        ),
        level="withheld" if found.unskilled else f.level,
        verdict=verdict,
        first=(
            _decision(found, about, language, w, customer),
            _reasons(found, language, w),
            _change(found, language, w),
            _limits(found, language, w),
            _data(found, about, language, w),
            _form(w),
        ),
        second_title=w["checklist"],
        second=checklist(found, language, recorded=record is not None),
        footer=w["footer" if record is not None else "footer_unrecorded"].format(
            release=found.audit.get("version", ""), place=record
        ),
    )


def _decision(found: Explanation, about: RunFacts, language: Language, w: dict[str, str], customer: str | None) -> ReviewBlock:
    spec = TASKS.get(found.task)
    question = (spec.question_ko if language == "ko" else "") if spec is not None else ""
    asked = question or found.question
    if found.task in about.horizon_days:
        asked = f"{asked} {w['horizon'].format(days=about.horizon_days[found.task])}"
    rows = [
        (w["customer"], found.customer_id if customer is None else w["masked"].format(mask=customer)),
        (w["as_of"], w["table"] if found.cutoff == NO_CUTOFF else found.cutoff),
        (w["made"], str(found.audit.get("made", ""))[:16].replace("T", " ") + " UTC"),
        (w["asked"], asked),
        *_alternative(found, language, w),
        (w["number"], _reading(found, language, w)),
    ]
    others = [o for o in found.offers if o.index != found.target][:3]
    if others and found.first_choice is None:
        rows.append((w["next"], ", ".join(f"{said_name(o.name, language)} {percent(o.probability)}" for o in others)))
    return ReviewBlock(w["decision"], "facts", tuple(rows))


def _alternative(found: Explanation, language: Language, w: dict[str, str]) -> list[tuple[str, str]]:
    """Where a class is asked about that is not the model's first choice: both, so that nobody takes it for the decision."""
    first = found.first_choice
    if first is None:
        return []
    chosen = f"{said_name(first.name, language)} {percent(first.probability)}"
    return [(w["first_choice"], chosen), (w["about_class"], said_name(found.target_name, language))]


def _reading(found: Explanation, language: Language, w: dict[str, str]) -> str:
    """What the number means, in words that need no model."""
    if found.score_unit != "probability":
        return w.get(found.statistic, "") or w["value"].format(value=found.shown(found.prediction, language))
    own = next((p for p in found.predictions if p.task == found.task), None)
    key = "frequency" if own is not None and own.calibrated else "uncalibrated"
    of = 100 if found.prediction >= RARE else 1000
    return w[key].format(of=f"{of:,}", n=f"{of * found.prediction:.0f}")


def _reasons(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    if found.withheld:
        said = w["withheld_skill"] if found.unskilled else w["withheld_check"]
        return ReviewBlock(w["reasons"], "lines", ((said,),))
    told = (*found.reasons, *found.against)
    rows = [_reason(found, r, language) for r in told]
    rest = found.told - sum(r.contribution for r in told)
    barred = found.barred
    left = 1.0 - sum(map(found.weight, told)) - (0.0 if barred is None else barred.share)
    rows.append((w["rest"], _signed(found, rest, language), share(max(left, 0.0))))
    gap = found.difference - found.told - (0.0 if barred is None else barred.value)
    if barred is not None:
        names = ", ".join(barred.named(language))
        rows.append((w["barred"].format(names=names), _signed(found, barred.value, language), share(barred.share)))
    if _signed(found, gap, language) != _signed(found, 0.0, language):
        rows.append((w["gap"], _signed(found, gap, language), ""))
    rows.append((w["total"], _signed(found, found.difference, language), "100%"))
    note = " ".join(filter(None, (w["weights"], found.similar_said(language))))
    return ReviewBlock(w["reasons"], "table", tuple(rows), (w["reason"], w["effect"], w["weight"]), note, bold=1, numbers=True)


def _reason(found: Explanation, r: Reason, language: Language) -> tuple[str, str, str]:
    return (
        r.ko if language == "ko" else r.en,
        _signed(found, r.contribution, language),
        share(found.weight(r)),
    )


def _signed(found: Explanation, value: float, language: Language) -> str:
    if found.score_unit == "probability":
        points = 0.0 if abs(value) < 5e-4 else 100 * value
        return f"{points:+.1f}" if points else "0.0"
    return found.shown(value, language, signed=True)


def _change(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    c = found.counterfactual
    if found.withheld:
        return ReviewBlock(w["change"], "lines", ((w["no_change"],),))
    if c is None or not c.flips:
        return ReviewBlock(w["change"], "lines", ((found.change_said(language),),))
    if not c.label_after and found.shown(c.before, language) == found.shown(c.after, language):
        return ReviewBlock(w["change"], "lines", ((w["unmoved"].format(value=found.shown(c.after, language)),),))
    rows = tuple(
        (
            sentence_said(x.sentence_ko if language == "ko" else x.sentence_en, language),
            plain_quantity(x.before, x.unit, language),
            plain_quantity(x.after, x.unit, language),
        )
        for x in c.changes
    )
    note = f"{found.change_said(language)} {w['change_note']}"
    return ReviewBlock(w["change"], "table", rows, (w["fact"], w["now"], w["then"]), note, numbers=True)


def _limits(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    rows = [(w["trust"], found.meaningless(language) or _verdict(found, language)), (w["skill"], _skill(found, w))]
    own = next((p for p in found.predictions if p.task == found.task), None)
    if own is not None and own.uncertainty is not None:
        key = "epistemic" if own.kind == "regression" else "vacuity"
        said = w[key].format(value=statistic(own.uncertainty))
        rank = "" if own.rank is None else " " + w["rank"].format(share=share(own.rank))
        rows.append((w["uncertainty"], f"{said}{rank}"))
    rows.append((w["fallback"], _fallback(found, w)))
    said = " ".join(filter(None, (w["no_causes"], w["dormant"] if found.dormant else "")))
    rows.append((w["remember"], said))
    return ReviewBlock(w["limits"], "facts", tuple(rows))


def _verdict(found: Explanation, language: Language) -> str:
    return found.faithfulness.verdict_ko if language == "ko" else found.faithfulness.verdict_en


def _skill(found: Explanation, w: dict[str, str]) -> str:
    s = found.skill
    if s is None:
        return w["skill_unknown"]
    key = {True: "skill_yes", False: "skill_no", None: "skill_open"}[s.has_skill]
    return w[key].format(value=f"{s.value:.3f}", low=f"{s.low:.3f}", high=f"{s.high:.3f}", n=f"{s.rows:,}")


def _fallback(found: Explanation, w: dict[str, str]) -> str:
    f = found.fallback
    if f is None:
        return w["fallback_unknown"]
    key = "fallback_yes" if f.marked or found.dormant else "fallback_no"
    return w[key].format(share=share(f.share), n=f"{f.n:,}")


def _data(found: Explanation, about: RunFacts, language: Language, w: dict[str, str]) -> ReviewBlock:
    if about.window_days is None or found.cutoff == NO_CUTOFF:
        window = w["window_table"]
    else:
        window = w["window"].format(days=about.window_days, cutoff=found.cutoff)
    training = w["training_said"].format(data=about.data, rows=f"{about.rows:,}")
    if about.cutoffs:
        training += " " + w["cutoffs"].format(cutoffs=", ".join(about.cutoffs))
    if about.generated:
        training += " " + w["generated"]
    audit = found.audit
    model = w["model_said"].format(
        run=about.run, preset=about.preset, trained=about.trained or "–", weights=_short(audit.get("weights_sha256"))
    )
    prints = w["prints_said"].format(training=_short(audit.get("training_data")), customer=_short(audit.get("customer_data")))
    method = w["method_said"].format(nodes=audit.get("nodes", ""), seed=audit.get("seed", ""))
    barred = ", ".join(_barred(name, language) for name in audit.get("barred") or ())
    method += ". " + w["barred_said"].format(names=barred or w["nothing_barred"])
    if found.anyway:
        method += " " + w["anyway_said"]
    rows = [
        (w["window_name"], window), (w["absent"], _absent(found.absent, language, w)), (w["training"], training),
        (w["model"], model), (w["prints"], prints), (w["method"], method),
    ]  # fmt: skip
    return ReviewBlock(w["data"], "facts", tuple(rows))


def _barred(name: str, language: Language) -> str:
    """A kind in words; a column or a group by its own name."""
    return BARRED_KINDS[name].title[language == "ko"] if name in BARRED_KINDS else title(name, language)


def _short(value: object) -> str:
    return str(value or "–")[:DIGITS]


def _absent(absent: Sequence[str], language: Language, w: dict[str, str]) -> str:
    names = list(dict.fromkeys(title(plain_name(a), language) for a in absent))
    if not names:
        return w["nothing_absent"]
    more = [w["more"].format(n=len(names) - NAMED)] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])


def _form(w: dict[str, str]) -> ReviewBlock:
    names = (
        "reviewer", "reviewed_on", "role", "outcome", "notes", "objection", "human", "refusal", "correction", "recalculated",
        "answered", "signature",
    )  # fmt: skip
    return ReviewBlock(w["review"], "form", tuple((w[f"form_{n}"],) for n in names), note=w["form_note"])
