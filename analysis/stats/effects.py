"""What interventions do to predictions: mean absolute change and flipped decisions, per intervention and task.

This is the causal side of every map of attention: gate mass says what is looked at, ablation says what is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, ratio


@dataclass(frozen=True, eq=False)
class EffectStats(Statistic):
    """I interventions (for example "ablate temporal", "cut ctr:cvr") x T tasks.

    Changes are in prediction units: probability (binary), total variation of the class probabilities (multiclass, half the L1
    distance), standard deviations of the label (regression), 1 - cosine of the query (contrastive).
    """

    SAME = frozenset({"interventions", "tasks"})

    interventions: tuple[str, ...]
    tasks: tuple[str, ...]
    n: int
    change: Array
    """[I, T] sum over rows of the absolute change."""
    flips: Array
    """[I, T] rows whose decision changes."""
    change_sq: Array | None = None
    """[I, T] sum over rows of the squared change; None in statistics from before it was kept."""

    @property
    def mean_change(self) -> Array:
        return np.asarray(ratio(self.change, np.full_like(self.change, self.n)))

    @property
    def change_std(self) -> Array:
        """[I, T] standard deviation of the change over rows; NaN where it was not kept."""
        if self.change_sq is None:
            return np.full_like(self.change, np.nan)
        mean_sq = ratio(self.change_sq, np.full_like(self.change_sq, self.n))
        return np.asarray(np.sqrt(np.maximum(mean_sq - self.mean_change**2, 0)))

    @property
    def flip_share(self) -> Array:
        return np.asarray(ratio(self.flips, np.full_like(self.flips, self.n)))

    def of(self, intervention: str) -> Array:
        """[T] mean change of one intervention; NaN where it was not run."""
        if intervention not in self.interventions:
            return np.full(len(self.tasks), np.nan)
        return np.asarray(self.mean_change[self.interventions.index(intervention)])


def row_change(kind: str, before: NDArray[np.floating], after: NDArray[np.floating]) -> Array:
    """[B] absolute change of one task's predictions, in the units of `EffectStats`."""
    a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if kind == "multiclass":
        return np.asarray(np.abs(a - b).sum(-1) / 2)
    if kind == "contrastive":
        scale = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        return np.asarray(1 - (a * b).sum(-1) / np.maximum(scale, 1e-12))
    return np.abs(a - b) if a.ndim == 1 else np.abs(a - b).mean(-1)


def row_flips(
    kind: str, before: NDArray[np.floating], after: NDArray[np.floating], threshold: float = 0.5
) -> NDArray[np.bool_]:
    """[B] does the decision change: side of the threshold (binary), most probable class (multiclass); never for the others."""
    if kind == "binary":
        return np.asarray((np.asarray(before) >= threshold) != (np.asarray(after) >= threshold))
    if kind == "multiclass":
        return np.asarray(np.asarray(before).argmax(-1) != np.asarray(after).argmax(-1))
    return np.zeros(len(before), dtype=bool)


def measure(
    kinds: Mapping[str, str],
    before: Mapping[str, NDArray[np.floating]],
    after: Mapping[str, Mapping[str, NDArray[np.floating]]],
    thresholds: Mapping[str, float] | None = None,
) -> EffectStats:
    """kinds: task -> kind; before: task -> predictions; after: intervention -> task -> predictions."""
    tasks, cuts = tuple(kinds), thresholds or {}
    n = len(next(iter(before.values()))) if tasks else 0
    moved = [[row_change(kinds[t], before[t], p[t]) for t in tasks] for p in after.values()]
    change = np.array([[m.sum() for m in row] for row in moved], dtype=np.float64)
    squared = np.array([[(m**2).sum() for m in row] for row in moved], dtype=np.float64)
    flips = np.array(
        [[row_flips(kinds[t], before[t], p[t], cuts.get(t, 0.5)).sum() for t in tasks] for p in after.values()],
        dtype=np.float64,
    )
    shape = (len(after), len(tasks))
    return EffectStats(tuple(after), tasks, n, change.reshape(shape), flips.reshape(shape), squared.reshape(shape))
