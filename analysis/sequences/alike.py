"""Who moved like this customer: dynamic time warping on the amounts of each day (`ple_model.sequences.neighbours`)."""

from __future__ import annotations

import numpy as np

from analysis.results.sequences import LearnedMap, MovedAlike
from ple_model.errors import UserError
from ple_model.sequences.neighbours import nearest_by_embedding, standardised, warping_path

NEIGHBOURS = 10


def moved_alike(learned: LearnedMap, row: int, k: int = NEIGHBOURS) -> MovedAlike:
    """The `k` of the map's customers nearest to the one at this place of the dataset. `UserError` where the map lacks it."""
    at = np.flatnonzero(learned.row == row)
    if not len(at):
        raise UserError(f"row {row} is not among the {len(learned.row):,} customers of the map")
    own = int(at[0])
    pool = standardised(learned.pool)
    found = nearest_by_embedding(pool, learned.embedding, own, k)
    paths = tuple(tuple(warping_path(pool[own], pool[i])) for i in found.index)
    return MovedAlike(
        learned.row[found.index], found.distance, pool[[own, *found.index.tolist()]], paths, len(pool) - 1, found.computed
    )
