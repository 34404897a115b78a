"""Folds of customers, so that a figure fitted on training customers is never read by a customer who went into it.

A figure of the whole training split holds a training customer's own value and not that of a validation customer: on such a
column alone the two can be told apart, and a model learns from it what it will not find in new customers. Therefore such a
figure is fitted once for each fold on the training customers of all the others, and every row, of whatever split and of new
customers alike, reads the figure of its own fold (cross-fitting: Chernozhukov et al. 2018, "Double/debiased machine learning").
The fold is a hash of the customer id, independent of the one that decides the split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import duckdb
import numpy as np
from numpy.typing import NDArray

FOLDS = 5
_SALT = "fold:"


def fold_sql(column: str = "customer_id", folds: int = FOLDS) -> str:
    """SQL: the fold of a customer, 0 to `folds` - 1."""
    return f"(('0x' || substr(md5('{_SALT}' || {column}), 1, 8))::BIGINT % {folds})::INT"


def fold_of(customer_id: str, folds: int = FOLDS) -> int:
    """The same of one id."""
    return int(hashlib.md5(f"{_SALT}{customer_id}".encode(), usedforsecurity=False).hexdigest()[:8], 16) % folds


def folds_of(customer_ids: Sequence[str], folds: int = FOLDS) -> NDArray[np.int8]:
    """[n] the same of many."""
    return np.fromiter((fold_of(c, folds) for c in customer_ids), np.int8, len(customer_ids))


def read_folds(con: duckdb.DuckDBPyConnection, first: int = 0, stop: int | None = None, folds: int = FOLDS) -> NDArray[np.int8]:
    """[n] folds of spine rows `first` <= row_id < `stop` (None: to the end)."""
    bound = f" AND row_id < {stop}" if stop is not None else ""
    found = con.execute(
        f"SELECT {fold_sql(folds=folds)} AS fold FROM spine WHERE row_id >= {first}{bound} ORDER BY row_id"
    ).fetchnumpy()
    return np.asarray(found["fold"], dtype=np.int8)
