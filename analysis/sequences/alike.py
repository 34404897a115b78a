"""Who moved like this customer: dynamic time warping on the amounts of each day (`ple_model.sequences.neighbours`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.results.sequences import LearnedMap, MovedAlike
from ple_model.errors import UserError
from ple_model.sequences.neighbours import nearest_by_embedding, standardised, warping_path

NEIGHBOURS = 10
ROWS_EACH = 4
"""Rows that are looked at for a neighbour: a customer has one at each cut-off, and counts once."""


def moved_alike(learned: LearnedMap, row: int, customers: Mapping[int, str], k: int = NEIGHBOURS) -> MovedAlike:
    """The `k` customers of the map nearest to the one at this place of the dataset, each by the nearest of their rows;
    `customers` by row. `UserError` where the map lacks the row."""
    at = np.flatnonzero(learned.row == row)
    if not len(at):
        raise UserError(f"row {row} is not among the {len(learned.row):,} rows of the map")
    own = int(at[0])
    pool = standardised(learned.pool)
    found = nearest_by_embedding(pool, learned.embedding, own, ROWS_EACH * k)
    known, kept = {customers.get(row, "")}, []
    for place, i in enumerate(found.index):
        who = customers.get(int(learned.row[i]), "")
        if who not in known:
            known.add(who)
            kept.append(place)
    index = found.index[kept[:k]]
    paths = tuple(tuple(warping_path(pool[own], pool[i])) for i in index)
    series = pool[[own, *index.tolist()]]
    return MovedAlike(learned.row[index], found.distance[kept[:k]], series, paths, len(pool) - 1, found.computed)
