"""How sure an answer is: whether a person must decide, how well the model foretells at all, how certain it is of this
customer."""

from __future__ import annotations

from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import TaskPrediction
from analysis.results.review import ReviewBlock
from analysis.review.answer import UNFOUNDED
from ple_model.numerals import Language, share, statistic

QUARTERS = 4
"""Skill, and a place among customers, are said in words by the quarter of the scale from 0 to 1 that they lie in: a convention,
as the report says. Where a person must decide there are no such words: none of them may read as praise."""

CERTAINTY = {
    "skill": "certainty_void", "dormant": "certainty_void", "uncertain": "certainty_marked", "check": "certainty_plain",
    "reasons": "certainty_plain",
}  # fmt: skip
"""What is said of the customer's place, by why a person must decide: no figure where it means nothing."""


def limits_block(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    """The rows, the one that asks for a person first."""
    rows = [(w["person"], _person(found, language, w)), (w["skill"], _skill(found, w))]
    own, ground = own_prediction(found), found.person_because
    if own is not None and own.rank is not None:
        key = CERTAINTY.get(ground) or f"certainty_{_quarter(own.rank)}"
        rows.append((w["certainty"], w[key].format(n=f"{100 * own.rank:.0f}")))
    if not found.withheld:  # else there are no reasons to speak of, and what was not passed stands at the top
        remember = w["no_causes"] if ground else f"{w['no_causes']} {w['quarters']}"
        rows += [(w["trust"], found.checks_said(language)), (w["remember"], remember)]
    return ReviewBlock(w["limits"], "facts", tuple(rows), key="limits")


def own_prediction(found: Explanation) -> TaskPrediction | None:
    return next((p for p in found.predictions if p.task == found.task), None)


def raw_rows(found: Explanation, language: Language, w: dict[str, str]) -> list[tuple[str, str]]:
    """The numbers behind these words, for the technical part."""
    rows, s, own = [], found.skill, own_prediction(found)
    if s is not None:
        rows.append(
            (w["skill_raw"], w["skill_raw_said"].format(value=f"{s.value:.3f}", low=f"{s.low:.3f}", high=f"{s.high:.3f}"))
        )
    if own is not None and own.uncertainty is not None:
        key = "epistemic" if own.kind == "regression" else "vacuity"
        rows.append((w["uncertainty"], w[key].format(value=statistic(own.uncertainty))))
    if (f := found.fallback) is not None:
        rows.append((w["fallback"], w["fallback_said"].format(share=share(f.share), n=f"{f.n:,}")))
    return rows


def _person(found: Explanation, language: Language, w: dict[str, str]) -> str:
    if found.person_because:  # the ground stands at the top
        return w["person_yes"]
    f = found.fallback
    said = w["person_unknown"] if f is None else w["person_no"].format(share=share(f.share), n=f"{f.n:,}")
    return f"{said} {w['person_always']}"


def _skill(found: Explanation, w: dict[str, str]) -> str:
    """In words with its number: by how much of what is possible the model is better than the average alone."""
    s = found.skill
    if s is None:
        return w["skill_unknown"]
    said = {"value": share(s.value), "low": share(s.low), "high": share(s.high), "n": f"{s.rows:,}"}
    if s.has_skill is None:
        return w["skill_open"].format(**said)
    if not s.has_skill:
        return w["skill_no"].format(**said)
    if found.person_because:  # how well it does with others is no praise of this answer
        return w["skill_others" if found.person_because in UNFOUNDED else "skill_plain"].format(**said)
    return w["skill_yes"].format(word=w[f"skill_{_quarter(s.value)}"], **said)


def _quarter(value: float) -> int:
    """1 to 4."""
    return min(max(int(QUARTERS * value), 0), QUARTERS - 1) + 1
