"""How a column of text writes dates: every way that reads all its values, and what decides between several.

A two-digit year is read as of this century's turn (00-68: 20xx); `%Y` would read "23" as the year 23, which is never meant, so
years outside 1900 to 2100 count as not read. Where two orders of day, month and year read every value and give other dates,
the values themselves may decide: a part that stands still while the "year" runs is no day of the month. Else it is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import product

import duckdb

from ple_model.sql_text import literal

DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y년 %m월 %d일", "%Y年%m月%d日", "%d.%m.%Y", "%d/%m/%Y",
    "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %m %Y", "%d %b %Y", "%b %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%B %d, %Y",
    "%Y. %m. %d.", "%Y. %m. %d",
    "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%y.%m.%d", "%y-%m-%d", "%d-%m-%y", "%m-%d-%y",
)  # fmt: skip
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H%M%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S")
FORMATS = tuple(day + clock for day, clock in product(DATES, CLOCKS))
_MARKS = {way: re.sub(r"%.", "", way) for way in FORMATS}
FIRST_YEAR, LAST_YEAR = 1900, 2100
SAMPLE = 60
"""Different values that say which ways come into question; those are then tried on all."""


@dataclass(frozen=True)
class DateReading:
    """One way of writing that reads `read` of the `total` different values; '' is ISO, as DuckDB takes it."""

    format: str
    read: int
    total: int
    first: str
    last: str
    years: int
    days: int
    """Different days of the month."""
    only: bool = False
    """Its order of the parts is not the usual one or has a two-digit year, and no other order fits."""

    def __str__(self) -> str:
        return f"'{self.format}': {self.first} to {self.last}"


def parsed(way: str, kind: str = "TIMESTAMP", value: str = "v") -> str:
    """SQL of the text `value` read in this way; NULL where it cannot be, or where the year is impossible."""
    moment = f"TRY_CAST({value} AS {kind})" if not way else f"CAST(try_strptime({value}, {literal(way)}) AS {kind})"
    return f"(CASE WHEN year({moment}) BETWEEN {FIRST_YEAR} AND {LAST_YEAR} THEN {moment} END)"


def _likely(con: duckdb.DuckDBPyConnection, values: list[str], kind: str) -> list[str]:
    """ISO, and the ways that read nearly as many of some values as the best does."""
    # most ways are ruled out by their marks, without an attempt
    there = {marks: any(_has_marks(marks, v) for v in values) for marks in set(_MARKS.values())}
    possible = [way for way in FORMATS if there[_MARKS[way]]]
    if not possible:
        return [""]
    tried = ", ".join(f"count({parsed(way, kind)})" for way in possible)
    counts = con.execute(f"SELECT {tried} FROM (SELECT unnest(?::VARCHAR[]) AS v)", [values]).fetchall()[0]
    best = max(counts)
    return ["", *(way for way, n in zip(possible, counts, strict=True) if n and n >= 0.9 * best)]


def _has_marks(marks: str, value: str) -> bool:
    return all(mark in value for mark in marks) and (":" in value) == (":" in marks)


def date_readings(con: duckdb.DuckDBPyConnection, distinct: str, kind: str = "TIMESTAMP") -> list[DateReading]:
    """The ways that read the most of the values `v` of the relation `distinct`, all different; most plausible first."""
    some = [str(v) for (v,) in con.execute(f"SELECT v FROM {distinct} ORDER BY hash(v) LIMIT {SAMPLE}").fetchall()]
    likely = _likely(con, some, kind)
    found = []
    for way in likely:
        moment = parsed(way, kind)
        read, total, first, last, years, days = con.execute(
            f"SELECT count(d), count(*), min(d)::DATE::VARCHAR, max(d)::DATE::VARCHAR, count(DISTINCT year(d)),"
            f" count(DISTINCT day(d)) FROM (SELECT {moment} AS d FROM {distinct})"
        ).fetchall()[0]
        if read:
            found.append(DateReading(way, read, total, first, last, years, days))
    if not found:
        return []
    most = max(r.read for r in found)
    kept = [r for r in found if r.read == most]
    plausible = [r for r in kept if r.days >= r.years] or kept
    first_way = next((r for r in plausible if not r.format), plausible[0])
    out = [first_way]
    for other in plausible:
        differ = f"SELECT count(*) FROM {distinct} WHERE {parsed(other.format)} IS DISTINCT FROM {parsed(first_way.format)}"
        if other != first_way and con.execute(differ).fetchall()[0][0]:
            out.append(other)
    if (
        len(out) == 1
        and out[0].format
        and ("%y" in out[0].format or out[0].format.startswith(("%d/%m", "%m/%d", "%d-%m", "%m-%d")))
    ):
        return [replace(out[0], only=True)]
    return out
