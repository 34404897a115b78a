"""The checks of one event table, in the order a reader repairs them: files, columns, types, keys, values, rows."""

from __future__ import annotations

import difflib
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

from ple_model.data.checking.fault import NOTHING_BUILT, UNKNOWN, Fault, Severity, first_line, show
from ple_model.data.dataset.cache import TEXT_WIDTH
from ple_model.data.events.connect import BUCKET, table_files
from ple_model.data.events.spec import ColumnSpec, TableSpec
from ple_model.data.events.sql import BLANK_WORDS, has_zone, is_blank, plain_text, read_expression, scan, source_columns
from ple_model.errors import did_you_mean
from ple_model.sql_text import quote, sql_list
from ple_model.wilson import wilson

HUGE = 1e12
"""Amounts beyond this are taken for damage, not for money."""
EARLIEST = "1970-01-01"
LATEST = "2100-01-01"
"""For dates, which may be a maturity; moments may lie at most a year ahead, those in `HAPPENED` a day (time zones)."""
HAPPENED = ("transactions", "sessions")
"""Their last moment decides how far the labels reach: one in the future would make silence of months that did not happen."""
INTEGER_TYPES = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
)
FRACTION_TYPES = ("FLOAT", "DOUBLE", "DECIMAL")
NUMBER_TYPES = (*INTEGER_TYPES, *FRACTION_TYPES)
TEXT_TYPES = ("VARCHAR", "ENUM")
ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
MOMENT_TYPES = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", *ZONED)
WHOLE_LIMIT = {"FLOAT": 2**24, "DOUBLE": 2**53}
"""Whole numbers beyond these are not exact in their type."""
BATCH = 65_536
"""Rows whose hashes come at once."""
SOME = 1_000
"""Of rows that repeat another, so many are looked up for an example at most."""
CONTROL = r"[\x00-\x1f\x7f]"


ValueCheck = tuple[str, str, str, Severity, str, str]
"""Column, SQL condition, kind, severity, message, handling."""


class TableCheck:
    """The checks of one table; faults go to the shared list. `view` holds what a build would read, once `check` has run."""

    def __init__(self, con: duckdb.DuckDBPyConnection, path: Path, spec: TableSpec, faults: list[Fault]) -> None:
        self.con, self.path, self.spec, self.faults = con, path, spec, faults
        self.files: list[Path] = []
        self.types: dict[str, str] = {}
        self.rows = 0
        self.view = f"checked_{spec.name}"
        self.kept: list[ColumnSpec] = []
        """Columns whose values can be converted to the type of the spec."""
        self.raw: list[ValueCheck] = []
        """Checks of what the files say."""
        self.pending: list[ValueCheck] = []
        """Checks of what a build would read."""

    def add(
        self, column: str | None, kind: str, severity: Severity, rows: int, example: object, message: str,
        handling: str = NOTHING_BUILT,
    ) -> None:  # fmt: skip
        shown = "" if example is None and rows == 0 else show(example)
        self.faults.append(Fault(self.spec.name, column, kind, severity, rows, shown, message, handling))

    def open(self) -> bool:
        """Read the schema; False where there is nothing to check."""
        name = self.spec.name
        self.files = table_files(self.path, name)
        if not self.files:
            folder = next((f for f in (self.path / f"{name}.parquet", self.path / name) if f.is_dir()), None)
            if folder is not None:
                self.add(None, "unreadable", "error", 0, None, f"'{folder.name}' is a folder without Parquet files")
            elif self.spec.required:
                near = sorted(p.name for p in self.path.iterdir())
                hint = did_you_mean(f"{name}.parquet", near) if near else ""
                self.add(None, "missing_table", "error", 0, None, f"{name}.parquet is missing{hint}")
            return False
        if len(self.files) == 1 and self.files[0].parent == self.path and (self.path / name).is_dir():
            message = f"there is the file {name}.parquet and the folder {name}: which of them holds?"
            self.add(None, "two_sources", "error", 0, None, message)
            return False
        readable = []
        for file in self.files:
            try:
                self.types = source_columns(self.con, [file])
                # Reading every value finds pages that are cut short although the footer is there.
                rows = self.con.execute(f"SELECT count(*), bit_xor(hash(COLUMNS(*))) FROM {scan([file])}").fetchall()[0][0]
                self.rows += int(rows)
                readable.append(file)
            except duckdb.Error as e:
                self.add(None, "unreadable", "error", 0, None, f"{file.name} cannot be read as Parquet: {first_line(e)}")
        if len(readable) < len(self.files):
            return False
        if len(self.files) > 1:
            try:
                self.types = source_columns(self.con, self.files)
            except duckdb.Error as e:
                self.add(None, "unreadable", "error", 0, None, f"its parts do not fit together: {first_line(e)}")
                return False
        return True

    def check(self) -> None:
        if self.rows == 0:
            if self.spec.required:
                self.add(None, "empty", "error", 0, None, "it has no rows")
            else:
                handling = "Nobody has such an event: zero, not absent; without the file it would be absent."
                self.add(None, "empty", "warning", 0, None, "it has no rows", handling)
        self._columns()
        self.con.execute(f"CREATE OR REPLACE VIEW {self.view} AS {self._read(self.files)}")
        for column in self.kept:
            self._values(column)
        self._duplicates()
        self._repeated()
        self._orders()
        if self.spec.name == "transactions":
            self._refunds()
        self._count(self.raw, scan(self.files))
        self._count(self.pending, self.view)

    def _read(self, files: list[Path]) -> str:
        """SQL of what a build would read of these files."""
        known = [f"{read_expression(c, self.types[c.name])} AS {quote(c.name)}" for c in self.kept] or ["1 AS nothing"]
        return f"SELECT {', '.join(known)} FROM {scan(files)}"

    def _apart(self) -> list[list[Path]]:
        """Files whose rows can repeat each other: of buckets each by itself, since all of a customer lies in one. So what is
        held to find them is a bucket's."""
        apart = "customer_id" in {c.name for c in self.kept} and all(f.name.startswith(BUCKET) for f in self.files)
        return [[f] for f in self.files] if apart else [self.files]

    def _columns(self) -> None:
        for column in self.spec.columns:
            if column.name not in self.types:
                others = [c for c in self.types if c not in {s.name for s in self.spec.columns}]
                if column.required:
                    hint = did_you_mean(column.name, others)
                    self.add(column.name, "missing_column", "error", 0, None, f"the column is missing{hint}")
                elif near := _nearest(column.name, others):
                    message = f"the column is missing; did you mean '{near}'?"
                    self.add(column.name, "missing_column", "warning", 0, None, message, UNKNOWN)
            elif self._convertible(column, self.types[column.name]):
                self.kept.append(column)
        if not self.spec.free_columns:
            wanted = {c.name for c in self.spec.columns}
            for extra in (c for c in self.types if c not in wanted):
                self.add(extra, "unknown_column", "warning", 0, None, "no such column in this table", "It is left out.")

    def _convertible(self, column: ColumnSpec, found: str) -> bool:
        """Can the column be read at all? Values that would change or be lost on reading are faults, whatever their type."""
        plain = "ENUM" if found.startswith("ENUM") else found.split("(")[0]
        numeric = column.sql_type in ("DOUBLE", "INTEGER")
        if found == '"NULL"':
            return True
        if column.sql_type == "VARCHAR" and plain in (*TEXT_TYPES, *NUMBER_TYPES, "UUID"):
            if column.name.endswith("_id"):
                self._ids(column, plain)
            return True
        if numeric and plain in NUMBER_TYPES:
            if column.sql_type == "INTEGER":
                self._whole(column, quote(column.name))
            return True
        if not numeric and plain in MOMENT_TYPES:
            if plain in ZONED:
                self._zones(column)
            return True
        if plain in TEXT_TYPES and column.sql_type != "VARCHAR":
            return self._from_text(column)
        first = self._example(column.name, f"{quote(column.name)} IS NOT NULL")
        self.add(column.name, "wrong_type", "error", self.rows, first, f"type {found}, expected {column.sql_type}")
        return False

    def _from_text(self, column: ColumnSpec) -> bool:
        name = f"{quote(column.name)}::VARCHAR"
        bad = f"{name} IS NOT NULL AND NOT {is_blank(name)} AND ({read_expression(column, 'VARCHAR')}) IS NULL"
        count = self.count(bad, scan(self.files))
        if count:
            example = self._example(column.name, bad)
            self.add(column.name, "wrong_type", "error", count, example, f"text that is no {column.sql_type}")
            return False
        self.add(column.name, "text", "warning", 0, None, f"stored as text, expected {column.sql_type}",
                 "It is converted on reading.")  # fmt: skip
        if column.sql_type == "INTEGER":
            self._whole(column, f"TRY_CAST({name} AS DOUBLE)")
        if column.sql_type == "TIMESTAMP":
            zoned = has_zone(name)
            with_zone = self.count(zoned, scan(self.files))
            without = self.count(f"NOT {zoned} AND NOT {is_blank(name)}", scan(self.files)) if with_zone else 0
            if without:
                message = f"moments without a time zone beside {with_zone:,} with one"
                example = self._example(column.name, f"NOT {zoned} AND NOT {is_blank(name)}")
                self.add(column.name, "mixed_zones", "error", without, example, message)
            elif with_zone:
                self._zones(column)
        return True

    def _whole(self, column: ColumnSpec, value: str) -> None:
        """Numbers that do not fit an INTEGER column: `value` is SQL over the files."""
        number = f"({value})::DOUBLE"
        for where, kind, message in (
            (f"NOT isfinite({number})", "not_finite", "not a finite number"),
            (f"isfinite({number}) AND abs({number}) >= 2147483648", "huge", "too large for a whole number of 32 bits"),
            (f"isfinite({number}) AND {number} != trunc({number})", "not_whole", "not a whole number"),
        ):
            self._on_files(column.name, f"{value} IS NOT NULL AND {where}", kind, message)

    def _ids(self, column: ColumnSpec, plain: str) -> None:
        """Ids that cannot be told apart later."""
        name = quote(column.name)
        if limit := WHOLE_LIMIT.get(plain):
            message = f"ids stored as {plain}, which is exact below {limit} only: different ids may have become one"
            self._on_files(column.name, f"abs({name}) >= {limit}", "inexact_id", message)
        if plain in TEXT_TYPES:
            text = f"{name}::VARCHAR"
            self._on_files(
                column.name, f"regexp_matches({text}, '{CONTROL}')", "control_character", "ids with control characters"
            )
            message = f"ids of more than {TEXT_WIDTH} characters"
            self._on_files(column.name, f"length({text}) > {TEXT_WIDTH}", "long_id", message)

    def _zones(self, column: ColumnSpec) -> None:
        message = "moments carry a time zone"
        plain = [
            c.name
            for c in self.spec.columns
            if c.sql_type == "TIMESTAMP" and "ZONE" not in self.types.get(c.name, "ZONE") and c.name != column.name
        ]
        if plain:
            message += f" while '{plain[0]}' of the same table has none"
        example = self._example(column.name, f"{quote(column.name)} IS NOT NULL")
        self.add(column.name, "time_zone", "warning", self.rows, example, message, "They are converted to UTC.")

    def _values(self, column: ColumnSpec) -> None:
        name = quote(column.name)
        if column.key:
            blank = f" OR {is_blank(name)}" if column.sql_type == "VARCHAR" else ""
            message = "NULL or empty where every row needs a value"
            self._each(column.name, f"{name} IS NULL{blank}", "null_key", "error", message)
        if column.allowed or (column.sql_type == "VARCHAR" and self.types[column.name] == "VARCHAR" and not column.key):
            self._spelling(column)
        if column.sql_type == "DOUBLE":
            # NOT isfinite(), not isnan(): pushed down, isnan() is answered from the file's min and max, which leave NaN out.
            self._each(column.name, f"NOT isfinite({name})", "not_finite", "error", "not a finite number")
            self._each(column.name, f"isfinite({name}) AND abs({name}) > {HUGE}", "huge", "error", f"larger than {HUGE:.0e}")
        if column.minimum is not None:
            message = f"below {column.minimum:g}, which is impossible here"
            self._each(column.name, f"{name} < {column.minimum}", "negative", "error", message)
        if column.name == "birth_year":
            late = f"{name} > {date.today().year}"
            self._each(column.name, late, "absurd_date", "error", "a year of birth that lies in the future")
        if column.sql_type in ("DATE", "TIMESTAMP"):
            self._dates(column)

    def _dates(self, column: ColumnSpec) -> None:
        name = quote(column.name)
        early = "1850-01-01" if column.name in ("joined_on", "opened_on") else EARLIEST
        ahead = 1 if self.spec.name in HAPPENED else 365
        latest = LATEST if column.sql_type == "DATE" else (date.today() + timedelta(days=ahead + 1)).isoformat()
        before = f"{name} < {column.sql_type} '{early}'"
        self._each(column.name, before, "absurd_date", "error", f"before {early}")
        after = f"{name} >= {column.sql_type} '{latest}'"
        self._each(column.name, after, "absurd_date", "error", f"after {latest}")

    def _spelling(self, column: ColumnSpec) -> None:
        """Text that is read as something else than it says."""
        raw = f"{quote(column.name)}::VARCHAR"
        words = "text that stands for nothing (blanks, " + ", ".join(w for w in BLANK_WORDS if w) + ")"
        self._on_files(column.name, is_blank(raw), "blank_text", words, "warning", UNKNOWN)
        if column.allowed:
            known = sql_list(column.allowed)
            near = f"CASE WHEN {raw} IN ({known}) THEN false ELSE {plain_text(raw)} IN ({known}) END"
            message = "known values in other capitals or with outer blanks"
            self._on_files(column.name, near, "spelling", message, "warning", "They are read as the known value.")
            unseen = f"CASE WHEN {raw} IN ({known}) OR {is_blank(raw)} THEN false ELSE {plain_text(raw)} NOT IN ({known}) END"
            message = f"a value outside the {len(column.allowed)} known ones"
            handling = "It is a category of its own, in no share and no label of the known ones." if column.open else UNKNOWN
            severity: Severity = "error" if column.strict else "warning"
            handling = NOTHING_BUILT if column.strict else handling
            self._on_files(column.name, unseen, "unseen_category", message, severity, handling)

    def _on_files(
        self, column: str, where: str, kind: str, message: str, severity: Severity = "error", handling: str = NOTHING_BUILT
    ) -> None:
        """A value check on what the files say, where the view already has the reading."""
        self.raw.append((column, where, kind, severity, message, handling))

    def _duplicates(self) -> None:
        kept = {c.name for c in self.kept}
        if not self.spec.unique or not kept.issuperset(self.spec.unique):
            return
        keys = ", ".join(quote(k) for k in self.spec.unique)
        repeated = [
            f"SELECT {keys}, count(*) AS n FROM ({self._read(files)}) GROUP BY ALL HAVING count(*) > 1"
            for files in self._apart()
        ]
        more = [int(self.con.execute(f"SELECT coalesce(sum(n - 1), 0) FROM ({r})").fetchall()[0][0]) for r in repeated]
        if extra := sum(more):
            most = " UNION ALL ".join(
                f"(FROM ({r}) ORDER BY n DESC, {keys} LIMIT 1)" for r, n in zip(repeated, more, strict=True) if n
            )
            row = self.con.execute(f"SELECT {keys} FROM ({most}) ORDER BY n DESC, {keys} LIMIT 1").fetchall()[0]
            example = ", ".join(f"{k}={v}" for k, v in zip(self.spec.unique, row, strict=True))
            severity: Severity = "warning" if self.spec.name == "campaigns" else "error"
            handling = "Each counts as an exposure." if severity == "warning" else NOTHING_BUILT
            message = f"rows that repeat ({', '.join(self.spec.unique)})"
            self.add(self.spec.unique[0], "duplicate", severity, extra, example, message, handling)

    def _repeated(self) -> None:
        """Events have no key; rows that are alike in every column may be a delivery that was loaded twice."""
        names = [quote(c.name) for c in self.kept]
        if self.spec.unique or self.spec.free_columns or "ts" not in {c.name for c in self.kept}:
            return
        row, sources = f"hash({', '.join(names)})", [scan(files) for files in self._apart()]
        more = [self._alike(row, s) for s in sources]
        if extra := sum(n for n, _ in more):
            twice = [
                self.con.execute(
                    f"SELECT customer_id, ts FROM {s} WHERE {row} IN ({', '.join(map(str, some))}) ORDER BY ALL LIMIT 1"
                ).fetchall()[0]
                for s, (n, some) in zip(sources, more, strict=True)
                if n
            ]
            first = min(twice, key=lambda found: [str(x) for x in found])
            message = "rows that repeat another in every column: was a delivery loaded twice?"
            self.add(None, "repeated_row", "warning", extra, f"{first[0]} at {first[1]}", message, "Each counts as an event.")

    def _alike(self, row: str, source: str) -> tuple[int, list[int]]:
        """(how many rows repeat another, some of their hashes). 8 bytes a row are held, sorted in place, where a hash table
        takes several times that."""
        hashes = np.empty(self.con.sql(f"SELECT count(*) FROM {source}").fetchall()[0][0], np.uint64)
        end = 0
        for batch in self.con.sql(f"SELECT {row} FROM {source}").to_arrow_reader(BATCH):
            start, end = end, end + batch.num_rows
            hashes[start:end] = np.from_dlpack(batch.column(0))  # to_numpy() would import pandas
        hashes.sort()
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        return len(again), np.unique(again)[:SOME].tolist()

    def _orders(self) -> None:
        kept = {c.name for c in self.kept}
        for earlier, later in self.spec.order:
            if earlier in kept and later in kept:
                wrong = f"{quote(later)} < {quote(earlier)}"
                self._each(later, wrong, "wrong_order", "error", f"earlier than {earlier}")
        if self.spec.name == "campaigns" and {"clicked_at", "converted_at"} <= kept:
            wrong = "converted_at IS NOT NULL AND clicked_at IS NULL"
            handling = "It counts as a conversion."
            self._each("converted_at", wrong, "wrong_order", "warning", "converted without a click", handling)

    def _refunds(self) -> None:
        names = {c.name for c in self.kept}
        if "amount" in names:
            card = "coalesce(kind, 'card') = 'card'" if "kind" in names else "true"
            refund = f"{card} AND amount < 0"
            signs = f"SELECT count(*) FILTER ({refund}), count(*) FILTER ({card} AND amount > 0) FROM {self.view}"
            below, above = self.con.execute(signs).fetchall()[0]
            if below and wilson(below, below + above)[0] > 0.5:  # refunds are a few in a hundred; most amounts are never
                message = f"negative card amounts, more than the {above:,} positive ones"
                handling = "Negative is a refund: turn the sign of the amounts (spending: negative in the map of an import)."
                self._each("amount", refund, "spending_negative", "error", message, handling)
            else:
                handling = "They count as refunds: spend is net of them."
                self._each("amount", refund, "refund", "warning", "negative card amounts", handling)

    def _each(
        self, column: str, where: str, kind: str, severity: Severity, message: str, handling: str = NOTHING_BUILT
    ) -> None:
        self.pending.append((column, where, kind, severity, message, handling))

    def _count(self, checks: list[ValueCheck], source: str) -> None:
        """All these checks in one pass over the rows."""
        if not checks:
            return
        counts = ", ".join(f"count(*) FILTER ({where})" for _, where, *_ in checks)
        rows = self.con.execute(f"SELECT {counts} FROM {source}").fetchall()[0]
        for count, (column, where, kind, severity, message, handling) in zip(rows, checks, strict=True):
            if count:
                example = f"min({quote(column)}::VARCHAR) FILTER ({where})"
                found = self.con.execute(f"SELECT {example} FROM {source}").fetchall()[0][0]
                if kind == "unseen_category":
                    message += did_you_mean(str(found), self.spec.column(column).allowed)
                self.add(column, kind, severity, int(count), found, message, handling)

    def count(self, where: str, source: str | None = None) -> int:
        """Rows of the view, or of `source`, where the condition holds."""
        return int(self.con.execute(f"SELECT count(*) FROM {source or self.view} WHERE {where}").fetchall()[0][0])

    def _example(self, column: str, where: str) -> object:
        found = self.con.execute(f"SELECT {quote(column)}::VARCHAR FROM {scan(self.files)} WHERE {where} LIMIT 1").fetchall()
        return found[0][0] if found else None


def _nearest(name: str, options: list[str]) -> str | None:
    """The column that is `name` in other capitals, or much like it."""
    same = [o for o in options if o.lower() == name]
    near = same or difflib.get_close_matches(name, options, n=1, cutoff=0.8)
    return near[0] if near else None
