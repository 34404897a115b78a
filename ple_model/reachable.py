"""What no model can beat: the synthetic bank's own probabilities, where its events folder tells them.

`reachable.parquet` of a dataset holds those that join its rows: customer_id, cutoff, task, class (NULL: a binary task's yes),
p; for an amount p is its mean, in the label's own scale. It is never read by a model; where it is absent nothing is guessed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from ple_model.baseline_folder import REACHABLE
from ple_model.errors import UserError
from ple_model.safe_arrays import open_parquet
from ple_model.safe_paths import is_file
from ple_model.tasks import TaskSpec

Array = NDArray[np.float64]
COLUMNS = ("customer_id", "cutoff", "task", "class", "p")


class ReachableRows:
    """The planted probabilities of the rows whose keys are given."""

    def __init__(self, folder: Path, customers: ArrayLike, cutoffs: ArrayLike) -> None:
        """`folder`: of the dataset; `customers`, `cutoffs` [n]: of its rows that are judged."""
        self._keys = [f"{c}|{t}" for c, t in zip(np.asarray(customers), np.asarray(cutoffs), strict=True)]
        self._table: pa.Table | None = None
        path = folder / REACHABLE
        if is_file(path):
            with open_parquet(path) as f:
                missing = [c for c in COLUMNS if c not in f.schema_arrow.names]
                if missing:
                    raise UserError(f"{path}: column '{missing[0]}' is missing")
                self._table = f.read(list(COLUMNS))

    def of(self, spec: TaskSpec) -> Array | None:
        """[n] (of several classes [n, classes]), NaN where it is not known; None where it is known of no row."""
        if self._table is None or spec.kind == "contrastive" or (spec.kind == "regression" and spec.out_dim > 1):
            return None
        mine = self._table.filter(pa.array(np.asarray(self._table.column("task").to_pylist(), dtype=object) == spec.name))
        if not len(mine):
            return None
        place = {key: i for i, key in enumerate(self._keys)}
        row = np.array(
            [
                place.get(f"{c}|{t}", -1)
                for c, t in zip(mine["customer_id"].to_pylist(), mine["cutoff"].to_pylist(), strict=True)
            ]
        )
        p = np.asarray(mine["p"].to_numpy(), dtype=np.float64)
        there = row >= 0
        if spec.kind != "multiclass":
            out = np.full(len(self._keys), np.nan)
            out[row[there]] = p[there]
        else:
            label = np.array([-1 if v is None else v for v in mine["class"].to_pylist()])
            there &= (label >= 0) & (label < spec.out_dim)
            out = np.full((len(self._keys), spec.out_dim), np.nan)
            out[row[there], label[there]] = p[there]
            out[~np.isfinite(out).all(axis=1)] = np.nan
        return out if np.isfinite(out).any() else None
