"""Columns of `features` that stand in other places than in training: moved on by some, a block exchanged, sorted otherwise.

A column is told by its distribution: its deciles against those of every column of training. One column by itself says little,
for many are scaled alike; a run of columns that all fit their neighbours much better than themselves says it clearly. What is
found is put back, and counts only where the inputs then go together again (`analysis.consistency`). The limits below are
judgement: they decide what is tried, not what is said; planted and healthy rows stand on both sides of them in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from analysis.stats.base import Array
from ple_model.input_columns import Values
from ple_model.profile import BINS, Profile

LEVELS = np.linspace(0, 1, BINS + 1)[1:-1]
RUN = 8
"""Columns that must have moved alike."""
RUNS = 6
"""Runs of columns that are looked for at most."""
EACH = 0.1
"""What a column must fit its new place better by, in deviations, to lengthen a run."""
CLEAR = 3.0
"""How many times nearer a run must be to its places than to where it stands."""
MOST = 2.0
"""Deviations beyond which a column counts as this far from another."""


@dataclass(frozen=True)
class Displacement:
    """Columns `first` to `last` hold what belongs `by` places on; `by` 0: they are in no order that steps explain."""

    first: int
    last: int
    by: int


def candidates(values: Values, profile: Profile) -> Iterator[tuple[tuple[Displacement, ...], NDArray[np.int64]]]:
    """Of feature columns [n, c] in the run's scale: what may have happened, the simplest first, and for every column the place
    where what belongs to it stands now (-1: nowhere)."""
    apart = _apart(values, profile)
    runs = tuple(_runs(apart))
    c = len(apart)
    if runs:
        yield runs, _places(runs, c)
    there = np.isfinite(apart.diagonal())
    index = np.flatnonzero(there)
    far = index[apart.diagonal()[index] > EACH]
    if len(far) >= RUN:
        cost = np.nan_to_num(apart[np.ix_(far, far)], nan=MOST)
        now, then = linear_sum_assignment(cost)
        places = np.arange(c)
        places[far[then]] = far[now]
        yield (Displacement(int(far.min()), int(far.max()), 0),), places


def restored(values: Values, places: NDArray[np.int64], middle: NDArray[np.floating]) -> Values:
    """The columns put back; of what is nowhere the middle of training."""
    out = values[:, np.maximum(places, 0)].copy()
    gone = places < 0
    out[:, gone] = middle[gone]
    return out


def _places(runs: tuple[Displacement, ...], c: int) -> NDArray[np.int64]:
    places = np.arange(c)
    for run in runs:  # what runs left behind and nothing came into is nowhere
        places[run.first : run.last + 1] = -1
    for run in runs:
        now = np.arange(run.first, run.last + 1)
        places[now + run.by] = now
    return places


def _apart(values: Values, profile: Profile) -> Array:
    """[c, c] mean distance of the deciles of a column at hand (rows) from those of one of training, in deviations of the
    latter; NaN where either has none."""
    then = _deciles(profile)
    with np.errstate(all="ignore"):
        known = np.isfinite(values).sum(0) >= 50
        now = np.full((len(LEVELS), values.shape[1]), np.nan)
        now[:, known] = np.nanquantile(values[:, known], LEVELS, axis=0)
        wide = np.maximum((then[-1] - then[0]) / 2, 0.05)
        distance = np.stack([np.abs(now[:, j, None] - then).mean(0) for j in range(now.shape[1])]) / wide
    return np.asarray(np.minimum(distance, MOST))


def _deciles(profile: Profile) -> Array:
    """[levels, c] of training, in the run's scale."""
    total = np.maximum(profile.counts.sum(1), 1)
    below = profile.counts.cumsum(1)[:, :-1]
    out = np.full((len(LEVELS), len(total)), np.nan)
    for i, level in enumerate(LEVELS):
        reached = below >= (level - 0.02) * total[:, None]
        value = profile.edges[np.arange(len(total)), reached.argmax(1)].astype(np.float64)
        out[i] = np.where(reached.any(1) & np.isfinite(value), value, np.nan)
    return out


def _runs(apart: Array) -> Iterator[Displacement]:
    """The longest runs of columns that fit so many places on far better than where they stand."""
    c = len(apart)
    free = np.ones(c, dtype=bool)
    for _ in range(RUNS):
        best: tuple[float, Displacement] | None = None
        for by in (k for k in range(-c // 2, c // 2 + 1) if k):
            now = np.arange(max(0, -by), min(c, c - by))
            gain = np.nan_to_num(apart[now, now] - apart[now, now + by], nan=0.0) - EACH
            gain[~free[now]] = -MOST
            total, first, last = _heaviest(gain)
            if last - first + 1 < RUN or (best is not None and total <= best[0]):
                continue
            one = now[first : last + 1]
            stays, moves = np.nanmean(apart[one, one]), np.nanmean(apart[one, one + by])
            if stays >= CLEAR * moves:
                best = total, Displacement(int(one[0]), int(one[-1]), by)
        if best is None:
            return
        free[best[1].first : best[1].last + 1] = False
        yield best[1]


def _heaviest(gain: Array) -> tuple[float, int, int]:
    """(sum, first, last) of the stretch with the largest sum."""
    sums = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(sums)
    last = int((sums - lowest)[1:].argmax())
    first = int(sums[: last + 1].argmin())
    return float(sums[last + 1] - sums[first]), first, last
