"""Feature columns in another unit than in training: are all deciles of a column those of before times one number?

Asked in the columns' own units, which the run's normaliser gives back, and of the columns alone whose middle left the deciles
of training: a factor of five moves the middle of any column of one sign that far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.mixed_units import amounts_of, mixture
from analysis.stats.base import Array
from analysis.stats.consistency import OtherUnit
from analysis.stats.factor import LEVELS, Factor, factor
from ple_model.presence import part_key
from ple_model.profile import Profile

FEWEST = 50
"""Values of a column below which it is not looked at."""
FEW, FAR = 1, 0.002
"""Values above all of training, in number and share of the rows, that a column may have before it is looked at closely."""
Inverse = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""Columns in the run's scale -> in their own units."""


def other_units(
    values: NDArray[np.float32], names: Sequence[str], parts: Mapping[str, slice], profile: Profile, inverse: Inverse
) -> tuple[OtherUnit, ...]:
    """Of feature columns [n, c] in the run's scale, NaN where a row lacks the part."""
    then = _deciles(profile)
    now = np.full_like(then, np.nan)
    count = np.isfinite(values).sum(0)
    looked = np.flatnonzero(count >= FEWEST)
    for columns, rows in _alike(values, looked):
        now[:, columns] = np.quantile(values[np.ix_(rows, columns)], LEVELS, axis=0)
    middle = len(LEVELS) // 2
    with np.errstate(invalid="ignore"):
        moved = (now[middle] > then[-1]) | (now[middle] < then[0]) | (now[0] > then[middle]) | (now[-1] < then[middle])
    # beyond what training had: some values above its largest, or a fifth of the rows far below its own
    with np.errstate(invalid="ignore"):
        sunk = now[0] < then[0] - 0.25 * (then[middle] - then[0])
        outside = np.zeros(len(count)) if profile.extremes is None else (values > profile.extremes[:, 1]).sum(0)
    mixed = _mixed(values, names, parts, profile, inverse, looked[(sunk | (outside > FEW + FAR * count))[looked]])
    if not moved.any():
        return mixed
    now, then = inverse(now), inverse(then)
    found: list[OtherUnit] = []
    for part, where in parts.items():
        for j in range(where.start, where.stop):
            one = factor(now[:, j], then[:, j], int(count[j])) if moved[j] else None
            if one is not None:
                found.append(OtherUnit(part_key(part), names[j], one))
    return (*found, *mixed)  # of one column both may be asked: at most one of them fits closely


def _mixed(
    values: NDArray[np.float32],
    names: Sequence[str],
    parts: Mapping[str, slice],
    profile: Profile,
    inverse: Inverse,
    looked: NDArray[np.int64],
) -> tuple[OtherUnit, ...]:
    """Of the columns `looked` at those of which a part of the rows are in another unit."""
    if not len(looked):
        return ()
    own, then = inverse(values), amounts_of(profile, inverse)
    found = []
    for part, where in parts.items():
        for j in (int(k) for k in looked if where.start <= k < where.stop):
            before = then[j]
            one = None if before is None else mixture(own[:, j][np.isfinite(values[:, j])], before)
            if one is not None:
                times = Factor(10.0**one.power, one.mixed, len(LEVELS), one.n)
                found.append(OtherUnit(part_key(part), names[j], times, one.share, one.alone))
    return tuple(found)


def _alike(values: NDArray[np.float32], columns: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Columns that the same rows have, with these rows: those of a part are there together."""
    there = ~np.isnan(values[:, columns])
    _, first, group = np.unique(np.packbits(there, axis=0), axis=1, return_index=True, return_inverse=True)
    for k, i in enumerate(first):
        yield columns[group.reshape(-1) == k], there[:, i]


def _deciles(profile: Profile) -> Array:
    """[levels, c] training values at `LEVELS`, in the run's scale: cuts were made at deciles, NaN where there are none."""
    total = profile.counts.sum(1)
    below = profile.counts.cumsum(1)[:, :-1]  # rows below each cut
    out = np.full((len(LEVELS), len(total)), np.nan)
    for i, level in enumerate(LEVELS):
        reached = below >= (level - 0.02) * total[:, None]
        first = reached.argmax(1)
        value = profile.edges[np.arange(len(total)), first].astype(np.float64)
        usable = reached.any(1) & np.isfinite(value) & (total > 0)
        out[i, usable] = value[usable]
    return out
