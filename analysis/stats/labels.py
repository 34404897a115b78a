"""What the labels of the measured rows are: how many, of which classes, on which scale, and whether one column gives them away.

- Scales: the ratio of an amount to its prediction, in powers of ten. Amounts of which some are in thousands of the others' unit
  make two heaps a whole number of powers apart. The heaps are found by a mixture of two normal distributions of one width (EM,
  Dempster et al. 1977); `apart` is Ashman's D (Ashman, Bird & Zepf 1994): above 2 two heaps are told from one.
- Giveaways: `analysis/stats/giveaways.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.stats.base import Array, Statistic
from analysis.stats.factor import Factor
from analysis.stats.giveaways import Giveaway
from ple_model.interval import Interval

ROUNDS = 200
"""Of EM at most; a few tens suffice."""


@dataclass(frozen=True, eq=False)
class Scales(Statistic):
    """Two heaps of amount over prediction."""

    n: int
    """positive amounts with a positive prediction"""
    share: float
    """of them in the heap farther from the prediction"""
    step: float
    """powers of ten from the nearer heap to that one; of a single heap, from the prediction to it"""
    apart: float
    """Ashman's D; 0 of a single heap"""
    spread: float
    """standard deviation of the labels over that of training; NaN where that is not known"""
    moved: float
    """powers of ten from the mean of the training labels to that of these; NaN where that is not known"""


@dataclass(frozen=True, eq=False)
class Refound(Statistic):
    """What a fit made on these rows afresh finds, where the model finds nothing."""

    n: int
    found: float
    """skill that the training had found on its validation rows; NaN where that is not known"""
    fresh: Interval
    """share of the label's variance that the fresh fit tells of customers it was not fitted on"""
    then: float = math.nan
    """what the same fit told on as many held-out rows at training; NaN where that is not known"""
    then_spread: float = math.nan


@dataclass(frozen=True, eq=False)
class Relabelled(Statistic):
    """The order of the classes under which the model's probabilities fit the labels best, where it is not the one at hand."""

    order: tuple[int, ...]
    """label -> class of the model"""
    n: int
    deviations: float
    """its gain in likelihood over the labels as they stand, in standard errors"""
    skill: float
    """as they stand"""
    again: float
    """in this order"""
    found: float = math.nan
    """what the training had found on its validation rows"""


@dataclass(frozen=True, eq=False)
class Rate(Statistic):
    """Share of positives of a binary label."""

    n: int
    customers: int
    here: float
    trained: float
    expected: float
    """mean probability that the model gives these rows"""
    spread: float
    """standard error of `here` around that, customers counted once"""


@dataclass(frozen=True, eq=False)
class AmountLevel(Statistic):
    """Mean of an amount's labels; of a label that is learnt as a logarithm the amount at the mean logarithm."""

    n: int
    customers: int
    here: float
    trained: float
    expected: float
    """of the model's predictions of these rows"""
    from_trained: float
    """standard errors, customers counted once, that the labels are above those of training"""
    from_expected: float
    """the same above the predictions"""


@dataclass(frozen=True, eq=False)
class Missing(Statistic):
    """Rows that have hardly a positive where others have theirs."""

    column: str
    values: tuple[str, ...]
    share: float
    """of the labelled rows that hold one of these values"""
    expected: float
    """positives that the model expects of them"""
    seen: float
    others: float
    """positives of all other rows, over those expected"""


@dataclass(frozen=True, eq=False)
class TaskLabels(Statistic):
    """Of one task, on rows that did not train the model where there are any."""

    kind: str
    n: int
    customers: int
    values: int
    """different labels"""
    counts: tuple[int, ...] = ()
    """[K] rows by class (binary: 0 and 1)"""
    named: tuple[int, ...] = ()
    """[K] rows by the class that the model names"""
    own: tuple[float, ...] = ()
    """[K] mean probability that the model gives a class on its own rows; NaN without rows"""
    trained: tuple[int, ...] = ()
    """[K] training rows by class; empty where the run does not know"""
    trained_values: int | None = None
    """1: one and the same label in all training rows; None: not known"""
    scales: Scales | None = None
    giveaway: Giveaway | None = None
    refound: Refound | None = None
    """None where it was not asked"""
    names: tuple[str, ...] = ()
    """[K] of the classes, where they have names"""
    factor: Factor | None = None
    """amounts over those of training; None where these are not known"""
    relabelled: Relabelled | None = None
    rate: Rate | None = None
    missing: Missing | None = None
    level: AmountLevel | None = None
    """of an amount"""

    def called(self, k: int) -> str:
        """The number of a class, with its name where it has one."""
        return f"{k} ({self.names[k]})" if k < len(self.names) else str(k)


def scales(amount: Array, predicted: Array, spread: float = math.nan, moved: float = math.nan) -> Scales | None:
    """From amounts [n] and their predictions [n] in the same unit; None below 50 that are positive."""
    there = (amount > 0) & (predicted > 0) & np.isfinite(amount) & np.isfinite(predicted)
    if there.sum() < 50:
        return None
    ratio = np.log10(amount[there]) - np.log10(predicted[there])
    low, high, share, width = _two_heaps(ratio)
    apart = (high - low) / width
    middle = float(np.median(ratio))
    if apart < 2:
        return Scales(len(ratio), 1.0, middle, 0.0, spread, moved)
    far = high if abs(high) >= abs(low) else low
    step = far - (low if far == high else high)
    return Scales(len(ratio), share if far == high else 1 - share, step, float(apart), spread, moved)


def _two_heaps(x: Array) -> tuple[float, float, float, float]:
    """(lower mean, upper mean, share of the upper, common width) of the likeliest two normal heaps of one width."""
    best: tuple[float, tuple[float, float, float, float]] | None = None
    floor = 1e-3
    for cut in (0.1, 0.5, 0.9):  # a small heap is not found from the middle
        edge = np.quantile(x, cut)
        lower, upper = x[x <= edge], x[x > edge]
        if not len(lower) or not len(upper):
            continue
        low, high, share = float(lower.mean()), float(upper.mean()), len(upper) / len(x)
        width = max(floor, float(np.sqrt(np.concatenate([lower - low, upper - high]).var())))
        value = -np.inf
        for _ in range(ROUNDS):
            a = np.log(max(1 - share, 1e-12)) - 0.5 * ((x - low) / width) ** 2
            b = np.log(max(share, 1e-12)) - 0.5 * ((x - high) / width) ** 2
            top = np.logaddexp(a, b)
            weight = np.exp(b - top)
            share = float(weight.mean())
            low = float(((1 - weight) * x).sum() / max((1 - weight).sum(), 1e-12))
            high = float((weight * x).sum() / max(weight.sum(), 1e-12))
            variance = ((1 - weight) * (x - low) ** 2 + weight * (x - high) ** 2).mean()
            width = max(floor, float(np.sqrt(variance)))
            now = float(top.sum() - len(x) * np.log(width))
            if now - value < 1e-6 * len(x):
                break
            value = now
        if best is None or value > best[0]:
            best = (value, (low, high, share, width) if low <= high else (high, low, 1 - share, width))
    return best[1] if best is not None else (float(x.mean()), float(x.mean()), 0.5, max(floor, float(x.std())))
