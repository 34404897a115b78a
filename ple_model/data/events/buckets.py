"""Events in buckets of customers, so that any stage can be worked on a bucket at a time, by any number of machines.

`ple shard` writes every table that names customers as `<table>/bucket=000.parquet`, `bucket=001.parquet`, ...: the bucket is a
hash of the customer id, independent of split and fold, so all of a customer lies in one bucket and buckets are alike in size
and kind. A table without customers (merchants) stays one file. Such a folder is an events folder as any other: whoever asks
for no bucket reads all of them. Within a bucket rows are sorted by customer and time, so that a chunk of customers is read
without the rest.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb

from ple_model.data.events.connect import bucket_file, open_connection, table_files
from ple_model.data.events.find_holes import MOMENTS
from ple_model.data.events.manifest import MAX_BUCKETS, EventsManifest, TableEntry
from ple_model.data.events.spec import EXTRA_TABLES, TABLES, TableSpec
from ple_model.data.events.sql import read_expression, scan, source_columns
from ple_model.errors import UserError
from ple_model.safe_paths import check_tree, is_file
from ple_model.sql_paths import to_write
from ple_model.sql_text import quote
from ple_model.staging import staged_folder

CUSTOMERS = 20_000
"""Customers of a bucket unless told otherwise. A choice: enough that the start of a process and its imports are little beside
them, few enough that a bucket that is lost is soon made again."""


def bucket_sql(buckets: int, column: str = "customer_id") -> str:
    """SQL: the bucket of a customer, 0 to `buckets` - 1; rows without an id are in the first."""
    return f"(coalesce(('0x' || substr(md5('bucket:' || {column}), 1, 8))::BIGINT, 0) % {buckets})::INT"


def buckets_of(events: Path) -> int:
    """How many buckets a folder of events is in; 1: it is in none, or its events.json is damaged, which whoever opens it says
    beside all other faults."""
    try:
        return EventsManifest.load(events).buckets if is_file(events / "events.json") else 1
    except UserError:
        return 1


def write_buckets(
    events: Path, out: Path, buckets: int | None = None, progress: Callable[[int, int], None] | None = None
) -> EventsManifest:
    """The events of a folder in buckets (None: one for every `CUSTOMERS` customers) at `out`, which must not be there.

    Every column is copied as it is. `UserError` for a table that cannot be read, and for more than `MAX_BUCKETS`.
    """
    if not events.is_dir():
        raise UserError(f"'{events}' is not a folder of event tables")
    check_tree(events)
    manifest = EventsManifest.load(events) if is_file(events / "events.json") else EventsManifest("tables", events.name)
    with staged_folder(out) as fresh, open_connection() as con:
        con.execute("SET temp_directory = ?", [str(fresh / ".spill")])
        number = buckets or _enough(con, events)
        if number > MAX_BUCKETS:
            raise UserError(f"--buckets: {number:,} is not valid, it must be at most {MAX_BUCKETS:,}")
        specs = [s for s in (*TABLES.values(), *EXTRA_TABLES.values()) if table_files(events, s.name)]
        rows = {}
        for k, spec in enumerate(specs):
            rows[spec.name] = TableEntry(_write_table(con, events, fresh, spec, number))
            if progress is not None:
                progress(k + 1, len(specs))
        shutil.rmtree(fresh / ".spill", ignore_errors=True)
        found = replace(manifest, tables={**manifest.tables, **rows}, buckets=number)
        found.save(fresh)
    return found


def _enough(con: duckdb.DuckDBPyConnection, events: Path) -> int:
    files = table_files(events, "customers")
    if not files:
        raise UserError(f"'{events}' has no customers.parquet, which every source must have")
    customers = int(con.execute(f"SELECT count(*) FROM {scan(files)}").fetchall()[0][0])
    return max(1, math.ceil(customers / CUSTOMERS))


def _write_table(con: duckdb.DuckDBPyConnection, events: Path, out: Path, spec: TableSpec, buckets: int) -> int:
    """One table; how many rows it has."""
    files = table_files(events, spec.name)
    try:
        types = source_columns(con, files)
        key = next((c for c in spec.columns if c.name == "customer_id" and c.name in types), None)
        if key is None:
            _copy(con, f"SELECT * FROM {scan(files)}", out / f"{spec.name}.parquet")
        else:
            _split(con, files, types, spec, read_expression(key, types[key.name]), out / spec.name, buckets)
        return int(con.execute(f"SELECT count(*) FROM {scan(files)}").fetchall()[0][0])
    except duckdb.Error as e:
        raise UserError(f"{files[0]} cannot be read as Parquet: {str(e).splitlines()[0]}") from e


def _split(
    con: duckdb.DuckDBPyConnection, files: list[Path], types: dict[str, str], spec: TableSpec, key: str, folder: Path,
    buckets: int,
) -> None:  # fmt: skip
    """Once over the table, then each bucket sorted by itself: memory is that of one bucket."""
    folder.mkdir()
    loose = folder / ".loose"
    mark = "ple bucket"  # no source's own column
    con.execute(
        f"COPY (SELECT *, {bucket_sql(buckets, f'({key})')} AS {quote(mark)} FROM {scan(files)})"
        f" TO {to_write(loose)} (FORMAT parquet, PARTITION_BY ({quote(mark)}), COMPRESSION zstd)"
    )
    first = [c for c in ("customer_id", MOMENTS.get(spec.name)) if c in types]
    order = ", ".join(map(quote, dict.fromkeys([*first, *types])))
    columns = ", ".join(map(quote, types))
    for k in range(buckets):
        parts = sorted(loose.glob(f"*={k}/*.parquet"))
        source = f"{scan(parts)} ORDER BY {order}" if parts else f"{scan(files)} WHERE false"
        _copy(con, f"SELECT {columns} FROM {source}", folder / bucket_file(k))
    shutil.rmtree(loose, ignore_errors=True)


def _copy(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    con.execute(f"COPY ({query}) TO {to_write(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)")
