"""Columns of a dataset's Parquet parts: arrow types, encoding and decoding, without a Python loop over rows.

Vectors and sequences are `fixed_size_list<float>` of the flattened shape in `fields.FIELD_SHAPES`; masks are lists of bool, ids
int32. Labels are `y_<task>` (int32 with -1, or float32 with NaN, in original units), presence `p_<field>` and
`p_features:<part>` (bool), `p_task:<task>` (bool: the task is defined for the row), human-readable columns `raw:<name>`, and
two that no model reads: `months:<mode>` (lists of int32), the states of a hidden Markov model month by month, and `empty` (a
list of bool), which columns of `features` have nothing to say of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ple_model.errors import UserError, did_you_mean
from ple_model.fields import FIELD_SHAPES, N_FEATURES
from ple_model.presence import presence_key, task_of
from ple_model.tasks import HMM_MODES, TASKS

KEYS = ("customer_id", "cutoff", "split")
SPLITS = ("train", "validation", "test")
RAW = "raw:"
EMPTY = "empty"
MONTHS_OF = "months:"
MONTHS_KEPT = 12
"""States of a row, the newest month last; -1 where the mode has nothing to observe."""


def infinite(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """[n] rows of a readable column that hold an infinite number."""
    if not pa.types.is_floating(column.type):
        return np.zeros(len(column), dtype=bool)
    return np.asarray(pc.fill_null(pc.is_inf(column), False))


def known_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, empty where it is no number: SQL would take NaN and Inf into every mean."""
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))


def is_class_task(task: str) -> bool:
    """Is the label an integer (binary, class or brand index; -1 = missing)? Otherwise it is a float with NaN = missing."""
    return TASKS[task].kind in ("binary", "multiclass", "contrastive")


def is_wide_task(task: str) -> bool:
    """Is the label a list of numbers? Otherwise it is one value."""
    return TASKS[task].kind == "regression" and TASKS[task].out_dim > 1


def column_shape(name: str, width: int = N_FEATURES) -> tuple[int, ...]:
    """Shape of one row of a field or label column; `width`: columns of `features`."""
    if name in ("features", EMPTY):
        return (width,)
    if name in FIELD_SHAPES:
        return FIELD_SHAPES[name]
    if name.startswith(MONTHS_OF):
        return (MONTHS_KEPT,)
    if name.startswith("y_") and is_wide_task(name[2:]):
        return (TASKS[name[2:]].out_dim,)
    return ()


def _list_type(name: str, width: int) -> pa.DataType:
    return pa.list_(pa.bool_() if name.endswith("_mask") else pa.float32(), int(np.prod(column_shape(name, width))))


def column_type(name: str, width: int = N_FEATURES) -> pa.DataType | None:
    """Arrow type that a column must have; None for `raw:` columns (any scalar type). `UserError` on an unknown name."""
    if name in KEYS:
        return pa.string()
    if name in FIELD_SHAPES:
        return _list_type(name, width) if FIELD_SHAPES[name] else pa.int32()
    if name.startswith("y_") and name[2:] in TASKS:
        if column_shape(name):
            return _list_type(name, width)
        return pa.int32() if is_class_task(name[2:]) else pa.float32()
    if (key := presence_key(name)) is not None and (key.split(":", 1)[0] in FIELD_SHAPES or task_of(key) in TASKS):
        return pa.bool_()
    if name.startswith(RAW):
        return None
    if name == EMPTY:
        return pa.list_(pa.bool_(), width)
    if name.startswith(MONTHS_OF) and name.removeprefix(MONTHS_OF) in HMM_MODES:
        return pa.list_(pa.int32(), MONTHS_KEPT)
    raise UserError(f"no dataset column '{name}'{did_you_mean(name, [*KEYS, *FIELD_SHAPES, *(f'y_{t}' for t in TASKS)])}")


def encode(columns: Mapping[str, NDArray[np.generic]], width: int = N_FEATURES) -> pa.Table:
    """A table of these columns ([n] scalars or [n, ...] of a field's shape). `UserError` names a column of a wrong shape."""
    rows = len(next(iter(columns.values())))
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if len(values) != rows:
            raise UserError(f"dataset column '{name}' has {len(values)} rows, the others {rows}")
        kind = column_type(name, width)
        if kind is None or not pa.types.is_fixed_size_list(kind):
            arrays[name] = pa.array(values, type=kind)
            continue
        shape = column_shape(name, width)
        if tuple(values.shape[1:]) != shape:
            raise UserError(f"dataset column '{name}' has shape {tuple(values.shape[1:])} a row, expected {shape}")
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), type=kind.value_type)
        arrays[name] = pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return pa.table(arrays)


def decode(table: pa.Table, source: Path, width: int = N_FEATURES) -> dict[str, NDArray[np.generic]]:
    """The arrays of a table's columns: fields in their shapes, scalars as they are (strings as object arrays).

    `UserError` names the file and the column where a field, label or presence column has another type or holds nulls.
    """
    return {name: decode_column(table.column(name), name, source, width) for name in table.column_names}


def decode_column(column: pa.ChunkedArray, name: str, source: Path, width: int = N_FEATURES) -> NDArray[np.generic]:
    """One column of `decode`."""
    kind = column_type(name, width)
    if kind is not None and column.type != kind:
        raise UserError(f"{source}: column '{name}' is {column.type}, expected {kind}")
    if kind is None:
        return np.asarray(column.to_numpy())
    if column.null_count:
        raise UserError(f"{source}: column '{name}' has {column.null_count} null rows, none are allowed")
    if not pa.types.is_fixed_size_list(kind):
        return np.asarray(column.to_numpy())
    pieces = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return flat.reshape(len(column), *column_shape(name, width))
