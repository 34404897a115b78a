"""The column of times of a table: the one named, or the only one that reads as times, and how it is written.

Times with an offset (2024-10-27T02:00:00+01:00) or of a column with a time zone are read as UTC, in text as in Parquet; times
without are taken as they are written. A month (2024-10) is its first day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ple_model.data.events.sql import is_blank
from ple_model.data.importers.read_dates import date_readings, parsed
from ple_model.errors import UserError
from ple_model.sql_text import literal, quote

PLAIN = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
ZONED = "TIMESTAMP WITH TIME ZONE"
OFFSET = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[+-]\d{2}(:?\d{2})?)$"
MONTH = r"^\d{4}[-/]\d{2}$"


@dataclass(frozen=True)
class TimeColumn:
    """`sql` gives its moments; `utc`: they were written with an offset or a zone."""

    name: str
    sql: str
    utc: bool = False


def said_text(name: str) -> str:
    """SQL of a text column; NULL where it says nothing."""
    return f"(CASE WHEN {is_blank(quote(name))} THEN NULL ELSE {quote(name)} END)"


def time_column(
    con: duckdb.DuckDBPyConnection, file: Path, types: Mapping[str, str], time: str | None, ids: str | None
) -> TimeColumn:
    """Of the view `source` with columns of these types. `UserError` where none, or more than one, reads as times."""
    found: list[TimeColumn] = []
    for name, kind in types.items():
        if name == ids or (time is not None and name != time):
            continue
        if kind in PLAIN or kind == ZONED:
            found.append(TimeColumn(name, f"{quote(name)}::TIMESTAMP", kind == ZONED))
        elif kind == "VARCHAR" and (read := _read(con, file, name, asked=time is not None)):
            found.append(read)
    if len(found) == 1:
        return found[0]
    if time is not None:
        raise UserError(f"{file}: column '{time}' does not hold times; write them as 2024-12-31 23:00:00")
    if not found:
        raise UserError(f"{file} has no column of times; name one that holds dates as 2024-12-31 23:00:00")
    several = ", ".join(c.name for c in found)
    raise UserError(f"{file} has several columns of times ({several}); name the one that orders the steps")


def _read(con: duckdb.DuckDBPyConnection, file: Path, name: str, *, asked: bool) -> TimeColumn | None:
    """A column of text as moments; None where no way of writing dates reads them all."""
    text = said_text(name)
    distinct = f"(SELECT DISTINCT {text} AS v FROM source WHERE {text} IS NOT NULL)"
    kinds = ("TRY_CAST(v AS DOUBLE) IS NULL", *(f"regexp_matches(v, {literal(way)})" for way in (OFFSET, MONTH)))
    counted = ", ".join(f"count(*) FILTER ({kind})" for kind in kinds)
    total, words, zoned, months = con.execute(f"SELECT count(*), {counted} FROM {distinct}").fetchall()[0]
    if not words and not asked:
        return None  # numbers alone: 20240131 may be a date, but nobody said so
    if zoned:
        if zoned < total:
            raise UserError(f"{file}: some times of column '{name}' have an offset and some have none; write all in one way")
        return TimeColumn(name, f"TRY_CAST({text} AS TIMESTAMPTZ)::TIMESTAMP", utc=True)
    if total and months == total:
        return TimeColumn(name, parsed("%Y-%m-%d", value=f"(replace({text}, '/', '-') || '-01')"))
    ways = [w for w in date_readings(con, distinct) if w.read == w.total]
    if not ways:
        return None
    if len(ways) > 1:
        said = " or ".join(str(w) for w in ways)
        raise UserError(f"{file}: the times of column '{name}' read in more than one way ({said}); write them as 2024-12-31")
    return TimeColumn(name, parsed(ways[0].format, value=text))
