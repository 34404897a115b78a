"""How far an explanation can be trusted: the tests behind the faithfulness badge.

- completeness: attributions add up to the difference (Sundararajan et al. 2017);
- deletion and insertion of groups in the order of their attributions, against random orders (Samek et al. 2017; Petsiuk et al.
  2018): the share of random orders that ours beats;
- infidelity: does the sum of the removed groups' attributions tell how far the prediction falls (Yeh et al. 2019), reported
  relative to predicting no change;
- randomisation: a model with fresh weights must be explained differently (Adebayo et al. 2018).

A difference too small to rank is "not decided", never "passed". The explanation withholds itself when a test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analysis.i18n import phrase
from analysis.results.explanation_parts import Faithfulness, FaithfulnessCheck, Test

Array = NDArray[np.float64]
Value = Callable[[NDArray[np.bool_]], Array]
"""keep [n, groups] bool -> prediction [n] with the other groups at the reference."""
STEPS = 8
ORDERS = 16
GAP_LIMIT = 0.05
"""More than 5 % of the difference unexplained: the attributions do not add up."""
BEATS = 0.75
"""Random orders that the ranking must beat, deletion and insertion taken together."""
ALIKE = 0.5
"""Rank correlation with a random model's attributions above which the explanation does not depend on what was learned."""


@dataclass(frozen=True)
class Removal:
    """Areas under the deletion and insertion curves of our order and of random ones, and the infidelity."""

    deletion: float
    """Share of random orders whose deletion curve ours lies below (towards the reference)."""
    insertion: float
    infidelity: float
    correlation: float
    """Between the removed groups' summed attributions and the true change, over the random orders."""


def removal(values: Array, value: Value, full: float, empty: float, *, orders: int = ORDERS, seed: int = 0) -> Removal:
    """values [groups]: attributions; `full` and `empty`: the prediction with all groups and with none."""
    groups = len(values)
    sign = 1.0 if full >= empty else -1.0
    rng = np.random.default_rng(seed)
    ranks = [np.argsort(-sign * values, kind="stable"), *(rng.permutation(groups) for _ in range(orders))]
    cuts = np.unique(np.linspace(0, groups, STEPS + 1).round().astype(int))[1:-1]
    removed = np.zeros((len(ranks), len(cuts), groups), dtype=bool)
    for i, order in enumerate(ranks):
        for j, cut in enumerate(cuts):
            removed[i, j, order[:cut]] = True
    flat = removed.reshape(-1, groups)
    answers = value(np.concatenate([~flat, flat])).reshape(2, len(ranks), len(cuts))
    deleted, inserted = sign * answers[0], sign * answers[1]
    down, up = deleted.mean(1), inserted.mean(1)
    predicted, actual = (flat @ values).reshape(len(ranks), -1)[1:], (full - answers[0])[1:]
    size = float((actual**2).mean())
    spread = predicted.std() * actual.std()
    return Removal(
        deletion=_beats(-down[0], -down[1:]),
        insertion=_beats(up[0], up[1:]),
        infidelity=float(((predicted - actual) ** 2).mean() / size) if size > 0 else float("nan"),
        correlation=float(np.corrcoef(predicted.ravel(), actual.ravel())[0, 1]) if spread > 0 else float("nan"),
    )


def _beats(own: float, others: Array) -> float:
    """Share of `others` below `own`, ties half."""
    return float((others < own).mean() + 0.5 * (others == own).mean())


def alike(own: Array, other: Array) -> float:
    """|Spearman correlation| of two signed attributions of the same features; NaN where one is constant."""
    used = (own != 0) | (other != 0)
    if used.sum() < 3 or np.ptp(own[used]) == 0 or np.ptp(other[used]) == 0:
        return float("nan")
    return float(abs(spearmanr(own[used], other[used]).statistic))


def judge(gap: float, removed: Removal | None, likeness: float | None, *, enough: bool) -> Faithfulness:
    """The badge. `enough`: the prediction differs enough from the typical one for a ranking to mean anything."""
    checks = [_check("completeness", gap, GAP_LIMIT, bool(np.isfinite(gap) and gap <= GAP_LIMIT), gap=gap)]
    if removed is not None:
        both = (removed.deletion + removed.insertion) / 2
        passed = bool(both >= BEATS) if enough else None
        checks += [
            _check("deletion", removed.deletion, BEATS, passed, share=removed.deletion),
            _check("insertion", removed.insertion, BEATS, passed, share=removed.insertion),
            _check("infidelity", removed.infidelity, None, None, error=removed.infidelity),
        ]
    if likeness is not None:
        passed = bool(likeness <= ALIKE) if np.isfinite(likeness) else None
        checks.append(_check("randomisation", likeness, ALIKE, passed, likeness=likeness))
    draft = Faithfulness(tuple(checks), "", "")
    return Faithfulness(draft.checks, *(phrase(f"faithfulness.{draft.level}", language) for language in ("en", "ko")))


def _check(name: Test, value: float, limit: float | None, passed: bool | None, **values: float) -> FaithfulnessCheck:
    en, ko = (phrase(f"faithfulness.{name}", language, **values) for language in ("en", "ko"))
    return FaithfulnessCheck(name, value, limit, passed, en, ko)
