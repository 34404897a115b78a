"""How the values of a chosen column are written: dates, numbers and words, added to the map, with a remark for a person.

What can be read in two ways is not chosen: it stays open in the map and becomes a question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import duckdb

from ple_model.data.events.spec import ColumnSpec
from ple_model.data.importers.category_words import guess_category
from ple_model.data.importers.column_profile import ColumnProfile
from ple_model.data.importers.currencies import shares, signs
from ple_model.data.importers.map_text import one_line
from ple_model.data.importers.read_dates import date_readings
from ple_model.data.importers.read_numbers import number_reading
from ple_model.data.importers.source_map import OPEN, TableMap
from ple_model.data.importers.value_sql import converted_sql, source_sql
from ple_model.numerals import entry
from ple_model.sql_text import quote
from ple_model.wilson import wilson

MAX_VALUES = 300
"""Category names that are listed; a source with more has them listed by their number of rows, the rest is unknown."""


@dataclass
class OpenTable:
    """The open file while it is looked at, and what is said of it."""

    con: duckdb.DuckDBPyConnection
    scan: str
    found: dict[str, str]
    rows: int
    profiles: dict[str, ColumnProfile]
    lines: list[str] = field(default_factory=list)
    open_questions: list[str] = field(default_factory=list)
    tables: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)
    """Those of `distinct`."""

    def distinct(self, originals: tuple[str, ...]) -> str:
        """A relation of the different values `v` of the joined columns, as `source_sql` reads them, and their rows `n`. The
        rows of the file are read once for it."""
        key = (self.scan, originals)
        if key not in self.tables:
            name = f"distinct_{len(self.tables)}"
            columns = {f"c{k}": self.found[o] for k, o in enumerate(originals)}
            raw = ", ".join(f"{quote(o)} AS c{k}" for k, o in enumerate(originals))
            counted = f"SELECT *, count(*) AS n FROM (SELECT {raw} FROM {self.scan}) GROUP BY ALL"
            self.con.execute(
                f"CREATE TEMP TABLE {name} AS SELECT v, sum(n)::BIGINT AS n FROM"
                f" (SELECT {source_sql(columns, tuple(columns))} AS v, n FROM ({counted})) WHERE v IS NOT NULL GROUP BY v"
            )
            self.tables[key] = name
        return self.tables[key]

    def one(self, sql: str) -> tuple[object, ...]:
        """The first row of a query."""
        row: tuple[object, ...] = self.con.execute(sql).fetchall()[0]
        return row

    def text(self, originals: tuple[str, ...]) -> bool:
        """Whether the joined source columns are text."""
        return len(originals) > 1 or self.found[originals[0]] == "VARCHAR"


def plain_name(name: str) -> str:
    """A name without case, spaces, punctuation and what stands in brackets."""
    return re.sub(r"[\W_]+", "", re.sub(r"\(.*?\)", "", name.lower()))


def guess_writing(source: OpenTable, found: TableMap, column: ColumnSpec) -> tuple[TableMap, str]:
    """How the values of a column are written, added to the map; and a remark."""
    originals = found.columns[column.name]
    distinct = source.distinct(originals)
    if column.allowed:
        return _values(source, found, column, distinct)
    if column.sql_type in ("DATE", "TIMESTAMP"):
        return _dates(source, found, column, distinct)
    if column.sql_type in ("DOUBLE", "INTEGER") and source.text(originals):
        return _numbers(source, found, column, distinct)
    n = int(str(source.one(f"SELECT count(*) FROM {distinct}")[0]))
    remark = f"{n:,} different"
    if column.name == "customer_id" and source.one(
        f"SELECT count(*) FROM {distinct} WHERE regexp_matches(regexp_replace(v::VARCHAR, '[- ]', '', 'g'), '^[0-9]{{13,19}}$')"
    ) != (0,):
        remark += "; whole card or account numbers: replace them by a code before you share a run"
    return found, remark


def _dates(source: OpenTable, found: TableMap, column: ColumnSpec, distinct: str) -> tuple[TableMap, str]:
    originals = found.columns[column.name]
    name = one_line(originals[0])
    if not source.text(originals):
        moment = f"TRY_CAST(v AS {column.sql_type})"
        first, last = source.one(f"SELECT min({moment})::DATE, max({moment})::DATE FROM {distinct}")
        if first is None:
            source.open_questions.append(f"'{name}' holds no readable date for '{column.name}'")
        return found, f"{first} to {last}" if first is not None else "not readable as dates"
    readings = date_readings(source.con, distinct, column.sql_type)
    if not readings:
        source.open_questions.append(f"'{name}' holds no readable date for '{column.name}': see formats")
        return found, "not readable as dates"
    if len(readings) > 1:
        ways = " or ".join(map(str, readings))
        source.open_questions.append(
            f"the dates of '{name}' can be read in another order of day and month as well: {ways}; write the right one under"
            f" formats for '{column.name}'"
        )
        return replace(found, formats={**found.formats, column.name: OPEN}), f"which is it: {ways}"
    kept = readings[0]
    remark = f"{kept.first} to {kept.last}"
    if kept.format:
        found = replace(found, formats={**found.formats, column.name: kept.format})
        remark += f", written as {kept.format}"
    if kept.only:
        remark += " (no other order of day, month and year fits all values)"
    if kept.read < kept.total:
        remark += f"; {kept.total - kept.read:,} different values are no such dates"
    return found, remark


def _numbers(source: OpenTable, found: TableMap, column: ColumnSpec, distinct: str) -> tuple[TableMap, str]:
    name = one_line(found.columns[column.name][0])
    reading = number_reading(source.con, distinct)
    if reading is None:
        source.open_questions.append(f"'{name}' holds no readable number for '{column.name}'")
        return found, "not readable as numbers"
    if reading.rival is not None:
        mark = reading.thousands
        source.open_questions.append(
            f"'{reading.example}' in '{name}' can be read with '{mark}' for thousands or for decimals, and nothing in the"
            f" column decides: write thousands: '{mark}' and decimal: '{reading.decimal}', or only decimal: '{mark}'"
        )
        return replace(
            found, thousands="", decimal=OPEN
        ), f"'{reading.example}' is one number or a thousand times it: see decimal"
    kept = replace(found, thousands=reading.thousands, decimal=reading.decimal)
    number = converted_sql("v", True, column.name, column.sql_type, kept)
    low, high, below, rows = source.one(
        "SELECT min(x), max(x), coalesce(sum(n) FILTER (x < 0), 0), coalesce(sum(n) FILTER (x <> 0), 0)"
        f" FROM (SELECT {number} AS x, n FROM {distinct})"
    )
    if low is None:
        source.open_questions.append(f"'{name}' holds no readable number for '{column.name}'")
        return found, "not readable as numbers"
    remark = f"{entry(float(str(low)))} to {entry(float(str(high)))}"
    if below:
        remark += f", {below:,} below 0"
        if column.name == "amount":
            kept, meant = _spending(source, kept, name, int(str(below)), int(str(rows)))
            remark += meant
    if reading.thousands:
        remark += f"; '{reading.thousands}' for thousands" + (f", since {reading.why}" if reading.why else "")
    if reading.decimal != ".":
        remark += f"; '{reading.decimal}' for decimals"
    if reading.read < reading.total:
        remark += f"; {reading.total - reading.read:,} different values are no such numbers"
    beside = signs(source.con, distinct, "v", "n") if column.name == "amount" else {}
    if len(beside) > 1:
        source.open_questions.append(
            f"'{name}' holds amounts of {len(beside)} currencies ({shares(beside)}), which are not added: give a file of one"
        )
    return kept, remark


MANY_NEGATIVE = 0.3
"""More negative amounts than this are not taken for refunds unasked: of card payments a few in a hundred come back."""


def _spending(source: OpenTable, found: TableMap, name: str, below: int, rows: int) -> tuple[TableMap, str]:
    """Whether money spent is written with a minus, as statements of accounts do: asked where refunds would be that many."""
    if wilson(below, rows)[0] <= MANY_NEGATIVE:
        return found, " (refunds)"
    source.open_questions.append(
        f"{below / rows:.0%} of the amounts in '{name}' are below 0: is money spent written with a minus (spending: negative),"
        " or are these refunds (spending: positive)?"
    )
    return replace(found, spending=OPEN), " (spending or refunds: see spending)"


def _values(source: OpenTable, found: TableMap, column: ColumnSpec, distinct: str) -> tuple[TableMap, str]:
    names = source.con.execute(f"SELECT v::VARCHAR AS word, n FROM {distinct} ORDER BY n DESC, word").fetchall()
    if all(v in column.allowed for v, _ in names):
        return found, f"{len(names)} values, all known"
    pairs: dict[str, str | None] = {}
    for value, _ in names[:MAX_VALUES]:
        own = next((a for a in column.allowed if plain_name(a) == plain_name(str(value))), None)
        guess = guess_category(str(value)) if column.name == "mcc_l1" else None
        pairs[str(value)] = own or (OPEN if guess is None else guess.category)
    unsure = [v for v, meant in pairs.items() if meant == OPEN]
    remark = f"{len(names):,} values, {len(pairs) - len(unsure):,} of them guessed below"
    if unsure:
        shown = f"{', '.join(one_line(v) for v in unsure[:8])}{', ...' if len(unsure) > 8 else ''}"
        remark += f"; without a sure guess: {shown}"
        source.open_questions.append(
            f"what is {shown}? {len(unsure):,} values of '{one_line(found.columns[column.name][0])}' have no sure"
            f" {column.name}; write one of the known words, or ~ for unknown, under values"
        )
    if len(names) > MAX_VALUES:
        remark += f"; only the {MAX_VALUES} most frequent are listed, the rest is unknown"
    return replace(found, values={**found.values, column.name: pairs}), remark
