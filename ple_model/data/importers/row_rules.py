"""Which rows of a source count, as its map says, and what would make counting them wrong: currencies, ids that lost digits."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from ple_model.data.importers.currencies import currency_columns, paired_with, shares, signs
from ple_model.data.importers.numbers import LOST_DIGITS
from ple_model.data.importers.source_map import TableMap
from ple_model.errors import did_you_mean
from ple_model.sql_text import literal, quote


def value_counts(con: duckdb.DuckDBPyConnection, scan: str, column: str, limit: int) -> dict[str, int]:
    """The most frequent values of a column as text, with their rows."""
    rows = con.execute(
        f"SELECT v, count(*) AS n FROM (SELECT trim(CAST({quote(column)} AS VARCHAR)) AS v FROM {scan})"
        f" WHERE nullif(v, '') IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {limit}"
    ).fetchall()
    return {str(v): int(n) for v, n in rows}


def picked(
    con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str], rules: Mapping[str, Mapping[str, str]], where: str,
    problems: list[str],
) -> tuple[str, list[str]]:  # fmt: skip
    """The relation without the rows whose values the rules drop, and notes that count them. An empty cell is kept; a value
    that a rule does not name is a problem: it is new, and nobody said whether it counts."""
    notes = []
    for column, pairs in rules.items():
        if column not in found:
            problems.append(f"{where} names the column '{column}', which is not there{did_you_mean(column, found)}")
            continue
        there = value_counts(con, scan, column, 10_000)
        unknown = [v for v in there if v not in pairs]
        if unknown:
            problems.append(f"{where}.{column} says nothing of {', '.join(map(repr, unknown[:5]))}; give keep or drop for each")
        dropped = {v: n for v, n in there.items() if pairs.get(v) == "drop"}
        if dropped:
            counts = ", ".join(f"{v} {n:,}" for v, n in dropped.items())
            notes.append(f"{sum(dropped.values()):,} rows were left out by '{column}' ({counts}), as the map says")
            listed = ", ".join(literal(v) for v in dropped)
            value = f"trim(CAST({quote(column)} AS VARCHAR))"
            scan = f"(SELECT * FROM {scan} WHERE {value} NOT IN ({listed}) OR {value} IS NULL)"
    return scan, notes


def mixed_currencies(
    con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str], table: TableMap, file: str
) -> list[str]:
    """Amounts of several currencies that would be added up, unless the map says of each whether it is kept."""
    problems = []
    for column, counts in currency_columns(con, scan, found).items():
        if len(counts) > 1 and column not in table.rows and column != table.currency.column:
            most = next(iter(counts))
            rule = ", ".join(f"{k}: {'keep' if k == most else 'drop'}" for k in counts)
            rates = ", ".join(f"{k}: ..." for k in counts if k != most)
            problems.append(
                f"{file} has {len(counts)} currencies in '{column}' ({shares(counts)}), and amounts of different currencies are"
                f" not added; under tables.transactions of the map, say which count (rows: {{{column}: {{{rule}}}}})"
                f" or convert them (currency: {{column: {column}, to: {most}, rates: {{{rates}}}}})"
            )
    there = currency_columns(con, scan, found)
    for column, counts in there.items():
        others = [c for c, n in there.items() if len(n) == 1]
        for amount in table.columns.get("amount", ("amount",)):
            if len(counts) > 1 and others and column in table.rows and paired_with(amount, [column, *others]) == column:
                code = next(iter(there[others[0]]))
                problems.append(
                    f"{file}: amount is '{amount}', whose currency by its name is '{column}', and rows of {len(counts)}"
                    f" currencies are kept ({shares(counts)}); name the amount that is in {code} by '{others[0]}', or keep one"
                    " currency"
                )
    for column in table.columns.get("amount", ("amount",)):
        if found.get(column) == "VARCHAR" and len(counts := signs(con, scan, quote(column))) > 1:
            problems.append(
                f"{file}: '{column}' holds amounts of {len(counts)} currencies ({shares(counts)}), which are not added"
            )
    return problems


def lost_digits(con: duckdb.DuckDBPyConnection, scan: str, expression: str, where: str) -> list[str]:
    """Ids in scientific notation: different ones became one."""
    text = f"CAST({expression} AS VARCHAR)"
    n, example = con.execute(
        f"SELECT count(*), min({text}) FROM {scan} WHERE regexp_matches({text}, {literal(LOST_DIGITS)})"
    ).fetchall()[0]
    if not n:
        return []
    return [
        f"{where} has {n:,} ids such as '{example}': digits were lost before this file was written, so that different ids are"
        " one; export it again with the column as text"
    ]
