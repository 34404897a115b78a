"""The rows of a source as a map would read them, before they are imported: the first ones, their types, what is empty, and
every value that cannot be read with its file and row. Nothing is written; what the import would refuse is said the same way."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from ple_model.data.build.spine import suggest_cutoffs
from ple_model.data.events.connect import open_connection
from ple_model.data.events.find_holes import table_span
from ple_model.data.importers.column_profile import profile_columns
from ple_model.data.importers.scan_source import FILE, ROW, scan_rows
from ple_model.data.importers.select_table import Reading, Select, select_from
from ple_model.data.importers.source_files import find_files, passed_over
from ple_model.data.importers.source_map import IMPORTABLE, OPEN, SourceMap, TableMap
from ple_model.errors import UserError
from ple_model.sql_text import quote

MOST_FAULTS = 200
"""Rows that are shown of one column's faults."""


@dataclass(frozen=True)
class ColumnRead:
    """One column of ours, as it is read from the source."""

    name: str
    source: tuple[str, ...]
    kind: str
    filled: int
    empty: int
    lost: int
    """Values that are there and cannot be read: they would become empty."""


@dataclass(frozen=True)
class RowFault:
    """A value that cannot be read, or is missing where every row needs one."""

    file: str
    row: int
    column: str
    value: str
    """As the file has it; empty where it is missing."""


@dataclass(frozen=True)
class Preview:
    """See the module docstring."""

    source: str
    table: str
    rows: int
    """That count, as the map says."""
    columns: tuple[ColumnRead, ...]
    looks: dict[str, str]
    """The source's columns, and what each looks like."""
    first: tuple[dict[str, str], ...]
    """The first rows as they are read, by our columns; with `FILE` and `ROW`."""
    faults: tuple[RowFault, ...]
    problems: tuple[str, ...]
    """Why an import would be refused, in the import's own words."""
    notes: tuple[str, ...]
    open: tuple[str, ...]
    """Places of the map that still hold a question."""
    span: tuple[str, str]
    """First and last day; empty where they cannot be told."""
    cutoffs: tuple[str, ...]
    horizon_days: int

    @property
    def ok(self) -> bool:
        return not self.problems and not self.open

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.rows:,} rows as '{self.table}'"]
        lines += [
            f"  {c.name:<14} <- {' + '.join(c.source):<20} {c.kind:<10} {c.filled:,} filled, {c.empty:,} empty, {c.lost:,} lost"
            for c in self.columns
        ]
        lines += [f"  {f.file} row {f.row}: {f.column}: {f.value!r}" for f in self.faults]
        return "\n".join([*lines, *(f"  STILL OPEN: {o}" for o in self.open), *(f"  PROBLEM: {p}" for p in self.problems)])


def preview(source: Path, mapping: SourceMap, table: str = "transactions", limit: int = 10) -> Preview:
    """How `source` (a file, a folder or a pattern of one layout) would be read; `UserError` where it cannot be read at all."""
    shape, (known, asked) = mapping.tables.get(table, TableMap()), _answered(mapping, table)
    files = find_files(source)
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ple-preview-") as scratch, closing(open_connection()) as con:
        try:
            con.execute(f"CREATE TEMP TABLE numbered AS FROM {scan_rows(con, files, shape, Path(scratch))}")
            found = {str(r[0]): str(r[1]) for r in con.execute("DESCRIBE numbered").fetchall() if r[0] not in (FILE, ROW)}
            select = select_from(con, table, source.name, "numbered", found, known, problems)
            select = replace(select, readings={c: r for c, r in select.readings.items() if c not in asked})
            looks = {n: str(p) for n, p in profile_columns(con, "numbered", found).items()}
            columns, faults = _read(con, table, select)
            span = _span(con, select)
            return Preview(
                str(source), table, _one(con, f"SELECT count(*) FROM {select.scan}"), columns, looks,
                _first(con, select, limit), faults, tuple(p for p in problems if not _is_asked(p, table, asked)),
                (*select.notes, *(f"not read: {n}" for n in passed_over(source))), tuple(mapping.open_places()), *span,
            )  # fmt: skip
        except duckdb.Error as e:
            raise UserError(f"'{source}' cannot be read: {str(e).splitlines()[0][:160]}") from e


def _answered(mapping: SourceMap, table: str) -> tuple[TableMap, tuple[str, ...]]:
    """The table's map without its open questions, so that the rest can be read already; and the columns that are open."""
    one = mapping.tables.get(table, TableMap())
    open_columns = tuple(c for c, originals in one.columns.items() if OPEN in originals)
    plain = {
        "columns": {c: o for c, o in one.columns.items() if c not in open_columns},
        "formats": {c: f for c, f in one.formats.items() if f != OPEN},
        "values": {c: {k: None if v == OPEN else v for k, v in pairs.items()} for c, pairs in one.values.items()},
        "rows": {c: {k: "keep" if v == OPEN else v for k, v in pairs.items()} for c, pairs in one.rows.items()},
        "thousands": "" if one.thousands == OPEN else one.thousands,
        "decimal": "." if one.decimal == OPEN else one.decimal,
        "spending": "positive" if one.spending == OPEN else one.spending,
    }
    return replace(one, **plain), open_columns  # type: ignore[arg-type]


def _is_asked(problem: str, table: str, asked: tuple[str, ...]) -> bool:
    """Whether a problem is about a column that the map asks for anyway."""
    return any(f"{table}.{c}" in problem.split() for c in asked) or any(
        f"has no column for {table}.{c}" in problem for c in asked
    )


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(con.execute(sql).fetchall()[0][0])


def _read(con: duckdb.DuckDBPyConnection, table: str, select: Select) -> tuple[tuple[ColumnRead, ...], tuple[RowFault, ...]]:
    spec = IMPORTABLE[table]
    columns, faults = [], []
    for name, r in select.readings.items():
        lost = f"({r.value}) IS NOT NULL AND ({r.converted}) IS NULL"
        total, filled, bad = con.execute(
            f"SELECT count(*), count({r.converted}), count(*) FILTER ({lost}) FROM {select.scan}"
        ).fetchall()[0]
        columns.append(ColumnRead(name, r.originals, r.kind, int(filled), int(total - filled - bad), int(bad)))
        needed = next((c.key for c in spec.columns if c.name == name), False)
        if bad or (needed and filled < total):
            faults += _faults(con, name, r, lost if not needed else f"({r.converted}) IS NULL", select.scan)
    return tuple(columns), tuple(faults)


def _faults(con: duckdb.DuckDBPyConnection, column: str, r: Reading, where: str, scan: str) -> list[RowFault]:
    rows = con.execute(
        f"SELECT {quote(FILE)}, {quote(ROW)}, CAST({r.value} AS VARCHAR) FROM {scan} WHERE {where}"
        f" ORDER BY 1, 2 LIMIT {MOST_FAULTS}"
    ).fetchall()
    return [RowFault(str(f), int(n), column, "" if v is None else str(v)[:80]) for f, n, v in rows]


def _first(con: duckdb.DuckDBPyConnection, select: Select, limit: int) -> tuple[dict[str, str], ...]:
    names = [FILE, ROW, *select.readings]
    shown = ", ".join(f"CAST({r.converted} AS VARCHAR)" for r in select.readings.values())
    rows = con.execute(
        f"SELECT {quote(FILE)}, {quote(ROW)}{', ' + shown if shown else ''} FROM {select.scan} ORDER BY 1, 2 LIMIT {int(limit)}"
    ).fetchall()
    return tuple({n: "" if v is None else str(v)[:80] for n, v in zip(names, row, strict=True)} for row in rows)


def _span(con: duckdb.DuckDBPyConnection, select: Select) -> tuple[tuple[str, str], tuple[str, ...], int]:
    """(first and last day, the cut-offs that they allow, the days of labels after each)."""
    reading = select.readings.get("ts")
    if reading is None:
        return ("", ""), (), 84
    days = f"SELECT {reading.converted} AS ts, count(*) AS n FROM {select.scan} GROUP BY 1"
    con.execute(f"CREATE OR REPLACE TEMP TABLE preview_days AS {days}")
    span = table_span(con, "transactions", "preview_days", "ts", "n")
    if span is None:
        return ("", ""), (), 84
    cutoffs, horizon = suggest_cutoffs(span.first, span.last, span.holes)
    return (str(span.first), str(span.last)), cutoffs, horizon
