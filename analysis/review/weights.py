"""The two tables of what moved a number: the main reasons, and all criteria by subject.

What is printed adds up as it is printed. Every number is held in whole steps of its last decimal: rows that stand for single
facts are rounded, and the sums over many facts take what rounding leaves, at most a few steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.explain.matters import subject_of_matter
from analysis.explain.subjects import subject_of
from analysis.i18n import phrase
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Reason, SubjectWeight
from analysis.results.printed_steps import PrintedSteps
from analysis.results.review import ReviewBlock
from analysis.wording import quantity
from ple_model.numerals import Language

LITTLE = 0.5
"""Below half of all that moved the number, the reasons that are shown are said to explain it only in part: what is not shown
then weighs more than what is."""
MOST = 0.5
"""From this share of the difference on, going its way, what cannot be told is said to be what it lies in."""
WHOLE = 1000
"""Weights are counted in tenths of a percent."""


SAID_UNITS = ("active days", "percentile")


def weight_said(steps: int) -> str:
    """Tenths of a percent as text: `12.9%`."""
    return f"{steps / 10:.1f}%"


def apportioned(values: Sequence[float], total: int) -> list[int]:
    """`values` (in steps, not yet rounded) as whole steps that add up to `total`: each rounded, then those that rounding moved
    most go one step the other way (the largest remainder method); what is still left goes to the greatest."""
    found = [round(v) for v in values]
    left = total - sum(found)
    way = 1 if left > 0 else -1
    order = sorted(range(len(values)), key=lambda i: way * (found[i] - values[i]))
    for i in order[: abs(left)]:
        found[i] += way
    left = total - sum(found)
    if left and values:
        found[max(range(len(values)), key=lambda i: abs(values[i]))] += left
    return found


@dataclass(frozen=True)
class Weights:
    """Everything that the two tables hold, in steps: effects, and weights in tenths of a percent."""

    steps: PrintedSteps
    effects: tuple[int, ...]
    """Of the reasons (`told_reasons`) in their order, then of those that are none to tell."""
    shares: tuple[int, ...]
    rest: tuple[int, int]
    """What all other matters raised and lowered, as far as they can be put into words."""
    rest_shares: tuple[int, int]
    unsaid: tuple[int, int]
    """What raised and what lowered and cannot be put into words."""
    unsaid_share: int
    barred: int
    barred_share: int
    gap: int
    """What the method leaves unexplained, where that shows at all."""
    total: int

    @staticmethod
    def of(found: Explanation, language: Language) -> Weights:
        told, u = (*told_reasons(found), *found.contradicted, *found.unseen), found.unsaid
        steps, b = PrintedSteps.of(found, language), found.barred
        effects = [steps.count(r.contribution) for r in told]
        size, sum_ = found.size - u.size, found.told - u.value
        raised = max((size + sum_) / 2 - sum(max(r.contribution, 0.0) for r in told), 0.0)
        lowered = min((sum_ - size) / 2 - sum(min(r.contribution, 0.0) for r in told), 0.0)
        rest = [steps.count(raised), steps.count(lowered)]
        unsaid = [steps.count(u.raised), steps.count(u.lowered)]
        barred = 0 if b is None else steps.count(b.value)
        gap = steps.count(found.difference - found.told - (0.0 if b is None else b.value))
        total = steps.count(found.prediction) - steps.count(found.typical)
        shares = [round(WHOLE * found.weight(r)) for r in told]
        rest_shares = [round(WHOLE * found.share_of(raised)), round(WHOLE * found.share_of(-lowered))]
        unsaid_share = [round(WHOLE * found.share_of(u.size))]
        barred_share = 0 if b is None else round(WHOLE * b.share)
        left = total - sum(effects) - sum(rest) - sum(unsaid) - barred - gap
        share_left = WHOLE - sum(shares) - sum(rest_shares) - sum(unsaid_share) - barred_share
        # what rounding leaves: sums over many take it, a single reason only where there is no such sum
        if sum(found.counts) > len(told) or not (told or u.size):
            larger = 0 if raised >= -lowered else 1
            rest[larger], rest_shares[larger] = rest[larger] + left, rest_shares[larger] + share_left
        elif u.size:
            unsaid[0 if u.raised >= -u.lowered else 1] += left
            unsaid_share[0] += share_left
        else:
            strongest = max(range(len(told)), key=lambda i: abs(effects[i]))
            effects[strongest], shares[strongest] = effects[strongest] + left, shares[strongest] + share_left
        return Weights(
            steps, tuple(effects), tuple(shares), (rest[0], rest[1]), (rest_shares[0], rest_shares[1]), (unsaid[0], unsaid[1]),
            unsaid_share[0], barred, barred_share, gap, total,
        )  # fmt: skip


def told_reasons(found: Explanation) -> tuple[Reason, ...]:
    """What has a row of its own among the reasons, for and against."""
    return (*found.reasons, *found.against)


def reasons_block(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    """What raised the number and what lowered it, strongest first, the sum of all other facts under each."""
    x, told = Weights.of(found, language), told_reasons(found)
    n = len(told)
    sides = sorted(zip(told, x.effects[:n], x.shares[:n], strict=True), key=lambda s: -abs(s[0].contribution))
    up = [s for s in sides if s[0].contribution >= 0 and not s[0].sensitive]
    down = [s for s in sides if s[0].contribution < 0 and not s[0].sensitive]
    closed = [s for s in sides if s[0].sensitive]
    groups = [("raised", up, x.rest[0], x.rest_shares[0], 0), ("lowered", down, x.rest[1], x.rest_shares[1], 1)]
    if found.reasons and found.reasons[0].contribution < 0:
        groups.reverse()
    rows: list[tuple[str, ...]] = []
    heads: list[int] = []
    under: list[str] = []
    for side, reasons, rest, weight, k in groups:
        heads.append(len(rows))
        rows.append((w[side], "", ""))
        rows += [(_sentence(r, language), x.steps.said(e), weight_said(s)) for r, e, s in reasons]
        under += ["", *(r.linked(language) for r, _, _ in reasons)]
        elsewhere = (*(s[0] for s in closed), *found.contradicted, *found.unseen)
        apart = sum((r.contribution >= 0) == (k == 0) for r in elsewhere)
        others = max(found.counts[k] - len(reasons) - apart, 0)
        if others or rest or weight:
            rows.append((w[f"rest_{side}"].format(n=f"{others:,}"), x.steps.said(rest), weight_said(weight)))
            under.append("")
    if closed:
        heads.append(len(rows))
        rows.append((w["closed"], "", ""))
        rows += [(_sentence(r, language), x.steps.said(e), weight_said(s)) for r, e, s in closed]
        under += ["", *(r.linked(language) for r, _, _ in closed)]
    if found.unsaid.size or found.barred is not None or found.contradicted or found.unseen:
        heads.append(len(rows))
        rows.append((w["apart"], "", ""))
    start = len(told)
    for ground, left in (("contradicted", found.contradicted), ("unseen", found.unseen)):
        if left:
            here = slice(start, start + len(left))
            named = ", ".join(f"{r.about(language)} {x.steps.said(e)}" for r, e in zip(left, x.effects[here], strict=True))
            sums = x.steps.said(sum(x.effects[here])), weight_said(sum(x.shares[here]))
            rows.append((w[f"{ground}_row"].format(named=named), *sums))
        start += len(left)
    if found.unsaid.size:
        rows.append((_unsaid_said(found, x, language, w), x.steps.said(sum(x.unsaid)), weight_said(x.unsaid_share)))
    rows += _last_rows(found, x, _barred_said(found, x, language, w), w)
    under += [""] * (len(rows) - len(under))
    note = " ".join(filter(None, (found.similar_said(language), found.links_said(language))))
    return ReviewBlock(
        w["reasons"], "table", tuple(rows), (w["reason"], w["effect"].format(unit=x.steps.unit), w["weight"]), note, bold=1,
        numbers=True, heads=tuple(heads), lead=_lead(found, x, language, w), key="reasons", under=tuple(under),
    )  # fmt: skip


def subjects_block(found: Explanation, language: Language, w: dict[str, str]) -> ReviewBlock:
    """All facts by subject, what cannot be put into words among them: what each raised and lowered, both together, and its
    weight."""
    x = Weights.of(found, language)
    up = sum(e for e in x.effects if e > 0) + x.rest[0] + x.unsaid[0]
    down = sum(e for e in x.effects if e < 0) + x.rest[1] + x.unsaid[1]
    scale = x.steps.factor * 10**x.steps.decimals
    raised = apportioned([s.raised * scale for s in found.subjects], up)
    lowered = apportioned([s.lowered * scale for s in found.subjects], down)
    size = sum(s.size for s in found.subjects) or 1.0
    whole = WHOLE - x.barred_share
    weights = apportioned([whole * s.size / size for s in found.subjects], whole)
    left: dict[str, int] = {}
    for r, e in zip((*found.contradicted, *found.unseen), x.effects[len(told_reasons(found)) :], strict=True):
        key = subject_of_matter(r.matter) or subject_of(r.sources[0])
        left[key] = left.get(key, 0) + e

    def named(s: SubjectWeight) -> str:
        if not left.get(s.key):
            return s.named(language)
        return w["of_it_left"].format(subject=s.named(language), value=x.steps.said(left[s.key]))

    rows = [
        (named(s), x.steps.said(a), x.steps.said(b), x.steps.said(a + b), weight_said(n))
        for s, a, b, n in zip(found.subjects, raised, lowered, weights, strict=True)
    ]
    last = [(name, "", "", effect, weight) for name, effect, weight in _last_rows(found, x, w["barred_row"], w)]
    head = (w["subject"], w["raised_head"], w["lowered_head"], w["effect"].format(unit=x.steps.unit), w["weight"])
    return ReviewBlock(
        w["subjects"], "table", (*rows, *last), head, bold=1, numbers=True, lead=w["subjects_lead"], key="subjects"
    )  # fmt: skip


def _last_rows(found: Explanation, x: Weights, barred: str, w: dict[str, str]) -> list[tuple[str, str, str]]:
    """What may not be a reason, what the method leaves, and the difference that all rows add up to."""
    rows = []
    if found.barred is not None:
        rows.append((barred, *_barred_cells(found, x, w)))
    if x.gap:
        rows.append((w["gap"], x.steps.said(x.gap), ""))
    rows.append((w["total"], x.steps.said(x.total), weight_said(WHOLE)))
    return rows


def _barred_cells(found: Explanation, x: Weights, w: dict[str, str]) -> tuple[str, str]:
    """No nothing beside something: what is less than a step says so."""
    assert found.barred is not None
    least = 10**-x.steps.decimals
    below = w["below"].format(value=f"{least:.{x.steps.decimals}f}"), w["below"].format(value="0.1%")
    effect = x.steps.said(x.barred) if x.barred or not found.barred.size else below[0]
    return effect, weight_said(x.barred_share) if x.barred_share or not found.barred.size else below[1]


def _barred_said(found: Explanation, x: Weights, language: Language, w: dict[str, str]) -> str:
    least = f"{10**-x.steps.decimals:.{x.steps.decimals}f}"
    key = f"barred_{found.barred_way(language)}"
    share, value = weight_said(x.barred_share), x.steps.said(abs(x.barred)).removeprefix("+")
    return w[key].format(
        names=found.barred_names(language), least=least, unit=x.steps.unit, share=share, value=value,
        direction=w[f"barred_{_way(x.barred)}"],
    )  # fmt: skip


def _lead(found: Explanation, x: Weights, language: Language, w: dict[str, str]) -> str:
    """How much of it all the reasons that are shown carry, and how effects and weights are counted."""
    n = len(told_reasons(found))
    carried = sum(x.shares[:n])
    key = "carry_none" if not n else "carry_little" if carried < LITTLE * WHOLE else "carry_much"
    key += "_one" if n == 1 else ""
    others = max(sum(found.counts) - len(x.shares), 0)
    parts = []
    if others:
        parts.append(w["carry_others"].format(n=f"{others:,}", share=weight_said(sum(x.rest_shares))))
    if left := sum(x.shares[n:]):
        parts.append(w["carry_left"].format(share=weight_said(left)))
    if x.unsaid_share:
        parts.append(w["carry_unsaid"].format(share=weight_said(x.unsaid_share)))
    rest = w["carry_rest"].format(parts=w["carry_and"].join(parts)) if parts else ""
    first = w[key].format(n=n, share=weight_said(carried))
    counted = w["counted"].format(unit=x.steps.unit, typical=value_said(found, found.typical, language)) if n else ""
    most = max((abs(r.contribution) for r in told_reasons(found)), default=0.0)
    beyond = w["beyond"] if found.score_unit == "probability" and most > 1 else ""
    untold, least = sum(x.unsaid) + sum(x.effects[n:]), MOST * abs(x.total)
    open_ = ""
    if untold * x.total > 0 and abs(untold) >= least:
        open_ = w["unsaid_most"].format(value=x.steps.said(untold), total=x.steps.said(x.total), unit=x.steps.unit)
    return " ".join(filter(None, (first, rest, open_, w["carry_all"], counted, beyond)))


def _unsaid_said(found: Explanation, x: Weights, language: Language, w: dict[str, str]) -> str:
    """What cannot be put into words, with what of it is of which subject, which adds up to its effect as it is printed."""
    scale = x.steps.factor * 10**x.steps.decimals
    parts = apportioned([(s.raised + s.lowered) * scale for s in found.unsaid.subjects], sum(x.unsaid))
    named = [(s.named(language), n) for s, n in zip(found.unsaid.subjects, parts, strict=True)]
    seen = [f"{name} {x.steps.said(n)}" for name, n in named if n] or [name for name, _ in named]
    return w["unsaid_row"].format(subjects=", ".join(seen))


def _way(steps: int) -> str:
    return "raised" if steps > 0 else "lowered"


def _sentence(r: Reason, language: Language) -> str:
    """The effect stands beside it."""
    return r.fact(language)


def withheld_block(found: Explanation, w: dict[str, str]) -> ReviewBlock:
    """In the place of reasons that may not be shown."""
    said = w["withheld_skill"] if found.unskilled else w["withheld_check"]
    return ReviewBlock(w["reasons"], "lines", ((said,),), key="reasons")


def value_said(found: Explanation, value: float, language: Language) -> str:
    """A prediction within a sentence: as it is shown, but days as days and a percentile as a place."""
    if found.unit in SAID_UNITS and found.score_unit == "value":
        return phrase(f"review.said_{found.unit.replace(' ', '_')}", language, value=f"{value:.1f}")
    return found.shown(value, language)


def difference_said(found: Explanation, language: Language) -> str:
    """How far the prediction lies above or below the mean of all customers, without a sign: `0.9 points`; empty where that is
    less than a step."""
    steps = PrintedSteps.of(found, language)
    apart = abs(steps.count(found.prediction) - steps.count(found.population))
    return _amount(found, steps, apart, abs(found.prediction - found.population), language) if apart else ""


def step_said(found: Explanation, language: Language) -> str:
    """The least that can be seen of a difference: `0.1 points`."""
    steps = PrintedSteps.of(found, language)
    return _amount(found, steps, 1, 10**-steps.decimals, language)


def _amount(found: Explanation, steps: PrintedSteps, apart: int, exact: float, language: Language) -> str:
    text = f"{apart / 10**steps.decimals:,.{steps.decimals}f}"
    if found.score_unit == "probability" or found.unit == "share":
        return phrase("review.points", language, points=text)
    if found.unit == "active days":
        return phrase("review.said_active_days", language, value=text)
    return text if found.unit == "percentile" else quantity(exact, found.unit, language)
