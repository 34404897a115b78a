"""Whether one column gives a label away: how well each column orders the labels by itself, in [0, 1].

|2 AUC - 1| (binary), |Spearman's correlation| (amounts), the share of the ranks' variance that lies between the classes (of
several). It is asked on the rows that have the column, and twice more on those that do not hold its commonest value, or its
second: what fills a gap (a zero, a mean) tells nothing, and a column that is filled in half of the rows gives away the other
half.

All labels are held against all columns in a few products first; the columns that tell most are then measured exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic
from ple_model.metrics import weighted_ranks

SCREENED = 20
"""Columns of each task that are measured exactly, after a look at all of them."""
RAREST = 5
"""Rows that the rarer outcome must have for a column to be held against it."""
COMMON = 0.1
"""Share of the rows from which a value counts as what fills a gap."""
SHARE, FEWEST = 0.1, 100
"""Share and number of rows in which a column must say something to be asked by these alone; a fifth of the number must lie
outside the commonest class. Chance alone orders 100 rows so well in less than one of a million columns."""
Asked = tuple[str, Array]
"""Kind of a task and its labels [n], NaN without one."""


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
class Filled:
    """A value that fills some columns: their commonest, or their second."""

    columns: NDArray[np.int64]
    """[k] those that a tenth of the rows and more share"""
    rows: NDArray[np.bool_]
    """[k, n] that hold it"""
    rank: NDArray[np.float32]
    """[k] of the value"""
    place: dict[int, int]
    """column -> its number among the k"""


@dataclass(frozen=True, eq=False)
class Ranked:
    """Columns as ranks about their middle, ready to be held against many labels; a column's values lie side by side."""

    twice: NDArray[np.int32]
    """[c, n] twice the ranks, ties by their mean; 0 for what is not there"""
    ranks: NDArray[np.float32]
    """[c, n] in shares of n: squares of ranks of many rows keep their digits"""
    there: NDArray[np.bool_]
    """[c, n]"""
    filled: tuple[Filled, Filled]

    def rows(self, which: int, column: int, known: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the rows `known` those in which a column says something: that have it (0), or of those the ones without its
        commonest value (1), or its second (2)."""
        told = self.there[column, known]
        if which:
            filled = self.filled[which - 1]
            told = told & ~filled.rows[filled.place[column], known]
        return np.asarray(known[told])

    def among(self, column: int, rows: NDArray[np.int64]) -> Array:
        """[n] mid-ranks of a column among these rows."""
        return _counted(self.twice[column, rows])

    def sums(self, marks: NDArray[np.float32]) -> list[tuple[Array, Array, Array]]:
        """Of each way to choose rows: the chosen rows' [c, r] weights, ranks and squared ranks under the weights [r, n]."""
        every = [np.asarray(x @ marks.T) for x in (self.there.astype(np.float32), self.ranks, self.ranks * self.ranks)]
        found = [(every[0].astype(np.float64), every[1].astype(np.float64), every[2].astype(np.float64))]
        for filled in self.filled:
            held = (filled.rows.astype(np.float32) @ marks.T).astype(np.float64)
            rank = filled.rank.astype(np.float64)[:, None]
            one, two, three = (f[filled.columns] for f in found[0])
            found.append((one - held, two - rank * held, three - rank**2 * held))
        return found


def _counted(twice: NDArray[np.int32] | NDArray[np.int64]) -> Array:
    """[n] mid-ranks of what steps by a half, counted and not sorted."""
    key = twice - twice.min(initial=0)
    size = np.bincount(key)
    return np.asarray((np.cumsum(size) - size + (size + 1) / 2)[key])


def ranks(values: NDArray[np.float32]) -> Ranked:
    """Of values [n, c], NaN where a row lacks the column."""
    n, c = values.shape
    columns = np.ascontiguousarray(values.T)
    there = np.isfinite(columns)
    columns[~there] = np.nan
    order = np.argsort(columns, axis=1)  # NaN at the end
    ordered = np.take_along_axis(columns, order, 1)
    new = np.ones((c, n), dtype=np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(new)
    size = np.diff(starts, append=c * n)
    m = there.sum(1)
    row, place = np.divmod(starts, max(n, 1))
    known = place < m[row]
    middle = np.where(known, 2 * place + size - m[row], 0).astype(np.int32)  # twice: place + (size + 1) / 2 - (m + 1) / 2
    twice = np.empty((c, n), dtype=np.int32)
    np.put_along_axis(twice, order, np.repeat(middle, size).reshape(c, n), 1)
    shared = np.where(known, size, 0)
    first = np.searchsorted(row, np.arange(c + 1))
    filled: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for j in np.unique(row[shared >= max(COMMON * n, 1)]).tolist():
        own = shared[first[j] : first[j + 1]].copy()
        for held in filled:  # a leak of two values that fills gaps with a third: which is the commonest is chance
            value = int(own.argmax())
            if own[value] < COMMON * n:
                break
            held.append((j, int(first[j]) + value))
            own[value] = 0
    found = (twice / 2).astype(np.float32)
    found /= max(n, 1)

    def held_by(runs: list[tuple[int, int]]) -> Filled:
        rows = np.zeros((len(runs), n), dtype=np.bool_)
        for i, (j, run) in enumerate(runs):
            rows[i, order[j, place[run] : place[run] + size[run]]] = True
        mine = np.array([j for j, _ in runs], dtype=np.int64)
        rank = found[mine, [order[j, place[run]] for j, run in runs]] if runs else np.zeros(0, dtype=np.float32)
        return Filled(mine, rows, rank, {j: i for i, j in enumerate(mine.tolist())})

    return Ranked(twice, found, there, (held_by(filled[0]), held_by(filled[1])))


def giveaway(kind: str, label: Array, ranked: Ranked, columns: Sequence[tuple[str, str]]) -> Giveaway | None:
    """Of one label; see `giveaways`."""
    return giveaways({"": (kind, label)}, ranked, columns).get("")


def giveaways(asked: Mapping[str, Asked], ranked: Ranked, columns: Sequence[tuple[str, str]]) -> dict[str, Giveaway]:
    """Which of the columns [c] (input, name), given by their `ranks`, tells most of each label by itself, on all rows or on
    those in which it says something. Left out are labels with too few rows, or where the rarer outcome has hardly any."""
    labels = {t: made for t, (kind, y) in asked.items() if len(columns) and (made := _Label.of(kind, y)) is not None}
    if not labels:
        return {}
    sums = ranked.sums(np.concatenate([v.marks for v in labels.values()]))
    out, at = {}, 0
    for task, label in labels.items():
        mine = slice(at, at + len(label.marks))
        at = mine.stop
        found = _of_label(label, [(a[:, mine], b[:, mine], c[:, mine]) for a, b, c in sums], ranked, columns)
        if found is not None:
            out[task] = found
    return out


@dataclass(frozen=True, eq=False)
class _Label:
    """One label, ready to be held against columns."""

    kind: str
    known: NDArray[np.int64]
    index: NDArray[np.int64]
    """[n] number of each row's class among those that occur; of an amount twice its rank"""
    positive: NDArray[np.bool_]
    """[k] of the classes of a binary label; empty of an amount"""
    marks: NDArray[np.float32]
    """[r, n] a row a class; of an amount whether it is there, its rank, and its square"""

    @staticmethod
    def of(kind: str, y: Array) -> _Label | None:
        """None with too few labels, or where the rarer outcome has hardly any."""
        known = np.flatnonzero(np.isfinite(y))
        if len(known) < 10 * RAREST:
            return None
        index = np.zeros(len(y), dtype=np.int64)
        if kind == "regression":
            rank = weighted_ranks(y[known])
            index[known] = np.rint(2 * rank)
            return _Label(kind, known, index, np.zeros(0, dtype=np.bool_), _amount_marks(rank, len(y), known))
        classes, index[known] = np.unique(y[known], return_inverse=True)
        if len(classes) < 2 or len(known) - np.bincount(index[known]).max() < RAREST:
            return None
        marks = np.zeros((len(classes), len(y)), dtype=np.float32)
        marks[index[known], known] = 1
        return _Label(kind, known, index, classes > 0.5, marks)

    def too_few(self, rows: NDArray[np.int64]) -> bool:
        """Would chance alone order these rows well in one of a thousand columns?"""
        if len(rows) < max(FEWEST, SHARE * len(self.known)):
            return True
        return bool(len(self.positive)) and len(rows) - int(np.bincount(self.index[rows]).max()) < FEWEST // 5

    def told(self, rows: NDArray[np.int64], rank: Array) -> float:
        """How well one column, by its ranks among these rows, orders the labels; for a rare outcome the area, since it leaves
        little variance to explain."""
        index = self.index[rows]
        if self.kind == "regression":
            marks = _amount_marks(_counted(index), len(rows), np.arange(len(rows)))
            if index.min(initial=0) == index.max(initial=0):
                return 0.0
        else:
            occur = np.flatnonzero(np.bincount(index, minlength=len(self.positive)))
            if len(occur) < 2:
                return 0.0
            if self.kind == "binary":
                return _area(self.positive[index], rank)
            marks = np.asarray(index == occur[:, None], dtype=np.float32)
        r = np.asarray(rank / len(rows), dtype=np.float32)[:, None]
        weight, first, second = ((marks @ s).astype(np.float64).T for s in (np.ones_like(r), r, r * r))
        return float(self.ordered(weight, first, second)[0])

    def ordered(self, weight: Array, first: Array, second: Array) -> Array:
        """[c] from sums [c, r] of columns' weights, ranks and squared ranks under the marks."""
        if self.kind == "regression":
            return _correlation(weight, first, second)
        return _between(weight, first, second)


def _amount_marks(rank: Array, n: int, known: NDArray[np.int64]) -> NDArray[np.float32]:
    a, mark = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
    a[known], mark[known] = rank / len(known) - 0.5, 1.0
    return np.stack([mark, a, a * a])


def _of_label(
    label: _Label, sums: Sequence[tuple[Array, Array, Array]], ranked: Ranked, columns: Sequence[tuple[str, str]]
) -> Giveaway | None:
    known = label.known
    exact: dict[int, tuple[float, float]] = {}
    asked = (np.arange(len(columns)), ranked.filled[0].columns, ranked.filled[1].columns)
    for which, those in enumerate(asked):
        found = label.ordered(*sums[which])
        for i in map(int, those[np.argsort(-found)[:SCREENED]]):
            rows = ranked.rows(which, i, known)
            if len(rows) < len(known) and label.too_few(rows):
                continue
            value = label.told(rows, ranked.among(i, rows))
            exact[i] = max(exact.get(i, (0.0, 1.0)), (value, len(rows) / len(known)))
    if not exact:
        return None
    order = sorted(exact, key=lambda i: (-exact[i][0], i))
    best = np.array([exact[i][0] for i in order])
    alike = int((best >= best[0] - 0.01).sum())
    after = alike if alike < len(best) else len(best) - 1
    (key, name), (_, other) = columns[order[0]], columns[order[after]]
    return Giveaway(name, key, float(best[0]), alike, other, float(best[after]), len(known), exact[order[0]][1])


def _correlation(weight: Array, first: Array, second: Array) -> Array:
    """[c] |correlation of ranks| over the rows of each column that count."""
    n = np.maximum(weight[:, 0], 1)
    mine, theirs = weight[:, 1] / n, first[:, 0] / n
    both = first[:, 1] / n - mine * theirs
    spread = np.maximum(weight[:, 2] / n - mine**2, 0) * np.maximum(second[:, 0] / n - theirs**2, 0)
    return np.asarray(np.where(spread > 1e-9, np.abs(both) / np.sqrt(np.maximum(spread, 1e-12)), 0.0))


def _between(weight: Array, first: Array, second: Array) -> Array:
    """[c] share of the ranks' variance between the classes, over the rows of each column that count."""
    n = np.maximum(weight.sum(1), 1)
    middle = n * (first.sum(1) / n) ** 2
    whole = second.sum(1) - middle
    between = (first**2 / np.maximum(weight, 1)).sum(1) - middle
    return np.asarray(np.where(whole > 1e-6 * n, between / np.maximum(whole, 1e-9), 0.0))


def _area(positive: NDArray[np.bool_], rank: Array) -> float:
    """|2 AUC - 1| (Mann & Whitney 1947)."""
    n, m = int(positive.sum()), int((~positive).sum())
    area = (rank[positive].sum() - n * (n + 1) / 2) / (n * m)
    return float(abs(2 * area - 1))
