"""`validate`: every fault of every event table at once, with how many rows, an example, and what a build does about it.

An `error` stops a build; a `warning` says how the rows are handled. A table that is not Parquet or is cut short is one fault
and does not hide those of the others. Nothing is changed on disk.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb

from ple_model.data.events import (
    EXTRA_TABLES,
    TABLES,
    ColumnSpec,
    EventsManifest,
    TableSpec,
    open_connection,
    quote,
    scan,
    source_columns,
    table_files,
)
from ple_model.errors import UserError, did_you_mean

Severity = Literal["error", "warning"]
HUGE = 1e12
"""Amounts beyond this are taken for damage, not for money."""
EARLIEST = "1970-01-01"
LATEST = "2100-01-01"
"""For dates, which may be a maturity; moments of events may lie at most a year ahead of today."""
TEXT_TYPES = ("VARCHAR",)
NUMBER_TYPES = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
)
MOMENT_TYPES = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


@dataclass(frozen=True)
class Fault:
    """One kind of fault in one place."""

    table: str
    column: str | None
    kind: str
    severity: Severity
    rows: int
    """How many rows have it; 0 where it concerns the table or the column as a whole."""
    example: str
    message: str
    handling: str
    """What a build does about it."""

    def __str__(self) -> str:
        place = self.table if self.column is None else f"{self.table}.{self.column}"
        count = f" ({self.rows:,} rows, for example {self.example})" if self.rows else ""
        return f"{self.severity}: {place}: {self.message}{count}. {self.handling}"


@dataclass(frozen=True)
class ValidationReport:
    """All faults found under `path`, errors first."""

    path: str
    tables: Mapping[str, int]
    """Rows of each table that could be read."""
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> tuple[Fault, ...]:
        return tuple(f for f in self.faults if f.severity == "error")

    @property
    def ok(self) -> bool:
        """No error; warnings may remain."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Plain data for `ple validate --json`."""
        return {"path": self.path, "ok": self.ok, "tables": dict(self.tables), "faults": [asdict(f) for f in self.faults]}

    def __str__(self) -> str:
        warnings = len(self.faults) - len(self.errors)
        head = f"{self.path}: {len(self.tables)} tables, {len(self.errors)} errors, {warnings} warnings"
        return "\n".join([head, *(f"  {f}" for f in self.faults)])

    def raise_errors(self) -> None:
        """`UserError` with the first error and how many more there are."""
        if self.errors:
            more = f" (and {len(self.errors) - 1} more: run `ple validate {self.path}`)" if len(self.errors) > 1 else ""
            raise UserError(f"{self.path}: {self.errors[0]}{more}")


def validate(path: Path, progress: Callable[[int, int], None] | None = None) -> ValidationReport:
    """Check all tables of an events folder; `UserError` only where `path` is no folder at all."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"'{path}' is not a folder of event tables")
    faults: list[Fault] = []
    rows: dict[str, int] = {}
    manifest = _manifest(path, faults)
    con = open_connection()
    specs = (*TABLES.values(), *EXTRA_TABLES.values())
    try:
        for k, spec in enumerate(specs):
            checker = _Table(con, path, spec, faults)
            try:
                if checker.open():
                    checker.check()
                    rows[spec.name] = checker.rows
            except duckdb.Error as e:
                checker.add(None, "unreadable", "error", 0, None, f"it cannot be read: {_first_line(e)}", "Nothing is built.")
            if progress is not None:
                progress(k + 1, len(specs))
        _unknown_customers(con, rows, faults)
        _merchants(con, rows, faults)
    finally:
        con.close()
    _against_manifest(path, manifest, rows, faults)
    faults.sort(key=lambda f: (f.severity != "error",))
    return ValidationReport(str(path), rows, tuple(faults))


class _Table:
    """The checks of one table; faults go to the shared list."""

    def __init__(self, con: duckdb.DuckDBPyConnection, path: Path, spec: TableSpec, faults: list[Fault]) -> None:
        self.con, self.path, self.spec, self.faults = con, path, spec, faults
        self.files = table_files(path, spec.name)
        self.types: dict[str, str] = {}
        self.rows = 0
        self.view = f"checked_{spec.name}"
        self.kept: list[ColumnSpec] = []
        """Columns whose values can be converted to the type of the spec."""
        self.pending: list[tuple[str, str, str, Severity, str, str]] = []
        """Value checks to count: column, SQL condition, kind, severity, message, handling."""

    def add(
        self, column: str | None, kind: str, severity: Severity, rows: int, example: object, message: str, handling: str
    ) -> None:
        shown = "" if example is None and rows == 0 else _show(example)
        self.faults.append(Fault(self.spec.name, column, kind, severity, rows, shown, message, handling))

    def open(self) -> bool:
        """Read the schema; False where there is nothing to check."""
        if not self.files:
            if self.spec.required:
                near = sorted(p.name for p in self.path.iterdir())
                hint = did_you_mean(f"{self.spec.name}.parquet", near) if near else ""
                self.add(
                    None, "missing_table", "error", 0, None, f"{self.spec.name}.parquet is missing{hint}", "Nothing is built."
                )
            return False
        readable = []
        for file in self.files:
            try:
                source_columns(self.con, [file])
                # Reading every value finds pages that are cut short although the footer is there.
                self.con.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {scan([file])}").fetchall()
                readable.append(file)
            except duckdb.Error as e:
                reason = str(e).splitlines()[0][:160]
                self.add(
                    None,
                    "unreadable",
                    "error",
                    0,
                    None,
                    f"{file.name} cannot be read as Parquet: {reason}",
                    "Nothing is built.",
                )
        if len(readable) < len(self.files):
            return False
        try:
            self.types = source_columns(self.con, self.files)
        except duckdb.Error as e:
            self.add(
                None,
                "unreadable",
                "error",
                0,
                None,
                f"its parts do not fit together: {str(e).splitlines()[0][:160]}",
                "Nothing is built.",
            )
            return False
        self.rows = self._count("true", scan(self.files))
        return True

    def check(self) -> None:
        """All checks, in the order a reader repairs them: columns, types, keys, values, rows."""
        if self.rows == 0:
            severity: Severity = "error" if self.spec.required else "warning"
            self.add(None, "empty", severity, 0, None, "it has no rows", "The table counts as absent.")
        self._columns()
        known = [f"TRY_CAST({quote(c.name)} AS {c.sql_type}) AS {quote(c.name)}" for c in self.kept] or ["1 AS nothing"]
        self.con.execute(f"CREATE OR REPLACE VIEW {self.view} AS SELECT {', '.join(known)} FROM {scan(self.files)}")
        for column in self.kept:
            self._values(column)
        self._duplicates()
        self._orders()
        if self.spec.name == "transactions":
            self._refunds()
        self._count_pending()

    def _columns(self) -> None:
        for column in self.spec.columns:
            if column.name not in self.types:
                others = [c for c in self.types if c not in {s.name for s in self.spec.columns}]
                if column.required:
                    self.add(
                        column.name,
                        "missing_column",
                        "error",
                        0,
                        None,
                        f"the column is missing{did_you_mean(column.name, others)}",
                        "Nothing is built.",
                    )
                elif near := difflib.get_close_matches(column.name, others, n=1, cutoff=0.8):
                    hint = f"; did you mean '{near[0]}'?"
                    self.add(
                        column.name,
                        "missing_column",
                        "warning",
                        0,
                        None,
                        f"the column is missing{hint}",
                        "It counts as unknown.",
                    )
            elif self._convertible(column, self.types[column.name]):
                self.kept.append(column)
        if not self.spec.free_columns:
            wanted = {c.name for c in self.spec.columns}
            for extra in (c for c in self.types if c not in wanted):
                self.add(extra, "unknown_column", "warning", 0, None, "no such column in this table", "It is left out.")

    def _convertible(self, column: ColumnSpec, found: str) -> bool:
        expected = column.sql_type
        plain = found.split("(")[0]
        numeric = expected in ("DOUBLE", "INTEGER")
        moment = expected in ("DATE", "TIMESTAMP")
        if expected == "VARCHAR" and (plain in (*TEXT_TYPES, *NUMBER_TYPES) or found.startswith("ENUM")):
            return True
        if numeric and (plain in NUMBER_TYPES or plain == "DECIMAL"):
            return True
        if moment and plain in MOMENT_TYPES:
            if "ZONE" in plain or plain == "TIMESTAMPTZ":
                self._zones(column)
            return True
        if plain in TEXT_TYPES and (numeric or moment):
            name = quote(column.name)
            bad = f"{name} IS NOT NULL AND TRY_CAST({name} AS {expected}) IS NULL"
            count = self._count(bad, scan(self.files))
            if count:
                message = f"text that is no {expected}"
                self.add(
                    column.name, "wrong_type", "error", count, self._example(column.name, bad), message, "Nothing is built."
                )
                return False
            self.add(
                column.name, "text", "warning", 0, None, f"stored as text, expected {expected}", "It is converted on reading."
            )
            return True
        if found == '"NULL"':
            return True
        first = self._example(column.name, f"{quote(column.name)} IS NOT NULL")
        self.add(
            column.name, "wrong_type", "error", self.rows, first, f"type {found}, expected {expected}", "Nothing is built."
        )
        return False

    def _zones(self, column: ColumnSpec) -> None:
        message = "moments carry a time zone"
        plain = [
            c.name
            for c in self.spec.columns
            if c.sql_type == "TIMESTAMP" and "ZONE" not in self.types.get(c.name, "ZONE") and c.name in self.types
        ]
        if plain:
            message += f" while '{plain[0]}' of the same table has none"
        self.add(
            column.name,
            "time_zone",
            "warning",
            self.rows,
            self._example(column.name, "true"),
            message,
            "They are converted to UTC.",
        )

    def _values(self, column: ColumnSpec) -> None:
        name = quote(column.name)
        if column.key:
            blank = f" OR trim({name}) = ''" if column.sql_type == "VARCHAR" else ""
            self._each(
                column.name,
                f"{name} IS NULL{blank}",
                "null_key",
                "error",
                "NULL or empty where every row needs a value",
                "Nothing is built.",
            )
        if column.sql_type == "DOUBLE":
            # NOT isfinite(), not isnan(): pushed down, isnan() is answered from the file's min and max, which leave NaN out.
            bad = f"NOT isfinite({name})"
            self._each(column.name, bad, "not_finite", "error", "not a finite number", "Nothing is built.")
            self._each(
                column.name,
                f"isfinite({name}) AND abs({name}) > {HUGE}",
                "huge",
                "error",
                f"larger than {HUGE:.0e}",
                "Nothing is built.",
            )
        if column.minimum is not None:
            below = f"{name} < {column.minimum}"
            self._each(
                column.name,
                below,
                "negative",
                "error",
                f"below {column.minimum:g}, which is impossible here",
                "Nothing is built.",
            )
        if column.name == "birth_year":
            self._each(
                column.name,
                f"{name} > {date.today().year}",
                "absurd_date",
                "error",
                "a year of birth that lies in the future",
                "Nothing is built.",
            )
        if column.sql_type in ("DATE", "TIMESTAMP"):
            early = "1850-01-01" if column.name in ("joined_on", "opened_on") else EARLIEST
            latest = LATEST if column.sql_type == "DATE" else (date.today() + timedelta(days=366)).isoformat()
            late = f"{name} >= {column.sql_type} '{latest}'"
            self._each(
                column.name,
                f"{name} < {column.sql_type} '{early}'",
                "absurd_date",
                "error",
                f"before {early}",
                "Nothing is built.",
            )
            self._each(column.name, late, "absurd_date", "error", f"after {latest}", "Nothing is built.")
        if column.allowed:
            names = ", ".join("'" + a.replace("'", "''") + "'" for a in column.allowed)
            severity: Severity = "error" if column.strict else "warning"
            unseen = f"{name} NOT IN ({names})"
            handling = "Nothing is built." if column.strict else "The value counts as unknown."
            message = f"a value outside the {len(column.allowed)} known ones"
            self._each(column.name, unseen, "unseen_category", severity, message, handling)

    def _duplicates(self) -> None:
        kept = {c.name for c in self.kept}
        if not self.spec.unique or not kept.issuperset(self.spec.unique):
            return
        keys = ", ".join(quote(k) for k in self.spec.unique)
        inner = f"SELECT {keys}, count(*) AS n FROM {self.view} GROUP BY ALL HAVING count(*) > 1"
        extra = self.con.execute(f"SELECT coalesce(sum(n - 1), 0) FROM ({inner})").fetchall()[0][0]
        if extra:
            row = self.con.execute(f"SELECT {keys} FROM ({inner}) ORDER BY n DESC, {keys} LIMIT 1").fetchall()[0]
            example = ", ".join(f"{k}={v}" for k, v in zip(self.spec.unique, row, strict=True))
            severity: Severity = "warning" if self.spec.name == "campaigns" else "error"
            handling = "Each counts as an exposure." if severity == "warning" else "Nothing is built."
            self.add(
                self.spec.unique[0],
                "duplicate",
                severity,
                int(extra),
                example,
                f"rows that repeat ({', '.join(self.spec.unique)})",
                handling,
            )

    def _orders(self) -> None:
        kept = {c.name for c in self.kept}
        for earlier, later in self.spec.order:
            if earlier in kept and later in kept:
                wrong = f"{quote(later)} < {quote(earlier)}"
                self._each(later, wrong, "wrong_order", "error", f"earlier than {earlier}", "Nothing is built.")
        if self.spec.name == "campaigns" and {"clicked_at", "converted_at"} <= kept:
            wrong = "converted_at IS NOT NULL AND clicked_at IS NULL"
            self._each(
                "converted_at", wrong, "wrong_order", "warning", "converted without a click", "It counts as a conversion."
            )

    def _refunds(self) -> None:
        if {"amount", "kind"} <= {c.name for c in self.kept}:
            self._each(
                "amount", "kind = 'card' AND amount < 0", "refund", "warning", "negative card amounts", "They count as refunds."
            )

    def _each(self, column: str, where: str, kind: str, severity: Severity, message: str, handling: str) -> None:
        self.pending.append((column, where, kind, severity, message, handling))

    def _count_pending(self) -> None:
        """All value checks of the table in one pass over it."""
        if not self.pending:
            return
        parts = []
        for column, where, *_ in self.pending:
            parts.append(f"count(*) FILTER ({where}), min({quote(column)}::VARCHAR) FILTER ({where})")
        found = self.con.execute(f"SELECT {', '.join(parts)} FROM {self.view}").fetchall()[0]
        for k, (column, _, kind, severity, message, handling) in enumerate(self.pending):
            count, example = found[2 * k], found[2 * k + 1]
            if count:
                if kind == "unseen_category":
                    message += did_you_mean(str(example), self.spec.column(column).allowed)
                self.add(column, kind, severity, int(count), example, message, handling)

    def _count(self, where: str, source: str | None = None) -> int:
        return int(self.con.execute(f"SELECT count(*) FROM {source or self.view} WHERE {where}").fetchall()[0][0])

    def _example(self, column: str, where: str, source: str | None = None) -> object:
        found = self.con.execute(
            f"SELECT {quote(column)}::VARCHAR FROM {source or scan(self.files)} WHERE {where} LIMIT 1"
        ).fetchall()
        return found[0][0] if found else None


def _first_line(e: BaseException) -> str:
    return str(e).splitlines()[0][:160] if str(e) else type(e).__name__


def _show(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...") if value is not None else text


def _manifest(path: Path, faults: list[Fault]) -> EventsManifest | None:
    if not (path / "events.json").exists():
        message, handling = "events.json is missing", "The tables are read; cut-offs must be given by hand."
        faults.append(Fault("events.json", None, "missing_manifest", "warning", 0, "", message, handling))
        return None
    try:
        return EventsManifest.load(path)
    except UserError as e:
        faults.append(Fault("events.json", None, "damaged_manifest", "error", 0, "", str(e), "Nothing is built."))
        return None


def _columns_of(con: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    return {str(r[0]) for r in con.execute(f"DESCRIBE checked_{table}").fetchall()}


def _missing_keys(
    con: duckdb.DuckDBPyConnection, rows: Mapping[str, int], key: str, owner: str, tables: Iterator[str]
) -> Iterator[tuple[str, int, str]]:
    if owner not in rows or key not in _columns_of(con, owner):
        return
    for table in tables:
        if table == owner or table not in rows or key not in _columns_of(con, table):
            continue
        anti = f"FROM checked_{table} t ANTI JOIN checked_{owner} o USING ({key}) WHERE t.{key} IS NOT NULL"
        count, example = con.execute(f"SELECT count(*), min(t.{key}) {anti}").fetchall()[0]
        if count:
            yield table, int(count), _show(example)


def _unknown_customers(con: duckdb.DuckDBPyConnection, rows: Mapping[str, int], faults: list[Fault]) -> None:
    for table, count, example in _missing_keys(con, rows, "customer_id", "customers", iter(rows)):
        message, handling = "customers that the customers table does not have", "Their rows are left out."
        faults.append(Fault(table, "customer_id", "unknown_customer", "warning", count, example, message, handling))


def _merchants(con: duckdb.DuckDBPyConnection, rows: Mapping[str, int], faults: list[Fault]) -> None:
    for table, count, example in _missing_keys(con, rows, "merchant_id", "merchants", iter(("transactions",))):
        message, handling = "merchants that the merchants table does not have", "What the transaction itself says is used."
        faults.append(Fault(table, "merchant_id", "unknown_merchant", "warning", count, example, message, handling))


def _against_manifest(path: Path, manifest: EventsManifest | None, rows: Mapping[str, int], faults: list[Fault]) -> None:
    """events.json says how many rows a table had when it was written: fewer means it was cut or changed since."""
    if manifest is None:
        return
    for table, entry in manifest.tables.items():
        if table not in rows:
            if not table_files(path, table):
                message = f"events.json lists {entry.rows:,} rows and the file is not there"
                faults.append(Fault(table, None, "missing_table", "error", 0, "", message, "Nothing is built."))
        elif rows[table] != entry.rows:
            message = f"events.json lists {entry.rows:,} rows, the file has {rows[table]:,}"
            faults.append(Fault(table, None, "row_count", "error", 0, "", message, "Nothing is built."))
