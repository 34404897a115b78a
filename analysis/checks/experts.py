"""Checks of the shared experts: starved (no input) is told apart from dead (bad weights).

Reference, section "Expert output diagnosis".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.checks.data import known_inputs
from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.expert import ExpertStats
from analysis.stats.inputs import CAUSE_TEXT
from analysis.stats.run import Statistics
from ple_model.presence import is_part

HEALTH = "experts.health"
COORDINATES = "hierarchy_features"


def _experts(s: Statistics, t: Thresholds) -> ExpertStats:
    if s.experts is None:
        raise NotMeasured("Expert outputs were not measured.")
    need_rows(s.experts.n, t)
    return s.experts


def _readers(s: Statistics, field: str) -> list[str]:
    """Experts that read this field: what can go wrong with it concerns them, whatever they are called."""
    return [n for n in s.facts.experts if field in s.facts.reads.get(n, ())]


def _alive(s: Statistics, t: Thresholds) -> Iterator[tuple[int, str]]:
    """Experts with enough rows that have input: only they can be judged by their output."""
    e = _experts(s, t)
    for i, name in enumerate(e.names):
        if e.counted[i] >= t.min_rows:
            yield i, name


def _starved(s: Statistics, t: Thresholds, expert: str) -> list[tuple[str, float, str]]:
    """(field, absent share, cause) of the inputs of `expert` that are missing nearly everywhere, feature parts left out."""
    found = known_inputs(s, t)
    fields = [f for f in s.facts.reads.get(expert, ()) if not is_part(f)]
    return [(f, found.absent_share(f), found.cause(f)) for f in fields if found.absent_share(f) >= t.field_absent]


@check("EXP-ZERO-INPUT", "Every expert has input for nearly all rows.", HEALTH)
def zero_input(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """An expert on zero fallback, or one of its fields missing everywhere; the weights are not to blame."""
    e, inputs = _experts(s, t), known_inputs(s, t)
    for i, name in enumerate(e.names):
        share = float(e.fallback_share[i])
        missing = _starved(s, t, name)
        for field, absent, cause in missing:
            yield Finding(
                "EXP-ZERO-INPUT",
                "error" if share >= t.fallback_error else "warning",
                f"{name}.{field}",
                f"{name} gets no `{field}`: it is absent in {absent:.0%} of rows"
                + (
                    f", and {name} falls back to zero in {share:.0%}."
                    if share > 0.005
                    else f"; {name} works on its other inputs."
                ),
                (
                    Evidence("absent share", absent, t.field_absent, inputs.n),
                    Evidence("zero fallback share", share, t.fallback_warning, e.n),
                    Evidence("cause", None, n=inputs.n, text=CAUSE_TEXT.get(cause, cause)),
                ),
                HEALTH,
                f"The input is missing ({CAUSE_TEXT.get(cause, cause)}), so it falls back; its weights are not the cause.",
                Fix(
                    "",
                    None,
                    None,
                    f"Fill `{field}` in the dataset (see its source tables), or switch the expert off."
                    if share > 0.005
                    else f"Fill `{field}` in the dataset (see its source tables).",
                ),
                (f"ablate.{name}=zero",),
            )
        if missing or share < t.fallback_warning:
            continue
        reads = s.facts.reads.get(name, ())
        worst = max(reads, key=inputs.absent_share, default="input")
        yield Finding(
            "EXP-ZERO-INPUT",
            "error" if share >= t.fallback_error else "warning",
            f"{name}.{worst}",
            f"{name} falls back to zero in {share:.0%} of rows: `{worst}` is absent in {inputs.absent_share(worst):.0%}.",
            (
                Evidence("zero fallback share", share, t.fallback_warning, e.n),
                Evidence("absent share", inputs.absent_share(worst), t.field_absent, inputs.n),
                Evidence("cause", None, n=inputs.n, text=CAUSE_TEXT.get(inputs.cause(worst), "")),
            ),
            HEALTH,
            "All fields that the expert reads are missing in these rows; its weights are not the cause.",
            Fix("", None, None, f"Fill {', '.join(f'`{r}`' for r in reads[:4])} in the dataset, or switch the expert off."),
            (f"ablate.{name}=zero",),
        )


@check("EXP-TEMPORAL-ZERO", "The transaction sequence is loaded.", HEALTH)
def temporal_zero(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The reference's own row: temporal is zero because txn_seq is not loaded."""
    e, inputs = _experts(s, t), known_inputs(s, t)
    absent = inputs.absent_share("txn_seq")
    for name in _readers(s, "txn_seq"):
        if absent < t.field_absent:
            continue
        share = s.share(name)
        yield Finding(
            "EXP-TEMPORAL-ZERO",
            "error",
            name,
            f"`txn_seq` is absent in {absent:.0%} of rows; {name} falls back to zero in {share:.0%}.",
            (
                Evidence("txn_seq absent", absent, t.field_absent, inputs.n),
                Evidence("zero fallback share", share, t.fallback_error, e.n),
            ),
            HEALTH,
            "The sequences were not loaded or not built.",
            Fix("", None, None, "Build the dataset with the transactions table, and load `txn_seq` with each batch."),
            (f"ablate.{name}=zero",),
        )


@check("EXP-DEAD", "Every expert that has input answers to it.", HEALTH)
def dead(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Inputs are there, the output is (nearly) constant or zero."""
    e = _experts(s, t)
    for i, name in _alive(s, t):
        if e.nonfinite[i] > 0.5 * e.n:
            continue
        norm = float(e.norm_mean[i])
        spread = float(np.sqrt(e.variance(name).sum()))
        constant = spread < t.dead_variation * max(norm, t.dead_norm)
        if norm >= t.dead_norm and not constant:
            continue
        what = "zero" if norm < t.dead_norm else "the same vector for every row"
        yield Finding(
            "EXP-DEAD",
            "error",
            name,
            f"{name} has input in {e.counted[i] / e.n:.0%} of rows, but its output is {what}.",
            (
                Evidence("mean norm", norm, t.dead_norm, int(e.counted[i])),
                Evidence("standard deviation over rows", spread, t.dead_variation * max(norm, t.dead_norm), int(e.counted[i])),
                Evidence("dead dimensions", e.dead_share(name), None, int(e.counted[i])),
            ),
            HEALTH,
            "Dead weights: the input arrives, the expert's layers do not let it through.",
            Fix("", None, None, f"Retrain {name} from a fresh initialisation, and look at its gate history for when it died."),
            (f"ablate.{name}=zero",),
        )


def _nonfinite(id: str, s: Statistics, t: Thresholds, names: tuple[str, ...]) -> Iterator[Finding]:
    e = _experts(s, t)
    for name in names:
        i = e.names.index(name)
        share = float(e.nonfinite[i]) / e.n
        if share == 0:
            continue
        evidence = [Evidence("rows with NaN or Inf", share, 0.0, e.n)]
        bad_weights = [p for p in s.facts.nonfinite_parameters if f".{name}." in f".{p}."]
        cause, fix = (
            "An overflow inside the expert.",
            Fix("", None, None, "Look at the range of its inputs and at its weights."),
        )
        if bad_weights:
            cause = f"Its weights hold NaN or Inf ({bad_weights[0]})."
            fix = Fix(
                "training.learning_rate",
                s.facts.get("training.learning_rate"),
                s.facts.get("training.learning_rate", 5e-4) / 2,
                "Retrain from the last good weights with a smaller learning rate.",
            )
        elif given := [k for k, reached in (s.finite.reached if s.finite is not None else {}).items() if name in reached]:
            cause = f"Its input `{given[0]}` holds NaN or Inf: the expert itself may be sound."
            fix = Fix(
                "", None, None, "`ple validate` on the dataset names rows and customers; repair the feed and build again."
            )
        elif s.inputs is not None and name in _readers(s, COORDINATES):
            radius = max(s.inputs.radius_max.values(), default=0.0)
            outside = sum(s.inputs.outside.values())
            evidence += [
                Evidence("largest coordinate norm", radius, 1.0, s.inputs.n),
                Evidence("rows outside the ball", outside, 0.0, s.inputs.n),
            ]
            cause = "Poincare coordinates on or beyond the edge of the ball overflow the logarithmic map."
            fix = Fix("", None, None, "Project hierarchy_features to a norm below 1, and check the learned curvature.")
        yield Finding(
            id,
            "error",
            name,
            f"{name} puts out NaN or Inf in {share:.1%} of rows.",
            tuple(evidence),
            HEALTH,
            cause,
            fix,
            (f"ablate.{name}=zero",),
        )


@check("EXP-HGCN-NAN", "unified_hgcn is finite on every row.", HEALTH)
def hgcn_nan(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """unified_hgcn NaN/Inf, or coordinates that will make it so; the same of any other expert that reads them."""
    _experts(s, t)
    readers = _readers(s, COORDINATES)
    found = list(_nonfinite("EXP-HGCN-NAN", s, t, tuple(readers)))
    yield from found
    outside = sum(s.inputs.outside.values()) if s.inputs is not None else 0.0
    if found or s.inputs is None or outside <= 0:
        return
    for name in readers:
        yield Finding(
            "EXP-HGCN-NAN",
            "warning",
            name,
            f"{int(outside)} rows have hierarchy coordinates on or outside the unit ball; the expert projected them back.",
            (
                Evidence("rows outside the ball", outside, 0.0, s.inputs.n),
                Evidence("largest coordinate norm", max(s.inputs.radius_max.values(), default=0.0), 1.0, s.inputs.n),
            ),
            HEALTH,
            "hierarchy_features are not Poincare coordinates of curvature 1 in these rows.",
            Fix("", None, None, "Rebuild the hierarchy embedding; every coordinate's norm must stay below 1."),
        )


@check("EXP-NONFINITE", "No expert puts out NaN or Inf.", HEALTH)
def nonfinite(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """NaN or Inf in any other expert."""
    e, elsewhere = _experts(s, t), _readers(s, COORDINATES)
    yield from _nonfinite("EXP-NONFINITE", s, t, tuple(n for n in e.names if n not in elsewhere))


@check("EXP-PERSLAY-PAD", "Persistence diagrams are padded and masked as they should be.", "data.diagrams")
def perslay_pad(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Padding counted as points, points masked away, or death before birth."""
    inputs = known_inputs(s, t)
    for field, (rows, valid, backwards, empty) in inputs.points.items():
        readers = _readers(s, field)
        if rows < t.min_rows or not readers:
            continue
        capacity = rows * inputs.capacity[field]
        filled = valid / capacity
        wrong = backwards / valid if valid else 0.0
        blank = empty / valid if valid else 0.0
        problems = []
        if filled >= t.mask_valid_full and blank >= t.mask_empty_points / 10:
            problems.append(f"every slot counts as a point ({filled:.1%} valid)")
        elif blank >= t.mask_empty_points:
            problems.append(f"{blank:.0%} of the valid points lie at (0, 0): padding is marked as points")
        if filled <= t.mask_valid_low:
            problems.append(f"only {filled:.2%} of the slots are valid")
        if wrong > t.death_before_birth:
            problems.append(f"{wrong:.1%} of the points die before they are born")
        mask = field.replace("diagrams", "mask")
        for name in readers if problems else ():
            yield Finding(
                "EXP-PERSLAY-PAD",
                "error",
                f"{name}.{field}",
                f"`{field}`: {'; '.join(problems)}.",
                (
                    Evidence("valid share of the mask", filled, t.mask_valid_full, int(rows)),
                    Evidence("death before birth", wrong, t.death_before_birth, int(valid)),
                    Evidence("valid points at (0, 0)", blank, t.mask_empty_points, int(valid)),
                ),
                "data.diagrams",
                f"The diagrams' padding or their mask is wrong, so {name} pools points that are not there.",
                Fix(
                    "",
                    None,
                    None,
                    f"Rebuild `{field}` and `{mask}`: valid slots hold birth <= death, the mask is False on padding.",
                ),
                (f"ablate.{name}=zero",),
            )


@check("EXP-REDUNDANT", "No two experts say the same.", "experts.cka")
def redundant(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Linear CKA of two experts close to 1."""
    e = _experts(s, t)
    cka = e.cka()
    alive = [i for i, _ in _alive(s, t)]
    for position, i in enumerate(alive):
        for j in alive[position + 1 :]:
            if e.joint[i, j] >= t.min_rows and cka[i, j] > t.redundant_cka:
                a, b = e.names[i], e.names[j]
                yield Finding(
                    "EXP-REDUNDANT",
                    "warning",
                    f"{a}:{b}",
                    f"{a} and {b} carry the same information (linear CKA {cka[i, j]:.3f}).",
                    (Evidence("linear CKA", float(cka[i, j]), t.redundant_cka, int(e.joint[i, j])),),
                    "experts.cka",
                    "Both experts learned the same function of the customer, so one of them adds nothing.",
                    Fix(f"shared_experts.{b}", "on", None, f"Switch {b} off, or give the two different inputs."),
                    (f"ablate.{b}=mean",),
                )


@check("EXP-LOW-RANK", "Every expert's output spans several directions.", "experts.rank")
def low_rank(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The output varies, but along one direction: a warning; along few for its width: information."""
    e = _experts(s, t)
    for i, name in _alive(s, t):
        rank, outside = e.effective_rank(name), e.outside_leading(name)
        limit = max(t.rank_floor, t.rank_share * e.dims[i])
        single = e.dims[i] > 1 and outside < t.rank_outside
        if single or 0 < rank < limit:
            yield Finding(
                "EXP-LOW-RANK",
                "warning" if single else "info",
                name,
                f"{name} uses {rank:.1f} of its {e.dims[i]} dimensions: its output is "
                + ("a single direction." if single else "close to a single direction."),
                (
                    Evidence("variance outside the leading direction", outside, t.rank_outside, int(e.counted[i])),
                    Evidence("effective rank", rank, limit, int(e.counted[i])),
                    Evidence("width", float(e.dims[i])),
                ),
                "experts.rank",
                "Dimensional collapse: the expert found one feature that helps and stopped there.",
                Fix(
                    f"shared_experts.{name}.output_dim",
                    e.dims[i],
                    max(1, e.dims[i] // 2),
                    "Make the expert narrower or train it longer.",
                ),
                (f"ablate.{name}=mean",),
            )
