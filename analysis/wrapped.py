"""Columns that were stored in too few bits: whole numbers, none beyond what 8 or 16 bits hold, where training had many beyond.

A number that does not fit either wraps round (then the numbers are spread over the whole range, as they were not) or stays at
the largest one. Small numbers of a smaller population do neither: they are spread as the small ones of training were, and that
is a choice of rows (`selected`, which is asked first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array
from analysis.stats.consistency import Wrapped, range_of
from analysis.units import Inverse
from ple_model.input_columns import Values
from ple_model.presence import part_key
from ple_model.profile import Profile

FEWEST = 100
RANGES = ((8, False), (8, True), (16, False), (16, True))
WHOLE = 0.02
"""How far from a whole number a value may be that went through 32 bits and a scale."""
HALF = 0.5
"""Share of the range that its largest number must reach: what was stored in so many bits makes use of them."""
CHANCE = -np.log(1e-4)
"""Of an event of this many expected cases none happens once in ten thousand times."""


def wraps(
    values: Values, names: Sequence[str], parts: Mapping[str, slice], profile: Profile, inverse: Inverse, people: int
) -> tuple[Wrapped, ...]:
    """Of feature columns [n, c] in the run's scale, NaN where a row lacks the part. `people`: customers of these rows."""
    own, cuts = inverse(values), inverse(profile.edges.T.astype(np.float64)).T
    found = []
    for part, where in parts.items():
        for j in range(where.start, where.stop):
            x = own[:, j][np.isfinite(values[:, j])]
            if len(x) < FEWEST or np.abs(x - np.round(x)).max() > WHOLE:
                continue
            one = _of_column(np.round(x), cuts[j], profile.counts[j], min(people, len(x)))
            if one is not None:
                found.append(Wrapped(part_key(part), names[j], *one))
    return tuple(found)


def _of_column(x: Array, cuts: NDArray[np.float64], counts: Array, people: int) -> tuple[int, bool, float, int, float] | None:
    """(bits, signed, share of training beyond, rows, share at the largest number) of the smallest range that fits."""
    for bits, signed in RANGES:
        low, high = range_of(bits, signed)
        if x.min() < low or x.max() > high or x.max() - x.min() < HALF * (high - low):
            continue
        beyond = _beyond(cuts, counts, high)
        if beyond * people < CHANCE:
            return None  # training had none beyond either
        return bits, signed, beyond, len(x), float((x == high).mean())
    return None


def _beyond(cuts: NDArray[np.float64], counts: Array, high: float) -> float:
    """Share of the training rows that is surely above `high`: those above the first cut that is."""
    known = np.isfinite(cuts)
    above = np.flatnonzero(known & (cuts > high))
    total = counts.sum()
    return float(counts[above[0] + 1 :].sum() / total) if len(above) and total else 0.0
