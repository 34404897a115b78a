"""Rows that were chosen by a column: beyond some value there is none, on this side they are spread as in training.

A filter upstream (only customers who were active last week, only balances above a limit) cuts off an end of one column and
thins out nothing else of it. Drift moves what is left as well; a limit heaps up at its edge what lay beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.stats.base import Array
from analysis.stats.consistency import Selected
from analysis.stats.drift import psi, psi_chance, psi_noise
from analysis.units import Inverse
from ple_model.input_columns import Values
from ple_model.presence import part_key
from ple_model.profile import Profile, bin_counts

FEWEST = 100
BINS = 3
"""Bins on this side that must have rows, or nothing could be said of how they are spread."""
STABLE = 0.1
"""Population stability index below which what is left counts as unmoved (Siddiqi 2006)."""
CHANCE = -np.log(1e-4)
"""Of an event of this many expected cases none happens once in ten thousand times."""
HEAP = 1.5
"""Times its share of the training rows (and three standard errors) that the last bin may have: it may be cut through, which
makes it smaller, but a limit makes it larger. A judgement, as is the next."""
THEN = 0.5
"""Share of what is gone that rows held out at training must have had, or it was gone then."""


def selections(
    values: Values, names: Sequence[str], parts: Mapping[str, slice], profile: Profile, inverse: Inverse, people: int
) -> tuple[Selected, ...]:
    """Of feature columns [n, c] in the run's scale, NaN where a row lacks the part; the column whose rest is most like
    training first. `people`: customers of these rows."""
    there = np.isfinite(values)
    now = bin_counts(np.nan_to_num(values), there, profile.edges)
    weight = min(1.0, people / max(len(values), 1))
    largest = np.where(there, values, -np.inf).max(0, initial=-np.inf)
    smallest = np.where(there, values, np.inf).min(0, initial=np.inf)
    last = inverse(np.where(np.isfinite([smallest, largest]), [smallest, largest], 0.0))
    found = []
    for part, where in parts.items():
        for j in range(where.start, where.stop):
            p, q = profile.counts[j], now[j]
            if q.sum() < FEWEST or not p.sum():
                continue
            held = None if profile.held is None else profile.held.counts[j]
            for above in (True, False):
                one = _end(p, q, held, above, weight)
                if one is not None:
                    found.append(Selected(part_key(part), names[j], float(last[int(above), j]), above, *one, int(q.sum())))
    return tuple(sorted(found, key=lambda s: (s.psi, -s.gone)))


def _end(p: Array, q: Array, held: Array | None, above: bool, weight: float) -> tuple[float, float, float] | None:
    """(share of training that is gone, of held-out rows, stability of the rest), where the upper end (else the lower one) of a
    column is cut off: counts by bin of training `p`, at hand `q` and of held-out rows."""
    if not above:
        p, q, held = p[::-1], q[::-1], None if held is None else held[::-1]
    last = int(np.flatnonzero(q)[-1])
    gone = float(p[last + 1 :].sum() / p.sum())
    if gone * q.sum() * weight < CHANCE:
        return None
    before = float("nan") if held is None or not held.sum() else float(held[last + 1 :].sum() / held.sum())
    if before < THEN * gone:
        return None  # it had moved when the run was trained
    rest, mine = p[:last], q[:last]  # the last bin may be cut through
    if (mine > 0).sum() < BINS - 1 or mine.sum() < FEWEST / 2:
        return None
    if q[last] / mine.sum() > HEAP * p[last] / max(rest.sum(), 1e-9) + 3 / np.sqrt(mine.sum()):
        return None  # what lay beyond is heaped up there
    stability = float(psi(rest, mine))
    if stability > max(STABLE + float(psi_noise(rest, mine * weight)), float(psi_chance(rest, mine * weight))):
        return None
    return gone, before, stability
