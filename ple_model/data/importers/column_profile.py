"""What a column of a source holds, by its values alone: dates, clock times, amounts, ids, a few words, many words.

A header is only a word in some language; the values say more. Everything is measured on the column's different values; a
kind is what more than half of them are, so that a total at the end does not hide it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from ple_model.data.importers.currencies import is_currency
from ple_model.data.importers.read_dates import DateReading, date_readings, parsed
from ple_model.data.importers.read_numbers import number_reading
from ple_model.data.importers.status_words import is_status, names_status
from ple_model.numerals import entry
from ple_model.sql_text import literal, quote

SAMPLE = 2_000
"""Different values that are looked at."""
ALL = "column_values"
"""The temporary table of all different values `v` of the column in hand, and their rows `n`."""
MANY_DIGITS = 8
"""Whole numbers of so many digits and more, each different, are references; an amount has fewer or repeats."""
FEW = 60
"""A column of words with at most so many different ones may be a category; with more it names merchants or the like."""
EMPTY, CONSTANT, DATE, CLOCK, AMOUNT, NUMBER, ID, KEY, WORDS, NAMES, STATUS, CURRENCY = (
    "empty", "constant", "date", "clock", "amount", "number", "id", "key", "words", "names", "status", "currency",
)  # fmt: skip

_DATED = r"^\d{8}([ T]|$)|\d+\s*[^\d\s]+\s*\d+\s*[^\d\s]+\s*\d+|^\d+ [A-Za-z]{3}|^[A-Za-z]{3,} \d|^\d+ \d+ \d+$"
"""What may be a date: eight digits, three numbers, or a number beside a month's name."""
_MASKED = r"^[\d *xX•#.-]*[*xX•#]{2,}[\d *xX•#.-]*\d{2,}$"
"""A card or account number of which some digits are hidden: 4251 25** **** 3318, ****1234."""


@dataclass(frozen=True)
class ColumnProfile:
    """One column: how many rows are filled, how many values differ, what they are, and a remark that shows it."""

    name: str
    kind: str
    filled: int
    distinct: int
    remark: str = ""
    values: tuple[str, ...] = ()
    """The most frequent ones."""

    def __str__(self) -> str:
        shown = ", ".join(repr(v[:24]) for v in self.values[:3])
        of_many = f"{self.distinct:,} different, for example {shown}"
        return {
            EMPTY: "empty", CONSTANT: f"the same in every row: {shown}", DATE: f"dates, {self.remark}",
            CLOCK: f"times of day, for example {shown}", AMOUNT: f"amounts, {self.remark}", NUMBER: f"numbers, {self.remark}",
            ID: f"ids, {of_many}", KEY: f"a number of the row, different in each, for example {shown}",
            WORDS: f"a few words, {of_many}", NAMES: f"text, {of_many}", STATUS: f"a status, {of_many}",
            CURRENCY: f"currencies, {of_many}",
        }[self.kind]  # fmt: skip


MOST_STATES = 8
"""States of a payment that a source tells apart, at most."""


def profile_columns(con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str]) -> dict[str, ColumnProfile]:
    """The profile of every column of the relation."""
    return {name: _profile(con, scan, name, kind) for name, kind in found.items()}


def _profile(con: duckdb.DuckDBPyConnection, scan: str, name: str, kind: str) -> ColumnProfile:
    value = f"nullif(trim(CAST({quote(name)} AS VARCHAR)), '')"
    # the rows are read once; what follows looks at the different values
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {ALL} AS SELECT v, count(*) AS n FROM (SELECT {value} AS v FROM {scan})"
        " WHERE v IS NOT NULL GROUP BY v"
    )
    filled, distinct = con.execute(f"SELECT coalesce(sum(n), 0), count(*) FROM {ALL}").fetchall()[0]
    if not filled:
        return ColumnProfile(name, EMPTY, 0, 0)
    values = tuple(v for (v,) in con.execute(f"SELECT v FROM {ALL} ORDER BY n DESC, v LIMIT {FEW}").fetchall())
    con.execute(f"CREATE OR REPLACE TEMP TABLE some_values AS SELECT v FROM {ALL} ORDER BY hash(v) LIMIT {SAMPLE}")
    found, remark = _kind(con, "some_values", kind, int(filled), int(distinct), values)
    if found == WORDS and distinct <= MOST_STATES and names_status(name):
        found = STATUS  # in words that are not known: each is asked
    return ColumnProfile(name, found, int(filled), int(distinct), remark, values)


def _kind(
    con: duckdb.DuckDBPyConnection, some: str, stored: str, filled: int, distinct: int, values: tuple[str, ...]
) -> tuple[str, str]:
    n, digits, dated, clock, blank, codes, shortest, longest, low_length, masked, whole = con.execute(
        "SELECT count(*), count(*) FILTER (regexp_matches(v, '[0-9]')),"
        f" count(*) FILTER (regexp_matches(v, {literal(_DATED)})),"
        r" count(*) FILTER (regexp_matches(v, '^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$')), count(*) FILTER (contains(v, ' ')),"
        r" count(*) FILTER (regexp_matches(v, '^0\d+$')), min(length(v)), max(length(v)), quantile_disc(length(v), 0.1),"
        f" count(*) FILTER (regexp_matches(v, {literal(_MASKED)})), count(*) FILTER (regexp_matches(v, '^[0-9]+$')) FROM {some}"
    ).fetchall()[0]
    if 2 * clock > n:
        return CLOCK, ""
    if 2 * masked > n:
        return (KEY if distinct == filled and filled > 1 else ID), ""
    if 2 * dated > n:
        readings = date_readings(con, some)
        if readings and 2 * readings[0].read > n:
            return DATE, _days(con, readings[0])
    if distinct == 1 and filled > 1:
        return CONSTANT, ""
    # nearly every one different and all of one length: a reference, which may begin with 0
    reference = whole > 0.95 * n and low_length >= MANY_DIGITS and distinct > 0.95 * filled and filled > FEW
    number = _number(con, some, n, reference) if 2 * digits > n and 2 * codes <= n else None
    if number is not None:
        kind, remark, ids = number
        if stored.startswith(("DOUBLE", "FLOAT", "DECIMAL")) and kind == AMOUNT:
            return AMOUNT, remark
        if ids and (distinct == filled or reference) and filled > 1:
            return KEY, remark
        return (ID if ids and distinct > FEW else kind), remark
    if values and all(map(is_currency, values)) and distinct <= FEW:
        return CURRENCY, ""
    if is_status(values[:FEW]) and distinct <= FEW:
        return STATUS, ""
    if 2 * digits > n and 2 * blank <= n and (shortest == longest or 2 * codes > n or low_length >= 6 or 10 * digits > 9 * n):
        return (KEY if distinct == filled and filled > 1 else ID), ""
    return (WORDS if distinct <= FEW and distinct < filled else NAMES), ""


def _days(con: duckdb.DuckDBPyConnection, reading: DateReading) -> str:
    """The first and last day of the whole column."""
    moment = parsed(reading.format)
    first, last = con.execute(f"SELECT min(d)::DATE, max(d)::DATE FROM (SELECT {moment} AS d FROM {ALL})").fetchall()[0]
    return f"{first} to {last}"


def _number(con: duckdb.DuckDBPyConnection, some: str, n: int, reference: bool) -> tuple[str, str, bool] | None:
    """(amount or number, remark, whether the numbers rather name things): whole numbers of one length or without gaps do."""
    reading = number_reading(con, some)
    if reading is None or 2 * reading.read <= n:
        return None
    x = reading.number()
    low, high, fractions, long, different, lengths, below = con.execute(
        f"SELECT min(x), max(x), count(*) FILTER (x <> round(x)), count(*) FILTER (abs(x * 1000 - round(x * 1000)) > 1e-4),"
        f" count(DISTINCT x), count(DISTINCT length(abs(x)::HUGEINT::VARCHAR)), count(*) FILTER (x < 0)"
        f" FROM (SELECT TRY_CAST({x} AS DOUBLE) AS x FROM {some}) WHERE x IS NOT NULL AND abs(x) < 1e30"
    ).fetchall()[0]
    if low is None:
        return None
    of_all = con.execute(f"SELECT min(x), max(x) FROM (SELECT {x} AS x FROM {ALL}) WHERE abs(x) < 1e30").fetchall()[0]
    remark = f"{entry(of_all[0])} to {entry(of_all[1])}"
    if fractions:
        return (NUMBER if 2 * long > different else AMOUNT), remark, False
    ids = not below and (reference or lengths == 1 or high - low + 1 <= 2 * different or high >= 1e12)
    return (NUMBER if ids or different <= FEW else AMOUNT), remark, ids
