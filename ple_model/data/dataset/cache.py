"""The training cache: a split's columns decoded once into memory-mapped `.npy` files, read in any order.

Parquet is small and checked but slow to decode; a memory map gives rows at the speed of a copy, and the operating system
keeps or drops its pages, so memory stays bounded. A column is written beside and renamed when it is complete; the folder's
name holds the dataset's fingerprint, so an altered dataset has another cache. It may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.build.steps import new_map
from ple_model.errors import UserError
from ple_model.staging import staged_file

TEXT_WIDTH = 64
"""Characters kept of a text column (customer ids, dates, splits)."""

LARGE = 1 << 20
"""Bytes of a column's rows from which they are shared out among threads."""
COPIERS = 8
"""Threads at most: a few copy as fast as the memory allows."""


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(':', '@')}.npy"


def has_column(folder: Path, name: str) -> bool:
    return _file(folder, name).is_file()


def open_column(folder: Path, name: str) -> NDArray[Any]:
    """A column as a read-only memory map [rows, ...]."""
    found: NDArray[Any] = np.load(_file(folder, name), mmap_mode="r", allow_pickle=False)
    return found


class RowCopier:
    """Copies rows out of columns. It copies in the caller's thread and in `threads - 1` of its own, which wait without
    spinning; numpy holds no lock while it copies."""

    def __init__(self, threads: int, pool: ThreadPoolExecutor | None) -> None:
        self.threads, self._pool = threads, pool

    def take(self, columns: Mapping[str, NDArray[Any]], index: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The rows at `index`, valid positions, of each column, as new arrays."""
        found: dict[str, NDArray[Any]] = {}
        shared: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for name, column in columns.items():
            if self._pool is None or column.itemsize * len(index) * prod(column.shape[1:]) < LARGE:
                found[name] = column.take(index, axis=0)  # take copies whole rows where indexing walks their elements
            else:
                found[name] = np.empty((len(index), *column.shape[1:]), column.dtype)
                shared.append((column, found[name]))
        if self._pool is not None and shared:
            bounds = np.linspace(0, len(index), self.threads + 1).astype(int)
            mine, *others = [slice(a, b) for a, b in pairwise(bounds)]
            waiting = [self._pool.submit(_copy, shared, index, part) for part in others]
            _copy(shared, index, mine)
            for other in waiting:
                other.result()
        return found


def _copy(shared: list[tuple[NDArray[Any], NDArray[Any]]], index: NDArray[np.int64], part: slice) -> None:
    for column, out in shared:
        column.take(index[part], axis=0, out=out[part], mode="clip")  # "raise" would copy by way of a buffer


@contextmanager
def row_copier(threads: int) -> Iterator[RowCopier]:
    """One whose own threads end with the block."""
    threads = min(threads, COPIERS)
    if threads < 2:
        yield RowCopier(1, None)
        return
    with ThreadPoolExecutor(threads - 1, thread_name_prefix="rows of a batch") as pool:
        yield RowCopier(threads, pool)


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
