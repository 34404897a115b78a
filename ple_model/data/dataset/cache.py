"""The training cache: a split's columns decoded once into memory-mapped `.npy` files, read in any order.

Parquet is small and checked but slow to decode; a memory map gives rows at the speed of a copy, and the operating system
keeps or drops its pages, so memory stays bounded. A column is written beside and renamed when it is complete; the folder's
name holds the dataset's fingerprint, so an altered dataset has another cache. It may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.build.steps import new_map
from ple_model.errors import UserError
from ple_model.staging import staged_file

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
    with ExitStack() as written:
        places = {n: written.enter_context(staged_file(_file(folder, n), durable=False)) for n in names}
        for column in _fill(places, rows, groups).values():
            column.flush()  # type: ignore[attr-defined]


def _fill(places: Mapping[str, Path], rows: int, groups: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Each column as a memory map at its place."""
    out: dict[str, NDArray[Any]] = {}
    first = 0
    for group in groups:
        stop = first
        for name, place in places.items():
            values = group[name]
            if values.dtype == object:
                if any(len(v) > TEXT_WIDTH for v in values):
                    raise UserError(f"column '{name}' holds a text of more than {TEXT_WIDTH} characters: no cache can hold it")
                values = values.astype(f"U{TEXT_WIDTH}")
            if name not in out:
                out[name] = new_map(place, (rows, *values.shape[1:]), values.dtype)
            stop = first + len(values)
            out[name][first:stop] = values
        first = stop
    return out
