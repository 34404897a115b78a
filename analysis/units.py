"""Feature columns in another unit than in training: are all deciles of a column those of before times one number?

Asked in the columns' own units, which the run's normaliser gives back, and of the columns alone whose middle left the deciles
of training: a factor of five moves the middle of any column of one sign that far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array
from analysis.stats.consistency import OtherUnit
from analysis.stats.factor import LEVELS, factor
from ple_model.presence import part_key
from ple_model.profile import Profile

FEWEST = 50
"""Values of a column below which it is not looked at."""
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
    now[:, looked] = np.nanquantile(values[:, looked], LEVELS, axis=0)
    middle = len(LEVELS) // 2
    with np.errstate(invalid="ignore"):
        moved = (now[middle] > then[-1]) | (now[middle] < then[0]) | (now[0] > then[middle]) | (now[-1] < then[middle])
    if not moved.any():
        return ()
    now, then = inverse(now), inverse(then)
    found = []
    for part, where in parts.items():
        for j in range(where.start, where.stop):
            one = factor(now[:, j], then[:, j], int(count[j])) if moved[j] else None
            if one is not None:
                found.append(OtherUnit(part_key(part), names[j], one))
    return tuple(found)


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
