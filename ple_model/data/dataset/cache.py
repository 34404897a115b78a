"""The training cache: a split's columns decoded once into memory-mapped `.npy` files, read in any order.

Parquet is small and checked but slow to decode; a memory map gives rows at the speed of a copy, and the operating system
keeps or drops its pages, so memory stays bounded. A column is written beside and renamed when it is complete; the folder's
name holds the dataset's fingerprint, so an altered dataset has another cache. It may be deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.build.steps import new_map
from ple_model.errors import UserError

TEXT_WIDTH = 64
"""Characters kept of a text column (customer ids, dates, splits)."""


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(':', '@')}.npy"


def has_column(folder: Path, name: str) -> bool:
    return _file(folder, name).is_file()


def open_column(folder: Path, name: str) -> NDArray[Any]:
    """A column as a read-only memory map [rows, ...]."""
    found: NDArray[Any] = np.load(_file(folder, name), mmap_mode="r", allow_pickle=False)
    return found


def fill_cache(folder: Path, names: tuple[str, ...], rows: int, groups: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Write these columns from decoded row groups, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    out: dict[str, NDArray[Any]] = {}
    try:
        _fill(folder, names, rows, groups, out)
        for name, column in out.items():
            column.flush()  # type: ignore[attr-defined]
            os.replace(_temporary(folder, name), _file(folder, name))
    finally:
        for name in names:
            _temporary(folder, name).unlink(missing_ok=True)


def _temporary(folder: Path, name: str) -> Path:
    return _file(folder, name).with_suffix(f".{os.getpid()}.tmp")


def _fill(
    folder: Path, names: tuple[str, ...], rows: int, groups: Iterable[Mapping[str, NDArray[Any]]], out: dict[str, NDArray[Any]]
) -> None:
    first = 0
    for group in groups:
        stop = first
        for name in names:
            values = group[name]
            if values.dtype == object:
                if any(len(v) > TEXT_WIDTH for v in values):
                    raise UserError(f"column '{name}' holds a text of more than {TEXT_WIDTH} characters: no cache can hold it")
                values = values.astype(f"U{TEXT_WIDTH}")
            if name not in out:
                path = _temporary(folder, name)
                out[name] = new_map(path, (rows, *values.shape[1:]), values.dtype)
            stop = first + len(values)
            out[name][first:stop] = values
        first = stop
