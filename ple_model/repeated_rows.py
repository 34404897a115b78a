"""Rows of one cut-off that say the same as another row: copies that came with a join or an export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ple_model.input_columns import Values

BLOCKS = 8
"""Of so many blocks of columns all but one must be the same for two rows to say the same."""


def repeated_rows(values: Values, dates: Sequence[str]) -> NDArray[np.bool_]:
    """[n] rows whose inputs are, in nearly all columns, those of another row of the same cut-off."""
    n = len(values)
    if n < 2:
        return np.zeros(n, dtype=bool)
    date = np.unique(np.asarray(dates, dtype=str), return_inverse=True)[1].astype(np.uint64)
    rounded = np.nan_to_num(np.round(values, 4), nan=-77.25, posinf=77.25, neginf=77.5).astype(np.float32)
    parts = [np.ascontiguousarray(b) for b in np.array_split(rounded, BLOCKS, axis=1)]
    keys = np.stack([_row_hash(b, date) for b in parts], axis=1)
    found = np.zeros(n, dtype=bool)
    for left_out in range(BLOCKS):  # rows that agree in all blocks but one agree in all others
        rest = np.delete(keys, left_out, axis=1)
        mixed = np.zeros(n, dtype=np.uint64)
        with np.errstate(over="ignore"):
            for k in range(rest.shape[1]):
                mixed = (mixed ^ rest[:, k]) * np.uint64(0x9E3779B97F4A7C15)
        _, index, count = np.unique(mixed, return_inverse=True, return_counts=True)
        found |= count[index] > 1
    return found


def _row_hash(block: Values, date: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """[n] of each row's bytes, by a fixed pseudo-random odd multiplier a column."""
    words = block.view(np.uint32).astype(np.uint64)
    with np.errstate(over="ignore"):
        places = (np.arange(1, words.shape[1] + 1, dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9)) | np.uint64(1)
        total = (words * places).sum(1, dtype=np.uint64) ^ (date * np.uint64(0x94D049BB133111EB))
        return np.asarray(total ^ (total >> np.uint64(29)), dtype=np.uint64)


def repeated_share(values: Values, dates: Sequence[str]) -> float:
    return float(repeated_rows(values, dates).mean()) if len(values) else 0.0
