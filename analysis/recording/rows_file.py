"""`rows.parquet`, written as the pass goes along, with the dataset's human-readable columns beside what is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ple_model.data.dataset.columns import infinite, known_numbers
from ple_model.data.dataset.reader import Dataset
from ple_model.safe_arrays import open_parquet

ROW_GROUP = 16_384
"""Rows of a Parquet row group: small ones make every query slow."""


class RowsFile:
    """The rows that are written so far; whole row groups go to the disk."""

    def __init__(self, path: Path, data: Dataset) -> None:
        self.path = path
        self._readable = _Readable(data)
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    @property
    def infinite(self) -> Mapping[str, float]:
        """Rows by human-readable column that hold an infinite number."""
        return self._readable.infinite

    def add(self, columns: Mapping[str, Any], rows: NDArray[np.int64], customers: Sequence[str]) -> None:
        """Append the rows numbered `rows` (ascending) in the dataset."""
        self._waiting.append(pa.table({**columns, **self._readable.columns(rows, customers)}))
        if sum(len(t) for t in self._waiting) >= ROW_GROUP:
            self._write()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = _parquet(self.path, self._waiting[0].schema)
        self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting.clear()

    @classmethod
    @contextmanager
    def written(cls, path: Path, data: Dataset) -> Iterator[RowsFile]:
        """A file that is whole at the end of the block, and closed however the block ends."""
        file = cls(path, data)
        try:
            yield file
            if file._waiting:
                file._write()
        finally:
            if file._writer is not None:
                file._writer.close()


def _parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Numbers are written plain: a dictionary of measured numbers is as long as the column and is held for each of hundreds."""
    words = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_dictionary(f.type)]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=words)


def join_parquet(path: Path, parts: Iterable[Path]) -> None:
    """Write the rows of several such files, one after the other, in row groups as they are."""
    writer: pq.ParquetWriter | None = None
    try:
        for part in parts:
            with open_parquet(part) as file:
                writer = writer or _parquet(path, file.schema_arrow)
                for k in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(k))
    finally:
        if writer is not None:
            writer.close()


class _Readable:
    """The dataset's human-readable columns, one file of it at a time; this and the batches both go in file order."""

    def __init__(self, data: Dataset) -> None:
        self.data, self.files = data, iter(data.manifest.files)
        self.names = [c if c.startswith("raw:") else f"raw:{c}" for c in data.manifest.raw_columns]
        self.first, self.held = 0, pa.table({})
        self.infinite: dict[str, float] = {}

    def columns(self, rows: NDArray[np.int64], customers: Sequence[str]) -> dict[str, Any]:
        if not self.names:
            return {}
        parts = []
        while True:
            mine = rows[(rows >= self.first) & (rows < self.first + len(self.held))]
            if len(mine):
                parts.append(self.held.take(pa.array(mine - self.first)))
            if rows[-1] < self.first + len(self.held):
                break
            self._hold(self.first + len(self.held), int(rows[0]))
        part = pa.concat_tables(parts)
        if part.column("customer_id").to_pylist() != list(customers):
            raise RuntimeError("the dataset's table and its batches are not in the same order")
        for name in self.names:
            bad = int(infinite(part.column(name)).sum())
            if bad:
                self.infinite[name] = self.infinite.get(name, 0.0) + bad
        return {name: known_numbers(part.column(name)) for name in self.names}

    def _hold(self, first: int, wanted: int) -> None:
        """The next file, which begins with the row `first`, or that of the row `wanted` where it is a later one."""
        part = next(self.files)
        while first + part.rows <= wanted:
            first, part = first + part.rows, next(self.files)
        self.first, self.held = first, self.data.part_table(part, ["customer_id", *self.names])
