"""`ple import tables DIR OUT [--map FILE]`: a user's own Parquet or CSV files as event tables.

Without a map, `<table>.parquet` or `<table>.csv` with the columns of `events.TABLES` are taken as they are. A map says where
other names go:

    name: our bank
    cutoffs: [2024-07-01, 2024-08-01]
    horizon_days: 84
    tables:
      transactions:
        file: payments.csv                 # default: transactions.parquet or transactions.csv
        columns: {customer_id: client, ts: paid_at, amount: value, mcc_l1: category}
        constants: {kind: card}            # the same value in every row
        values: {mcc_l1: {Food: groceries, Gas: fuel and transport}}

Keys of `columns` are ours, values are the source's. `customers` and `labels` keep the source's other columns as static columns
or task columns. Text that is no number or date where one is needed is an error that names every such column at once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import yaml

from ple_model.data.events import (
    EXTRA_TABLES,
    TABLES,
    Defaults,
    EventsManifest,
    TableEntry,
    TableSpec,
    open_connection,
    quote,
)
from ple_model.errors import UserError, did_you_mean

IMPORTABLE: dict[str, TableSpec] = {**TABLES, "labels": EXTRA_TABLES["labels"], "exact_spend": EXTRA_TABLES["exact_spend"]}
SUFFIXES = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class TableMap:
    """How one table is read; all parts are optional."""

    file: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceMap:
    """The whole map file."""

    name: str = "plain tables"
    cutoffs: tuple[str, ...] = ()
    horizon_days: int = 84
    tables: Mapping[str, TableMap] = field(default_factory=dict)


def load_map(path: Path) -> SourceMap:
    """Read a YAML map; `UserError` names the unknown key, table or column and the nearest valid one."""
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise UserError(f"the map '{path}' does not exist") from e
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise UserError(f"the map '{path}' cannot be read as YAML: {' '.join(str(e).split())[:200]}") from e
    top = _mapping(path, "the map", plain, ("name", "cutoffs", "horizon_days", "tables"))
    cutoffs = top.get("cutoffs") or []
    if not isinstance(cutoffs, list):
        raise UserError(f"{path}: cutoffs is {cutoffs!r}; give a list of dates")
    horizon = top.get("horizon_days", 84)
    if not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1:
        raise UserError(f"{path}: horizon_days is {horizon!r}; give a whole number of days, at least 1")
    tables = {}
    for name, entry in _mapping(path, "tables", top.get("tables") or {}, IMPORTABLE).items():
        tables[name] = _table_map(path, name, entry or {})
    return SourceMap(str(top.get("name", "plain tables")), tuple(_iso(path, c) for c in cutoffs), horizon, tables)


def _mapping(path: Path, where: str, value: Any, allowed: Mapping[str, Any] | tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{path}: {where} is {value!r}; it must be a mapping")
    for key in value:
        if allowed is not None and key not in allowed:
            raise UserError(f"{path}: unknown key '{key}' in {where}{did_you_mean(str(key), allowed)}")
    return {str(k): v for k, v in value.items()}


def _table_map(path: Path, name: str, entry: Any) -> TableMap:
    spec = IMPORTABLE[name]
    known = [c.name for c in spec.columns]
    parts = _mapping(path, f"tables.{name}", entry, ("file", "columns", "constants", "values"))
    given: dict[str, dict[str, Any]] = {}
    for part in ("columns", "constants", "values"):
        allowed = None if spec.free_columns else tuple(known)
        given[part] = _mapping(path, f"tables.{name}.{part}", parts.get(part) or {}, allowed)
    values = {
        column: {str(k): str(v) for k, v in _mapping(path, f"tables.{name}.values.{column}", pairs, None).items()}
        for column, pairs in given["values"].items()
    }
    file = parts.get("file")
    return TableMap(
        file=None if file is None else str(file),
        columns={k: str(v) for k, v in given["columns"].items()},
        constants={k: str(v) for k, v in given["constants"].items()},
        values=values,
    )


def _iso(path: Path, value: Any) -> str:
    try:
        return (value if isinstance(value, date) else date.fromisoformat(str(value))).isoformat()[:10]
    except ValueError as e:
        raise UserError(f"{path}: cut-off {value!r} is no date; write it as 2024-07-01") from e


def import_tables(
    source: Path, out: Path, mapping: SourceMap | None = None, progress: Callable[[int, int], None] | None = None
) -> EventsManifest:
    """Write the event tables found in `source` to `out` (new or empty); the manifest. Run `validate` on the result."""
    source, out, mapping = Path(source), Path(out), mapping or SourceMap()
    if not source.is_dir():
        raise UserError(f"'{source}' is not a folder of tables")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' exists and is not an empty folder; give a new place")
    files = {name: file for name in IMPORTABLE if (file := _file(source, name, mapping.tables.get(name))) is not None}
    for spec in TABLES.values():
        if spec.required and spec.name not in files:
            found = sorted(p.name for p in source.iterdir())
            hint = did_you_mean(f"{spec.name}.parquet", found)
            raise UserError(f"'{source}' has no {spec.name}.parquet or {spec.name}.csv{hint}")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    con = open_connection()
    try:
        problems: list[str] = []
        selects = {
            name: _select(con, name, file, mapping.tables.get(name, TableMap()), problems) for name, file in files.items()
        }
        if problems:
            raise UserError(f"'{source}' cannot be imported: {'; '.join(problems)}")
        rows: dict[str, int] = {}
        absent: dict[str, tuple[str, ...]] = {}
        for k, (name, (sql, missing)) in enumerate(selects.items()):
            path = str(partial / f"{name}.parquet").replace("'", "''")
            try:
                con.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
                rows[name] = int(con.execute(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()[0][0])
            except duckdb.Error as e:
                raise UserError(f"{files[name]} cannot be read: {str(e).splitlines()[0]}") from e
            if missing:
                absent[name] = missing
            if progress is not None:
                progress(k + 1, len(selects))
        manifest = EventsManifest(
            source="tables",
            name=mapping.name,
            tables={t: TableEntry(n) for t, n in rows.items()},
            defaults=Defaults(cutoffs=mapping.cutoffs, horizon_days=mapping.horizon_days),
            absent_columns=absent,
            absent_tables=tuple(t for t in TABLES if t not in rows),
        )
        manifest.save(partial)
        if out.exists():
            out.rmdir()
        os.replace(partial, out)
        return manifest
    finally:
        con.close()
        shutil.rmtree(partial, ignore_errors=True)


def _file(source: Path, name: str, table: TableMap | None) -> Path | None:
    if table is not None and table.file is not None:
        path = source / table.file
        if not path.is_file():
            found = sorted(p.name for p in source.iterdir())
            raise UserError(f"'{path}', the file of table '{name}', does not exist{did_you_mean(table.file, found)}")
        return path
    for suffix in SUFFIXES:
        if (source / f"{name}{suffix}").is_file():
            return source / f"{name}{suffix}"
    return None


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _select(
    con: duckdb.DuckDBPyConnection, name: str, file: Path, table: TableMap, problems: list[str]
) -> tuple[str, tuple[str, ...]]:
    """SQL of one table in our columns and types, and which of our columns it lacks; what is wrong goes to `problems`."""
    spec = IMPORTABLE[name]
    reader = "read_parquet" if file.suffix == ".parquet" else "read_csv"
    options = "" if reader == "read_parquet" else ", header=true, all_varchar=true"
    scan = f"{reader}({_text(str(file))}{options})"
    try:
        found = {str(r[0]): str(r[1]) for r in con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
    except duckdb.Error as e:
        problems.append(f"{file.name} cannot be read: {str(e).splitlines()[0][:160]}")
        return "", ()
    wanted: list[str] = []
    missing: list[str] = []
    used: set[str] = set()
    types = {c.name: c.sql_type for c in spec.columns}
    names = [*types, *(c for c in (*table.columns, *table.constants) if c not in types)]
    for column in names:
        original = table.columns.get(column, column)
        if column in table.constants:
            expression = _text(table.constants[column])
        elif original in found:
            used.add(original)
            expression = quote(original)
            if column in table.values:
                whens = " ".join(f"WHEN {_text(k)} THEN {_text(v)}" for k, v in table.values[column].items())
                expression = f"CASE CAST({expression} AS VARCHAR) {whens} ELSE CAST({expression} AS VARCHAR) END"
            elif found[original] == "VARCHAR":
                expression = f"nullif(trim({expression}), '')"
        elif column in table.columns:
            problems.append(f"{file.name} has no column '{original}' for {name}.{column}{did_you_mean(original, found)}")
            continue
        else:
            missing.append(column)
            if column in types and spec.column(column).required:
                problems.append(f"{file.name} has no column for {name}.{column}{did_you_mean(column, found)}")
            continue
        kind = types.get(column)
        if kind is not None:
            _check(con, scan, expression, kind, f"{file.name}: {name}.{column}", problems)
            expression = f"TRY_CAST({expression} AS {kind})"
        wanted.append(f"{expression} AS {quote(column)}")
    if spec.free_columns:
        wanted += [quote(c) for c in found if c not in used and c not in names]
    return f"SELECT {', '.join(wanted)} FROM {scan}", tuple(missing)


def _check(con: duckdb.DuckDBPyConnection, scan: str, expression: str, kind: str, where: str, problems: list[str]) -> None:
    """Values that cannot become `kind` are counted with an example: they would silently be lost."""
    if kind == "VARCHAR":
        return
    bad = f"{expression} IS NOT NULL AND TRY_CAST({expression} AS {kind}) IS NULL"
    try:
        count, example = con.execute(f"SELECT count(*), min(CAST({expression} AS VARCHAR)) FROM {scan} WHERE {bad}").fetchall()[
            0
        ]
    except duckdb.Error as e:
        problems.append(f"{where} cannot be read as {kind}: {str(e).splitlines()[0][:120]}")
        return
    if count:
        problems.append(f"{where} has {count:,} values that are no {kind}, for example {str(example)[:40]!r}")
