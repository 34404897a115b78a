"""What the labels of the measured rows are: how many, of which classes, on which scale, and whether one column gives them away.

- Scales: the ratio of an amount to its prediction, in powers of ten. Amounts of which some are in thousands of the others' unit
  make two heaps a whole number of powers apart. The heaps are found by a mixture of two normal distributions of one width (EM,
  Dempster et al. 1977); `apart` is Ashman's D (Ashman, Bird & Zepf 1994): above 2 two heaps are told from one.
- Giveaways: how well one column orders the labels by itself, in [0, 1]: |2 AUC - 1| (binary), |Spearman's correlation|
  (amounts), the share of the ranks' variance that lies between the classes (several classes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic
from analysis.stats.skill import Interval
from ple_model.metrics import weighted_ranks

ROUNDS = 200
"""Of EM at most; a few tens suffice."""
SCREENED = 20
"""Columns of each task that are measured exactly, after a look at all of them."""
RAREST = 5
"""Rows that the rarer outcome must have for a column to be held against it."""


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
class Giveaway(Statistic):
    """The column that tells most by itself, beside the next that is not as good."""

    column: str
    input: str
    tells: float
    alike: int
    """columns that tell as much (to a hundredth)"""
    next: str
    next_tells: float
    n: int


@dataclass(frozen=True, eq=False)
class Refound(Statistic):
    """What a boosting finds that is fitted on these rows afresh, where the model finds nothing."""

    n: int
    found: float
    """skill that the training had found on its validation rows; NaN where that is not known"""
    fresh: Interval
    """skill of the fresh fit, cross-validated"""


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


def ranks(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, c] ranks within each column, ties by their mean; what is not there is in the middle."""
    middle = (len(values) + 1) / 2
    return np.asarray(np.stack([_ranked(column, middle) for column in values.T], axis=1), dtype=np.float32)


def _ranked(column: NDArray[np.float32], middle: float) -> NDArray[np.float32]:
    there = np.isfinite(column)
    out = np.full(len(column), middle, dtype=np.float32)
    if there.all():
        out[:] = weighted_ranks(column)
        return out
    out[there] = weighted_ranks(column[there]) + (len(column) - there.sum()) / 2
    return out


def giveaway(kind: str, label: Array, ranked: NDArray[np.float32], columns: Sequence[tuple[str, str]]) -> Giveaway | None:
    """Which of the columns [c] (input, name), given by their ranks [n, c], tells most of the label [n] (NaN: none) by itself.
    None with too few labels, or where the rarer outcome has hardly any."""
    known = np.flatnonzero(np.isfinite(label))
    if len(known) < 10 * RAREST or not len(columns):
        return None
    y, r = label[known], ranked[known]
    if kind == "regression":
        found = _ordered(y, r)
    else:
        counts = np.unique(y, return_counts=True)[1]
        if len(counts) < 2 or len(y) - counts.max() < RAREST:
            return None
        found = _between(y, r)
    top = np.argsort(-found)[:SCREENED]
    if kind == "binary":  # the exact measure: a rare outcome leaves little variance to explain
        found = np.array([_area(y, r[:, i]) for i in top])
    elif kind == "regression":
        found = np.array([float(_ordered(y, _again(r[:, i]))[0]) for i in top])
    else:
        found = np.array([float(_between(y, _again(r[:, i]))[0]) for i in top])
    order = np.argsort(-found, kind="stable")
    top, found = top[order], found[order]
    alike = int((found >= found[0] - 0.01).sum())
    after = alike if alike < len(found) else len(found) - 1
    (key, name), (_, other) = columns[int(top[0])], columns[int(top[after])]
    return Giveaway(name, key, float(found[0]), alike, other, float(found[after]), len(y))


def _again(column: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(weighted_ranks(column), dtype=np.float32)[:, None]


def _ordered(y: Array, r: NDArray[np.float32]) -> Array:
    """[c] |correlation of ranks|."""
    a = weighted_ranks(y) - (len(y) + 1) / 2
    centred = r - r.mean(0)
    scale = np.sqrt((a @ a) * np.einsum("ij,ij->j", centred, centred, dtype=np.float64))
    return np.asarray(np.where(scale > 0, np.abs(a @ centred) / np.maximum(scale, 1e-12), 0.0))


def _between(y: Array, r: NDArray[np.float32]) -> Array:
    """[c] share of the ranks' variance between the classes."""
    _, index = np.unique(y, return_inverse=True)
    centred = (r - r.mean(0)).astype(np.float64)
    one = (index[None, :] == np.arange(index.max() + 1)[:, None]).astype(np.float64)
    sums = one @ centred
    whole = np.einsum("ij,ij->j", centred, centred)
    return np.asarray(np.where(whole > 1e-9, (sums**2 / one.sum(1)[:, None]).sum(0) / np.maximum(whole, 1e-9), 0.0))


def _area(y: Array, column: NDArray[np.float32]) -> float:
    """|2 AUC - 1| (Mann & Whitney 1947)."""
    positive = y > 0.5
    n, m = int(positive.sum()), int((~positive).sum())
    area = (weighted_ranks(column)[positive].sum() - n * (n + 1) / 2) / (n * m)
    return float(abs(2 * area - 1))
