"""Columns of a query as arrays that keep what is missing: a masked integer is a missing label, not the 0 under the mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def filled(column: Any) -> NDArray[Any]:
    """A column of DuckDB's `fetchnumpy`: NULL is NaN among numbers and None elsewhere. Numbers with a NULL become float64,
    since integers and booleans have no value for it; a column without NULL keeps its type."""
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column)
    missing = np.ma.getmaskarray(column)
    if column.dtype.kind == "f":
        return np.ma.filled(column, np.nan)
    if not missing.any():
        return np.asarray(column.data)
    if column.dtype.kind in "iub":
        return np.ma.filled(column.astype(np.float64), np.nan)
    values = column.data.astype(object)
    values[missing] = None
    return values
