"""CGC gates: where each task's attention goes, how far it moved from its prior, and how much lands on empty inputs.

Load and its coefficient of variation are the mixture-of-experts measures of Shazeer et al. 2017; H(mean p) - mean H(p) is the
mutual information between row and expert: zero means that every row gets the same mix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, entropy, jensen_shannon, ratio

BINS = 20


@dataclass(frozen=True, eq=False)
class GateStats(Statistic):
    """T tasks, N experts."""

    SAME = frozenset({"tasks", "experts"})

    tasks: tuple[str, ...]
    experts: tuple[str, ...]
    n: int
    weight_sum: Array
    """[T, N]"""
    weight_sq: Array
    """[T, N]"""
    histogram: Array
    """[T, N, BINS] rows by weight, equal-width bins over [0, 1]."""
    entropy_sum: Array
    """[T] sum of the rows' entropies, nats."""
    top: Array
    """[T, N] rows where the expert has the largest weight."""
    top_weight: Array
    """[T] sum of the largest weight."""
    wasted: Array
    """[T, N] weight spent on the expert in rows where it is on zero fallback."""
    fallback: Array
    """[N] rows on zero fallback."""
    nonfinite: Array
    """[T] rows with a weight that is not finite (left out of everything else)."""

    @property
    def mean(self) -> Array:
        """[T, N] mean weight; rows sum to 1."""
        return np.asarray(ratio(self.weight_sum, np.full_like(self.weight_sum, self.n)))

    @property
    def std(self) -> Array:
        """[T, N] standard deviation of the weight over rows."""
        return np.asarray(np.sqrt(np.maximum(ratio(self.weight_sq, np.full_like(self.weight_sq, self.n)) - self.mean**2, 0)))

    @property
    def mean_entropy(self) -> Array:
        """[T] mean over rows of H(w), nats."""
        return np.asarray(ratio(self.entropy_sum, np.full_like(self.entropy_sum, self.n)))

    @property
    def normalised_entropy(self) -> Array:
        """[T] mean H / ln N; 1 is uniform. One expert alone has none: 1."""
        n = len(self.experts)
        return self.mean_entropy / np.log(n) if n > 1 else np.ones(len(self.tasks))

    @property
    def effective_experts(self) -> Array:
        """[T] exp(mean H): how many experts a row of this task really uses."""
        return np.exp(self.mean_entropy)

    @property
    def specialisation(self) -> Array:
        """[T] H(mean p) - mean H(p), nats, >= 0: how much the mix depends on the row."""
        return np.asarray(entropy(self.mean) - self.mean_entropy)

    @property
    def load(self) -> Array:
        """[T, N] share of rows where the expert is top-1."""
        return np.asarray(ratio(self.top, np.full_like(self.top, self.n)))

    @property
    def mean_top(self) -> Array:
        """[T] mean of the largest weight."""
        return np.asarray(ratio(self.top_weight, np.full_like(self.top_weight, self.n)))

    @property
    def load_variation(self) -> float:
        """Coefficient of variation of the load summed over tasks: 0 is balanced."""
        load = self.load.sum(0)
        return float(load.std() / load.mean()) if load.mean() > 0 else float("nan")

    @property
    def importance(self) -> Array:
        """[N] mean weight over tasks."""
        return np.asarray(self.mean.mean(0))

    @property
    def dilution(self) -> Array:
        """[T, N] mean weight (over all rows) that the task spends on the expert's zero fallback."""
        return np.asarray(ratio(self.wasted, np.full_like(self.wasted, self.n)))

    def distance_to(self, prior: Array) -> Array:
        """[T] Jensen-Shannon distance of the mean weights to `prior` [T, N]."""
        return np.asarray(jensen_shannon(self.mean, prior))

    def task_distance(self) -> Array:
        """[T, T] Jensen-Shannon distance between the tasks' mean weights."""
        m = self.mean
        return np.asarray(jensen_shannon(m[:, None, :], m[None, :, :]))


def prior_weights(
    tasks: Sequence[Sequence[str]],
    experts: Sequence[str],
    high: float = 1.0,
    low: float = -1.0,
    own: Sequence[Mapping[str, float]] | None = None,
) -> Array:
    """[T, N] softmax of the warm-start biases: `high` for a task's domain experts, `low` for the others; a task's `own` win."""
    given = own if own is not None else [{}] * len(tasks)
    bias = np.array(
        [[o.get(e, high if e in domain else low) for e in experts] for domain, o in zip(tasks, given, strict=True)],
        dtype=np.float64,
    )
    z = np.exp(bias - bias.max(1, keepdims=True))
    return np.asarray(z / z.sum(1, keepdims=True))


def measure(
    tasks: Sequence[str], experts: Sequence[str], weights: NDArray[np.floating], present: NDArray[np.bool_]
) -> GateStats:
    """weights: [B, T, N], rows sum to 1; present: [B, N], False where the expert is on zero fallback."""
    w = np.asarray(weights, dtype=np.float64)
    bad: NDArray[np.bool_] = np.asarray(~np.isfinite(w).all(axis=2), dtype=bool)
    keep = ~bad.any(axis=1)
    w, away = w[keep], ~np.asarray(present, dtype=bool)[keep]
    n, n_tasks, n_experts = w.shape
    index = np.clip((w * BINS).astype(int), 0, BINS - 1)
    cell = np.arange(n_tasks * n_experts).reshape(1, n_tasks, n_experts)
    histogram = np.bincount((cell * BINS + index).ravel(), minlength=n_tasks * n_experts * BINS)
    top = w.argmax(axis=2) if n else np.zeros((0, n_tasks), int)
    return GateStats(
        tasks=tuple(tasks),
        experts=tuple(experts),
        n=n,
        weight_sum=w.sum(0),
        weight_sq=(w**2).sum(0),
        histogram=histogram.reshape(n_tasks, n_experts, BINS).astype(np.float64),
        entropy_sum=entropy(w).sum(0),
        top=np.stack([(top == e).sum(0) for e in range(n_experts)], 1).astype(np.float64),
        top_weight=w.max(axis=2).sum(0) if n else np.zeros(n_tasks),
        wasted=(w * away[:, None, :]).sum(0),
        fallback=away.sum(0).astype(np.float64),
        nonfinite=bad.sum(0).astype(np.float64),
    )
