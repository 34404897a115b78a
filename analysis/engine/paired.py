"""Paired bootstrap of a metric before and after, resampled by customer (Efron & Tibshirani 1993, percentile interval).

Both sides see the same resamples, so that the interval of the difference is that of the change and not of two noisy numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ple_model.interval import Interval
from ple_model.metrics import auc_of

Array = NDArray[np.float64]
Weighted = Callable[[Array], float]
"""Row weights -> metric."""


@dataclass(frozen=True)
class PairedBootstrap:
    """Two metrics of the same rows as functions of row weights; `group` [n] numbers each row's customer."""

    before: Weighted
    after: Weighted
    group: NDArray[np.int64]

    @staticmethod
    def of_means(before: Array, after: Array, customers: Sequence[str]) -> PairedBootstrap:
        """Means of per-row values, for example hits or absolute errors."""
        return PairedBootstrap(_mean(before), _mean(after), _groups(customers))

    @staticmethod
    def of_auc(positive: NDArray[np.bool_], before: Array, after: Array, customers: Sequence[str]) -> PairedBootstrap:
        """Areas under the ROC curve of two scores of the same labels."""
        return PairedBootstrap(auc_of(positive, before), auc_of(positive, after), _groups(customers))

    def run(self, rounds: int, seed: int = 0) -> tuple[Interval, Interval, Interval]:
        """(before, after, difference); with fewer than two customers or no rounds the bounds are NaN."""
        n = int(self.group.max(initial=-1)) + 1
        ones = np.ones(len(self.group))
        b, a = self.before(ones), self.after(ones)
        if n < 2 or rounds < 1:
            return Interval(b), Interval(a), Interval(a - b)
        rng = np.random.default_rng(seed)
        draws = np.empty((rounds, 2))
        for i in range(rounds):
            weight = np.bincount(rng.integers(0, n, n), minlength=n)[self.group].astype(np.float64)
            draws[i] = self.before(weight), self.after(weight)
        return _interval(b, draws[:, 0]), _interval(a, draws[:, 1]), _interval(a - b, draws[:, 1] - draws[:, 0])


def _groups(customers: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(np.asarray(customers), return_inverse=True)[1].astype(np.int64)


def _interval(value: float, draws: Array) -> Interval:
    finite = draws[np.isfinite(draws)]
    if len(finite) < max(2, len(draws) // 2):
        return Interval(value)
    low, high = np.percentile(finite, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _mean(values: Array) -> Weighted:
    return lambda weight: float(np.dot(values, weight) / weight.sum())
