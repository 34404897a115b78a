"""One explanation as the report for review: what was answered and why, how sure it is, on what it rests, and what a person
adds.

Every number comes from the `Explanation` that the page shows, in the same words (`Explanation.shown`, `quantity`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.explain.origin.told import sentence_said
from analysis.i18n import section
from analysis.particles import with_particles
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import FeatureChange, mark_said
from analysis.results.review import ReviewBlock, ReviewReport, RunFacts
from analysis.review.answer import (  # fmt: skip
    Period,
    against,
    answer,
    asked_title,
    made_at,
    meaning,
    own_title,
    period_said,
    report_title,
)
from analysis.review.certainty import limits_block, raw_rows
from analysis.review.checklist import carries_little, checklist
from analysis.review.weights import LITTLE, WHOLE, reasons_block, subjects_block, weight_said, withheld_block
from ple_model.fields import NO_CUTOFF
from ple_model.numerals import Language, percent
from ple_model.tasks import TASKS

DIGITS = 16
"""Digits of a fingerprint in print: as many as tell two runs apart; the audit record has all of them."""
FORM = (
    "reviewer", "reviewed_on", "role", "outcome", "own_reasons", "notes", "objection", "human", "refusal", "correction",
    "corrected", "recalculated", "new_result", "answered", "signature",
)  # fmt: skip
TALL = ("own_reasons", "notes", "signature")
"""Fields with room for several lines."""


def review(
    found: Explanation, about: RunFacts, language: Language = "en", *, customer: str | None = None, record: str | None = None
) -> ReviewReport:
    """The report. `customer`: what stands for the customer in it, a mask; None: the id itself. `record`: where the audit record
    is kept that this report is noted in; None: in none."""
    w = section("review", language)
    period = Period.of(found, about)
    footer = w["footer" if record is not None else "footer_unrecorded"]
    return ReviewReport(
        language=language,
        title=report_title(found, language),
        customer=found.customer_id if customer is None else customer,
        masked=customer is not None,
        act=found.person_said(language),
        made_up=w["generated"] if about.generated else "",
        answer=answer(found, period, language),
        meaning=" ".join(filter(None, (meaning(found, period, language), found.answer_mark(language)))),
        against=against(found, language),
        level="unknown" if found.trust == "ok" and _mostly_unsaid(found) else found.trust,
        verdict=_verdict(found, language, w),
        first=(_decision(found, period, language, w, customer), _why(found, language, w), limits_block(found, language, w)),
        pages=(
            (w["second_title"], (*_whole(found, language, w), _change(found, language, w), _data(found, about, language, w))),
            (w["review"], (_form(found, w),)),
            (
                w["checklist"],
                (*checklist(found, language, recorded=record is not None), _technical(found, about, language, w)),
            ),
        ),
        footer=footer.format(release=found.audit.get("version", ""), place="" if record is None else Path(record).name),
    )


def _verdict(found: Explanation, language: Language, w: dict[str, str]) -> str:
    """What stands against the reasons as a whole, before any of them is read."""
    said = [found.checks_said(language)] if _unproved(found) else []
    if _mostly_unsaid(found):
        said.append(w["mostly_unsaid"].format(share=weight_said(round(WHOLE * _untold(found)))))
    return " ".join(said)


def _unproved(found: Explanation) -> bool:
    """Whether something of the calculation could not be checked that nothing else at the top says."""
    return found.faithfulness.level != "ok" and found.person_because not in ("skill", "check")


def _mostly_unsaid(found: Explanation) -> bool:
    """Whether more than half of what moved the number cannot be told: then what can is not why."""
    return not found.withheld and _untold(found) > LITTLE


def _untold(found: Explanation) -> float:
    """The share of it that cannot be put into words, or that customers do not bear out."""
    return found.share_of(found.unsaid.size) + sum(map(found.weight, (*found.contradicted, *found.unseen)))


def _decision(
    found: Explanation, period: Period | None, language: Language, w: dict[str, str], customer: str | None
) -> ReviewBlock:
    spec = TASKS.get(found.task)
    question = (spec.question_ko if language == "ko" else "") if spec is not None and not own_title(found) else ""
    made, day = made_at(found, language)
    rows = [
        (w["customer"], found.customer_id if customer is None else w["masked"].format(mask=customer)),
        (w["as_of"], w["table"] if found.cutoff == NO_CUTOFF else w["as_of_said"].format(cutoff=found.cutoff)),
        (w["asked"], question or found.question),
    ]
    if period is not None:
        rows.append((w["period"], period_said(period, day, language)))
        if day is not None and period.end < day:
            rows.append((w["came"], _came(found, language, w)))
    rows += _alternative(found, language, w)
    others = [o for o in found.offers if o.index != found.target][:3]
    if others and found.first_choice is None:
        said = ", ".join(f"{found.label_said(o.name, language)} {percent(o.probability)}" for o in others)
        left = 1.0 - found.prediction - sum(o.probability for o in others)
        more = w["next_rest"].format(share=percent(left)) if left >= 5e-4 else ""
        rows.append((w["next"], said + more))
    rows.append((w["made"], made))
    return ReviewBlock(w["decision"], "facts", tuple(rows), key="decision")


def _came(found: Explanation, language: Language, w: dict[str, str]) -> str:
    """What happened, as a sentence where it is a yes or no that has one."""
    if not (came := found.came_said(language)):
        return w["came_unknown"]
    key = f"came_{found.came[1]}_{found.task}"
    if key in w and not own_title(found):
        return w[key]
    return f"{asked_title(found, language)}: {came}" if found.came[1] in ("yes", "no") else came


def _alternative(found: Explanation, language: Language, w: dict[str, str]) -> list[tuple[str, str]]:
    """Where a class is asked about that is not the model's first choice: both, so that nobody takes it for the decision."""
    first = found.first_choice
    if first is None:
        return []
    chosen = f"{found.label_said(first.name, language)} {percent(first.probability)}"
    return [(w["first_choice"], chosen), (w["about_class"], found.label_said(found.target_name, language))]


def _why(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    if found.withheld:
        return withheld_block(found, w)
    return replace(reasons_block(found, language, w), internal=_internal(found, language, w))


def _internal(found: Explanation, language: Language, w: dict[str, str]) -> str:
    """What the bank has to check of reasons that may be sensitive, more strongly where the strongest is one; empty where none
    is."""
    if not found.sensitive:
        return ""
    kinds = ", ".join(kind[language == "ko"] for kind in found.sensitive if any(kind))
    told = (*found.reasons, *found.against)
    key = "internal_strongest" if max(told, key=lambda r: abs(r.contribution)).sensitive else "internal"
    return w[key].format(kinds=f"({kinds})" if kinds and language == "ko" else f" ({kinds})" if kinds else "")


def _whole(found: Explanation, language: Language, w: dict[str, str]) -> tuple[ReviewBlock, ...]:
    return () if found.withheld else (subjects_block(found, language, w),)


def _change(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    c = found.counterfactual
    said = _no_change(found, language, w)
    if said or c is None:
        return ReviewBlock(w["change"], "lines", tuple((text,) for text in (said, w["correctable"]) if text), key="change")
    rows = tuple(
        (
            _fact(x, language),
            *x.shown(language),
        )
        for x in c.changes
    )
    note = f"{found.change_said(language, named=False)} {w['change_note']} {w['correctable']}"
    return ReviewBlock(w["change"], "table", rows, (w["fact"], w["now"], w["then"]), note, numbers=True, key="change")


def _fact(x: FeatureChange, language: Language) -> str:
    """What would have to differ, with its mark where it may be sensitive."""
    mark = mark_said(x.sensitive, language, short=True)
    said = sentence_said(x.sentence_ko if language == "ko" else x.sentence_en, language)
    return f"{said} ({mark})" if mark else said


def _no_change(found: Explanation, language: Language, w: dict[str, str]) -> str:
    """Why no change is given; empty where one is."""
    c = found.counterfactual
    if found.withheld:
        return w["no_change"]
    if said := found.unchanged_said(language):
        return said
    if c is None or not c.flips:
        return found.change_said(language)
    if not c.label_after and found.shown(c.before, language) == found.shown(c.after, language):
        return with_particles(w["unmoved"].format(value=found.shown(c.after, language)))
    return ""


def _data(found: Explanation, about: RunFacts, language: Language, w: dict[str, str]) -> ReviewBlock:
    if about.window_days is None or found.cutoff == NO_CUTOFF:
        window = w["window_table"]
    else:
        window = w["window"].format(days=about.window_days, cutoff=found.cutoff)
    training = w["training_said"].format(data=_data_name(about, w), rows=f"{about.rows:,}")
    if about.cutoffs:
        training += " " + w["cutoffs"].format(cutoffs=", ".join(about.cutoffs))
    rows = [
        (w["window_name"], window), (w["absent"], found.lacking.said(language) or w["nothing_absent"]),
        (w["training"], training), (w["barred_name"], found.barred_names(language)),
    ]  # fmt: skip
    return ReviewBlock(w["data"], "facts", tuple(rows), key="data")


def _data_name(about: RunFacts, w: dict[str, str]) -> str:
    return w["generated_name"].format(data=about.data) if about.generated else about.data


def _technical(found: Explanation, about: RunFacts, language: Language, w: dict[str, str]) -> ReviewBlock:
    """Names and numbers for whoever repeats the calculation."""
    audit = found.audit
    model = w["model_said"].format(
        run=about.run, preset=about.preset, trained=about.trained or "–", weights=_short(audit.get("weights_sha256"))
    )
    prints = w["prints_said"].format(
        training=_short(audit.get("training_data")), data=_short(audit.get("customer_data")),
        customer=_short(audit.get("customer_row")),
    )  # fmt: skip
    method = w["method_said"].format(nodes=audit.get("nodes", ""), seed=audit.get("seed", ""))
    if found.anyway:
        method += " " + w["anyway_said"]
    failed = [c.text_ko if language == "ko" else c.text_en for c in found.faithfulness.checks if c.passed is False]
    why = [(w["failed_check"], " ".join(failed))] if failed else []
    rows = [*why, *raw_rows(found, language, w), (w["model"], model), (w["prints"], prints), (w["method"], method)]
    return ReviewBlock(w["technical"], "facts", tuple(rows), key="technical")


def _short(value: object) -> str:
    return str(value or "–")[:DIGITS]


def _form(found: Explanation, w: dict[str, str]) -> ReviewBlock:
    """A line for each field; room for the bank's own reasons where a person must decide, or those that are shown carry less
    than half."""
    fields = [n for n in FORM if n != "own_reasons" or found.person_because or carries_little(found)]
    rows = tuple((w[f"form_{n}"],) for n in fields)
    tall = tuple(i for i, n in enumerate(fields) if n in TALL)
    return ReviewBlock("", "form", rows, note=w["form_note"], tall=tall, key="review")
