"""What the labels of the measured rows are: how many, of which classes, on which scale, and whether one column gives them away.

- Scales: the ratio of an amount to its prediction, in powers of ten. Amounts of which some are in thousands of the others' unit
  make two heaps a whole number of powers apart. The heaps are found by a mixture of two normal distributions of one width (EM,
  Dempster et al. 1977); `apart` is Ashman's D (Ashman, Bird & Zepf 1994): above 2 two heaps are told from one.
- Giveaways: how well one column orders the labels by itself, in [0, 1]: |2 AUC - 1| (binary), |Spearman's correlation|
  (amounts), the share of the ranks' variance that lies between the classes (several classes). It is asked on the rows that have
  the column, and once more on those that do not hold its commonest value: what fills a gap (a zero, a mean) tells nothing, and
  a column that is filled in half of the rows gives away the other half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic
from analysis.stats.factor import Factor
from ple_model.interval import Interval
from ple_model.metrics import auc, weighted_ranks

ROUNDS = 200
"""Of EM at most; a few tens suffice."""
SCREENED = 20
"""Columns of each task that are measured exactly, after a look at all of them."""
RAREST = 5
"""Rows that the rarer outcome must have for a column to be held against it."""
COMMON = 0.1
"""Share of the rows from which a value counts as what fills a gap."""
SHARE, FEWEST = 0.1, 100
"""Share and number of rows in which a column must say something to be asked by these alone; a fifth of the number must lie
outside the commonest class. Chance alone orders 100 rows so well in less than one of a million columns."""


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
    share: float = 1.0
    """of the labelled rows, in which the column says something"""


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


@dataclass(frozen=True, eq=False)
class Ranked:
    """Columns as ranks about their middle, ready to be held against many labels; each weight is on some of the rows alone."""

    ranks: NDArray[np.float32]
    """[n, c] ties by their mean; 0 for what is not there"""
    told: tuple[NDArray[np.bool_], ...]
    """[n, c] rows in which a column says something: those that have it; those of them that do not hold its commonest value,
    or its second, where a tenth of the rows and more share that"""
    sums: tuple[tuple[NDArray[np.float32], ...], ...]
    """of each of `told`: weights [n, c], ranks and squared ranks under them"""

    columns: tuple[NDArray[np.int64], ...]
    """[.] of each of `told` the columns of `sums`: those that are not told in all the rows that have them"""

    def rows(self, which: int, column: int, known: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the rows `known` those in which a column says something."""
        return np.asarray(known[self.told[which][known, column]])

    def among(self, column: int, rows: NDArray[np.int64]) -> Array:
        """[n] mid-ranks of a column among these rows: in steps of a half, so that they are counted and not sorted."""
        key = np.rint(self.ranks[rows, column].astype(np.float64) * (2 * len(self.ranks))).astype(np.int64)
        key -= key.min(initial=0)
        size = np.bincount(key)
        return np.asarray((np.cumsum(size) - size + (size + 1) / 2)[key])


def ranks(values: NDArray[np.float32]) -> Ranked:
    """Of values [n, c], NaN where a row lacks the column."""
    n = len(values)
    telling = np.repeat(np.isfinite(values).T[None], 3, axis=0)
    columns = np.where(telling[0], values.T, np.nan)
    order = np.argsort(columns, axis=1)  # NaN at the end
    found = np.zeros(columns.shape, dtype=np.float32)
    for j, place in enumerate(order):
        m = int(telling[0, j].sum())
        if not m:
            continue
        place = place[:m]
        group = np.zeros(m, dtype=np.int64)
        ordered = columns[j, place]
        np.cumsum(ordered[1:] != ordered[:-1], out=group[1:])
        size = np.bincount(group)
        found[j, place] = ((np.cumsum(size) - size) + (size + 1) / 2 - (m + 1) / 2)[group]
        for k in (1, 2):  # a leak of two values that fills gaps with a third: which is the commonest is chance
            value = int(size.argmax())
            if size[value] < COMMON * n:
                break
            telling[k, j, place] = group != value
            size[value] = 0
    found /= max(n, 1)  # squares of ranks of many rows keep their digits
    sums, asked = [], []
    for k, told in enumerate(telling):
        mine = np.flatnonzero((told != telling[0]).any(1)) if k else np.arange(len(told))
        weight, rank = told[mine].T.astype(np.float32), found[mine].T
        sums.append((weight, weight * rank, weight * rank * rank))
        asked.append(mine)
    return Ranked(np.ascontiguousarray(found.T), tuple(t.T for t in telling), tuple(sums), tuple(asked))


def giveaway(kind: str, label: Array, ranked: Ranked, columns: Sequence[tuple[str, str]]) -> Giveaway | None:
    """Which of the columns [c] (input, name), given by their `ranks`, tells most of the label [n] (NaN: none) by itself, on all
    rows or on those in which it says something. None with too few labels, or where the rarer outcome has hardly any."""
    known = np.flatnonzero(np.isfinite(label))
    if len(known) < 10 * RAREST or not len(columns):
        return None
    counts = np.unique(label[known], return_counts=True)[1]
    if kind != "regression" and (len(counts) < 2 or len(known) - counts.max() < RAREST):
        return None
    exact: dict[int, tuple[float, float]] = {}
    for which, (sums, those) in enumerate(zip(ranked.sums, ranked.columns, strict=True)):
        found = (_ordered if kind == "regression" else _between)(label, known, sums)
        for i in map(int, those[np.argsort(-found)[:SCREENED]]):
            rows = ranked.rows(which, i, known)
            if len(rows) < len(known) and _too_few(kind, label[rows], len(known)):
                continue
            value = _exactly(kind, label[rows], ranked.among(i, rows))
            exact[i] = max(exact.get(i, (0.0, 1.0)), (value, len(rows) / len(known)))
    if not exact:
        return None
    order = sorted(exact, key=lambda i: (-exact[i][0], i))
    best = np.array([exact[i][0] for i in order])
    alike = int((best >= best[0] - 0.01).sum())
    after = alike if alike < len(best) else len(best) - 1
    (key, name), (_, other) = columns[order[0]], columns[order[after]]
    return Giveaway(name, key, float(best[0]), alike, other, float(best[after]), len(known), exact[order[0]][1])


def _too_few(kind: str, y: Array, known: int) -> bool:
    """Would chance alone order these rows well in one of a thousand columns?"""
    if len(y) < max(FEWEST, SHARE * known):
        return True
    return kind != "regression" and len(y) - int(np.unique(y, return_counts=True)[1].max()) < FEWEST // 5


def _exactly(kind: str, y: Array, rank: Array) -> float:
    """How well one column, by its ranks, orders these labels; for a rare outcome the area, since it leaves little variance to
    explain."""
    if len(np.unique(y)) < 2:
        return 0.0
    if kind == "binary":
        return abs(2 * auc(y, rank) - 1)
    r = np.asarray(rank / len(y), dtype=np.float32)[:, None]
    sums, every = (np.ones_like(r), r, r * r), np.arange(len(y))
    return float((_ordered if kind == "regression" else _between)(y, every, sums)[0])


def _ordered(label: Array, known: NDArray[np.int64], sums: tuple[NDArray[np.float32], ...]) -> Array:
    """[c] |correlation of ranks| over the rows of each column that count."""
    a, mark = np.zeros(len(label), dtype=np.float32), np.zeros(len(label), dtype=np.float32)
    a[known], mark[known] = weighted_ranks(label[known]) / len(known) - 0.5, 1.0
    weight, one, two = ((np.stack([mark, a, a * a]) @ s).astype(np.float64) for s in sums)
    n = np.maximum(weight[0], 1)
    mine, theirs = weight[1] / n, one[0] / n
    both = one[1] / n - mine * theirs
    spread = np.maximum(weight[2] / n - mine**2, 0) * np.maximum(two[0] / n - theirs**2, 0)
    return np.asarray(np.where(spread > 1e-9, np.abs(both) / np.sqrt(np.maximum(spread, 1e-12)), 0.0))


def _between(label: Array, known: NDArray[np.int64], sums: tuple[NDArray[np.float32], ...]) -> Array:
    """[c] share of the ranks' variance between the classes, over the rows of each column that count."""
    _, index = np.unique(label[known], return_inverse=True)
    one = np.zeros((int(index.max()) + 1, len(label)), dtype=np.float32)
    one[index, known] = 1
    weight, first, second = ((one @ s).astype(np.float64) for s in sums)
    n = np.maximum(weight.sum(0), 1)
    middle = n * (first.sum(0) / n) ** 2
    whole = second.sum(0) - middle
    between = (first**2 / np.maximum(weight, 1)).sum(0) - middle
    return np.asarray(np.where(whole > 1e-6 * n, between / np.maximum(whole, 1e-9), 0.0))
