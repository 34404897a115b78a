"""How a column of text writes numbers: thousands and decimals, and whether that can be told.

`3.923` may be three thousand or three and a fraction. What decides is the whole column: two separators of one kind
(1.234.567), a digit group of other than three digits after the mark, a 0 before it (0,852), a currency without a small coin,
or plain numbers that stay below a thousand beside marked ones of exactly three digits. Else it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from ple_model.data.importers.numbers import number_sql

SEPARATORS = (("", "."), (",", "."), (".", ","), (" ", ","), ("'", "."), ("", ","))
"""(thousands, decimal), the plain form first."""
COINLESS = r"[₩￦원円]|KRW|JPY"


@dataclass(frozen=True)
class NumberReading:
    """(thousands, decimal) that reads `read` of `total` different values, and what decided."""

    thousands: str
    decimal: str
    read: int
    total: int
    why: str = ""
    rival: NumberReading | None = None
    """Another way that reads as much and gives other numbers, where nothing decides."""
    example: str = ""
    """A value that can be read both ways."""

    def number(self, value: str = "v") -> str:
        """SQL of the number in text `value`."""
        return f"TRY_CAST({number_sql(value, self.thousands, self.decimal)} AS DOUBLE)"


def number_reading(con: duckdb.DuckDBPyConnection, distinct: str) -> NumberReading | None:
    """How the different values `v` of `distinct` are read; None: none is a number."""
    ways = [NumberReading(t, d, 0, 0) for t, d in SEPARATORS]
    counts = con.execute(f"SELECT count(*), {', '.join(f'count({w.number()})' for w in ways)} FROM {distinct}").fetchall()[0]
    total, most = int(counts[0]), int(max(counts[1:]))
    if not most:
        return None
    best = [NumberReading(w.thousands, w.decimal, most, total) for w, n in zip(ways, counts[1:], strict=True) if n == most]
    first = best[0]
    for other in best[1:]:
        clash = con.execute(
            f"SELECT min(v) FILTER (a <> b) FROM (SELECT v, {first.number()} AS a, {other.number()} AS b FROM {distinct})"
        ).fetchall()[0][0]
        if clash is not None:
            return _decide(con, distinct, first, other, str(clash))
    return first


def _decide(
    con: duckdb.DuckDBPyConnection, distinct: str, one: NumberReading, other: NumberReading, example: str
) -> NumberReading:
    """Of two ways that give other numbers: the mark is a group's in one and the decimal one in the other."""
    grouped, decimals = (one, other) if one.thousands.strip() and one.thousands in example else (other, one)
    mark = grouped.thousands
    bare = "regexp_replace(v, '[^0-9.,]', '', 'g')"
    marked, plain_small, plain_large, coinless = con.execute(
        f"SELECT count(*) FILTER (contains(v, '{mark}')), count(*) FILTER (NOT contains(v, '{mark}')),"
        f" count(*) FILTER (NOT contains(v, '{mark}') AND length({bare}) > 3),"
        f" count(*) FILTER (regexp_matches(v, '{COINLESS}')) FROM {distinct}"
    ).fetchall()[0]
    if coinless and coinless >= marked:
        return _with(grouped, "its currency has no decimals", example)
    if marked and plain_small and not plain_large:
        why = f"every number with '{mark}' has three digits after it and every other is below a thousand"
        return _with(grouped, why, example)
    return NumberReading(grouped.thousands, grouped.decimal, grouped.read, grouped.total, "", decimals, example)


def _with(kept: NumberReading, why: str, example: str) -> NumberReading:
    return NumberReading(kept.thousands, kept.decimal, kept.read, kept.total, why, None, example)
