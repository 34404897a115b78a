"""Columns that hold the values of other columns, as they did not in training.

Two columns that are one up to their scale in every row at hand may be so by chance, or always have been: a count of a year and
of half a year agree for all who did nothing before. In training they can have agreed in no more rows than their distributions
overlap: of a column and of another brought to its scale the largest distance of the two cumulative distributions is at most the
share of rows in which they differed. Where so many rows would have had to agree by luck once in ten thousand, they are a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array
from analysis.stats.consistency import Copied
from ple_model.input_columns import Values
from ple_model.profile import Profile

FEWEST = 100
DISTINCT = 10
"""Values of a column below which others agree with it easily."""
ONE = 1 - 1e-5
"""Correlation from which two columns are looked at: what 32 bits leave of 1."""
SAME = 1e-3
"""Deviations that two values may differ by."""
ROUNDED = 1e-5
"""Share of a column's size that its cuts may be off by after two scales in 32 bits."""
CHANCE = -np.log(1e-4)
"""Of an event of this many expected cases none happens once in ten thousand times."""


def copies(
    values: Values, names: Sequence[str], inputs: Sequence[str], profile: Profile, people: int
) -> tuple[Copied, ...]:  # fmt: skip
    """Of feature columns [n, c] in the run's scale, NaN where a row lacks the part. `people`: customers of these rows."""
    found: list[Copied] = []
    taken: set[int] = set()
    for i, j, times, plus in _pairs(values):
        rows = int(np.isfinite(values[:, i]).sum())
        apart = _apart(profile, i, j, times, plus)
        if apart * min(rows, people) < CHANCE:
            continue
        # of the two the one that is not as it was holds the other's
        victim, source = (j, i) if _moved(values[:, j], profile, j) >= _moved(values[:, i], profile, i) else (i, j)
        if victim not in taken:
            taken.add(victim)
            found.append(Copied(inputs[victim], names[victim], names[source], rows, apart))
    return tuple(found)


def _pairs(values: Values) -> Iterator[tuple[int, int, float, float]]:
    """(i, j, times, plus): columns with x_j = times x_i + plus in every row, times above 0 (what is left of a whole when one of
    two shares is known is no copy), and the same rows present."""
    there = np.isfinite(values)
    usable = np.flatnonzero(there.sum(0) >= FEWEST)
    if not len(usable):
        return
    x = np.where(there[:, usable], values[:, usable], np.nan).astype(np.float32)
    with np.errstate(all="ignore"):
        mean, deviation = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    alive = deviation > 1e-6 * (1 + np.abs(mean))
    usable, x, mean, deviation = usable[alive], x[:, alive], mean[alive], deviation[alive]
    z = np.nan_to_num((x - mean) / deviation)
    z /= np.maximum(np.linalg.norm(z, axis=0), 1e-9)
    one, other = np.nonzero(np.triu(z.T @ z > ONE, 1))
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        i, j = int(usable[a]), int(usable[b])
        if (there[:, i] != there[:, j]).any():
            continue
        first, second = values[there[:, i], i].astype(np.float64), values[there[:, i], j].astype(np.float64)
        if len(np.unique(first)) < DISTINCT:
            continue
        times, plus = np.polyfit(first, second, 1)
        if times > 0 and np.abs(second - times * first - plus).max() <= SAME * float(second.std()):
            yield i, j, float(times), float(plus)


def _apart(profile: Profile, i: int, j: int, times: float, plus: float) -> float:
    """Least share of the training rows in which x_j was not times x_i + plus, from the two columns' counts by bin."""
    mine, theirs = _cumulative(profile, j), _cumulative(profile, i)
    if mine is None or theirs is None:
        return 0.0
    cuts, below = mine
    other, other_below = theirs
    at = (cuts - plus) / times
    # the share of x_i below `at` lies between those at the cuts beside it
    # a cut that rounding moved across a value that many share would count all of these
    near = ROUNDED * (np.abs(at) + np.abs(other).max())
    low = np.concatenate([[0.0], other_below])[np.searchsorted(other, at - near, "right")]
    high = np.concatenate([other_below, [1.0]])[np.searchsorted(other, at + near, "right")]
    return float(np.maximum(np.maximum(below - high, low - below), 0.0).max(initial=0.0))


def _cumulative(profile: Profile, j: int) -> tuple[Array, Array] | None:
    """(cuts, share of the training rows below each) of a column."""
    counts, edges = profile.counts[j], profile.edges[j].astype(np.float64)
    known = np.isfinite(edges)
    if not counts.sum() or not known.any():
        return None
    return edges[known], (counts.cumsum()[:-1] / counts.sum())[known]


def _moved(column: NDArray[np.float32], profile: Profile, j: int) -> float:
    """Largest distance of the column's cumulative distribution from that of training, at its cuts."""
    known = _cumulative(profile, j)
    if known is None:
        return 0.0
    x = np.sort(column[np.isfinite(column)])
    return float(np.abs(np.searchsorted(x, known[0].astype(np.float32), "left") / len(x) - known[1]).max())
