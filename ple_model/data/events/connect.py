"""An events folder as a DuckDB connection: one typed view a table, and what the source lacks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from ple_model.data.events.manifest import EventsManifest
from ple_model.data.events.spec import EXTRA_TABLES, TABLES, TableSpec
from ple_model.data.events.sql import read_expression, scan, source_columns
from ple_model.errors import UserError, did_you_mean
from ple_model.safe_paths import check_tree, is_file
from ple_model.sql_text import literal, quote


@dataclass(frozen=True)
class EventStore:
    """An open events folder. `con` has one view a table of `TABLES` and `EXTRA_TABLES`, columns in the order of the spec."""

    path: Path
    con: duckdb.DuckDBPyConnection
    manifest: EventsManifest | None
    present: frozenset[str]
    """Tables the source has (an empty file counts as present)."""
    present_columns: Mapping[str, frozenset[str]]
    """By table, the columns the source has; others are NULL in the view."""
    static_columns: tuple[str, ...]
    """Free static columns of `customers`, in file order."""
    last: date | None = None
    """Of one bucket: the last day of the whole source's events."""

    def close(self) -> None:
        """Close the connection."""
        self.con.close()

    def __enter__(self) -> EventStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


BUCKET = "bucket="
"""How the name of a bucket's file begins."""


def bucket_file(number: int) -> str:
    """The name of a bucket's file in the folder of a table (`data.events.buckets`)."""
    return f"{BUCKET}{number:03d}.parquet"


@dataclass(frozen=True)
class Bucket:
    """One bucket of an events folder, and what of the whole source its rows depend on."""

    number: int
    last: date | None
    """The last day of any event."""


def table_files(path: Path, table: str, bucket: int | None = None) -> list[Path]:
    """The Parquet files of one table: `<table>.parquet`, or the sorted parts in a folder of that name or in `<table>/`; of
    parts in buckets that of `bucket` alone (None: all). Empty: the source lacks it."""
    single = path / f"{table}.parquet"
    if single.is_file():
        return [single]
    folder = next((f for f in (single, path / table) if f.is_dir()), None)
    parts = sorted(f for f in folder.glob("*.parquet") if f.is_file()) if folder is not None else []
    if bucket is None or folder is None or not any(f.name.startswith(BUCKET) for f in parts):
        return parts
    if (mine := folder / bucket_file(bucket)) not in parts:
        raise UserError(f"'{folder}' has no {mine.name}: write the buckets again with `ple shard`")
    return [mine]


MEMORY = "PLE_DUCKDB_MEMORY"
"""Environment: what DuckDB may hold in each process (`2GB`) before it works on disk; else 80 % of the machine's memory."""


def open_connection(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that fetches nothing at run time and reads time zones as UTC. `UserError` where `MEMORY` is no
    size."""
    con = duckdb.connect(":memory:")
    con.execute("SET autoinstall_known_extensions=false; SET autoload_known_extensions=false")
    con.execute("SET TimeZone='UTC'; SET enable_progress_bar=false")  # a bar would mix with what a command prints
    if limit := os.environ.get(MEMORY):
        try:
            con.execute(f"SET memory_limit = {literal(limit)}")
        except duckdb.Error as e:
            raise UserError(f"{MEMORY}: '{limit}' is not valid, it must be a size such as 2GB or 500MB") from e
    if threads is not None:
        con.execute(f"SET threads={int(threads)}")
    return con


def connect(path: Path, *, threads: int | None = None, bucket: Bucket | None = None) -> EventStore:
    """Open an events folder, or one bucket of it: every table becomes a typed view; `UserError` names a table that cannot be
    read.

    Values that cannot be converted to the column's type become NULL (`validate` reports them).
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"'{path}' is not a folder of event tables")
    check_tree(path)
    manifest = EventsManifest.load(path) if is_file(path / "events.json") else None
    con = open_connection(threads)
    present: set[str] = set()
    columns: dict[str, frozenset[str]] = {}
    static: tuple[str, ...] = ()
    try:
        for spec in (*TABLES.values(), *EXTRA_TABLES.values()):
            files = table_files(path, spec.name, bucket.number if bucket else None)
            if not files:
                if spec.required:
                    raise UserError(f"'{path}' has no {spec.name}.parquet, which every source must have")
                con.execute(f"CREATE VIEW {spec.name} AS {_empty_select(spec)}")
                columns[spec.name] = frozenset()
                continue
            try:
                types = source_columns(con, files)
                con.execute(f"CREATE VIEW {spec.name} AS {_typed_select(spec, types, files)}")
            except duckdb.Error as e:
                raise UserError(f"{files[0]} cannot be read as Parquet: {_first_line(e)}") from e
            missing = [c.name for c in spec.columns if c.required and c.name not in types]
            if missing:
                hint = did_you_mean(missing[0], types)
                raise UserError(f"{files[0]} has no column '{missing[0]}'{hint}")
            present.add(spec.name)
            columns[spec.name] = frozenset(c.name for c in spec.columns if c.name in types)
            if spec.name == "customers":
                static = _free(spec, types)
    except BaseException:
        con.close()
        raise
    return EventStore(path, con, manifest, frozenset(present), columns, static, bucket.last if bucket else None)


def rows_of_bucket(store: EventStore, table: str, bucket: int) -> str:
    """SQL of the rows that one bucket has of a table, typed as the store's own view of it."""
    files = table_files(store.path, table, bucket)
    return f"({_typed_select({**TABLES, **EXTRA_TABLES}[table], source_columns(store.con, files), files)})"


def _empty_select(spec: TableSpec) -> str:
    return "SELECT " + ", ".join(f"NULL::{c.sql_type} AS {quote(c.name)}" for c in spec.columns) + " WHERE false"


def _typed_select(spec: TableSpec, types: Mapping[str, str], files: list[Path]) -> str:
    wanted = [
        f"{read_expression(c, types[c.name])} AS {quote(c.name)}"
        if c.name in types
        else f"NULL::{c.sql_type} AS {quote(c.name)}"
        for c in spec.columns
    ]
    if spec.free_columns:
        wanted += [quote(c) for c in _free(spec, types)]
    return f"SELECT {', '.join(wanted)} FROM {scan(files)}"


def _free(spec: TableSpec, types: Mapping[str, str]) -> tuple[str, ...]:
    """Columns beside those of the spec. One that differs from a spec's name in capitals alone is not kept: SQL could not tell
    them apart."""
    known = {c.name for c in spec.columns}
    return tuple(c for c in types if c.lower() not in known)


def _first_line(e: BaseException) -> str:
    return str(e).splitlines()[0] if str(e) else type(e).__name__
