"""Customers' ids from a file: text with one a line, CSV or Parquet with a column `customer_id` (or only one column)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from ple_model.errors import UserError
from ple_model.safe_paths import read_bytes

COLUMN = "customer_id"
LARGEST = 256 * 2**20
"""Bytes of a list; some ten million ids."""
TABLES = {".csv": ",", ".tsv": "\t"}


def read_ids(path: Path) -> tuple[str, ...]:
    """The ids in the order of the file, each once. `UserError` for a file that cannot be read or holds none."""
    try:
        return ids_of(str(path), read_bytes(path, LARGEST))
    except FileNotFoundError as e:
        raise UserError(f"{path} is missing") from e


def ids_of(name: str, data: bytes) -> tuple[str, ...]:
    """Of a file's content; the ending of its name says what it is."""
    ending = Path(name).suffix.lower()
    if ending in (".parquet", ".pq"):
        found = _parquet(name, data)
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as e:
            raise UserError(f"{name} is no UTF-8 text; save the list as UTF-8, CSV or Parquet") from e
        found = text.splitlines() if ending not in TABLES else _table(name, text, TABLES[ending])
    ids = tuple(dict.fromkeys(x for x in (str(i).strip() for i in found) if x and "\0" not in x))
    if not ids:
        raise UserError(f"{name} holds no customer ids")
    return ids


def _table(name: str, text: str, separator: str) -> Iterable[str]:
    try:
        rows = [r for r in csv.reader(io.StringIO(text), delimiter=separator) if r]
    except csv.Error as e:
        raise UserError(f"{name} is no readable table: {e}") from e
    if not rows:
        return ()
    head = [h.strip() for h in rows[0]]
    if COLUMN in head:
        at = head.index(COLUMN)
        return (r[at] for r in rows[1:] if len(r) > at)
    if max(map(len, rows)) == 1:
        return (r[0] for r in rows)
    raise UserError(f"{name} has no column '{COLUMN}', its columns are {', '.join(head[:12])}")


def _parquet(name: str, data: bytes) -> Iterable[str]:
    import pyarrow as pa  # late: pyarrow
    import pyarrow.parquet as pq  # late: pyarrow

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            names = file.schema_arrow.names
            column = COLUMN if COLUMN in names else names[0] if len(names) == 1 else None
            if column is None:
                raise UserError(f"{name} has no column '{COLUMN}', its columns are {', '.join(names[:12])}")
            values = file.read([column]).column(0).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as e:
        raise UserError(f"{name} is no readable Parquet file: {' '.join(str(e).split())}") from e
    return (str(v) for v in values if v is not None)
