"""SQL of one table of an import from its source and its part of the map; what is wrong is collected, not raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from ple_model.data.events.spec import ColumnSpec, TableSpec
from ple_model.data.events.sql import read_expression
from ple_model.data.importers import left_out
from ple_model.data.importers.check_values import check_values
from ple_model.data.importers.currency_rule import MONEY, apply_rule, currency_of
from ple_model.data.importers.row_rules import lost_digits, mixed_currencies, picked
from ple_model.data.importers.scan_source import FILE, ROW, scan_rows, scan_source
from ple_model.data.importers.source_files import find_files
from ple_model.data.importers.source_map import IMPORTABLE, TableMap
from ple_model.data.importers.value_sql import converted_sql, replaced_sql, source_sql
from ple_model.errors import did_you_mean
from ple_model.sql_text import literal, quote
from ple_model.tasks import TASKS

FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class Reading:
    """How one column of ours is read: SQL of the source's value, and of what it becomes (NULL where it cannot)."""

    originals: tuple[str, ...]
    value: str
    converted: str
    kind: str
    """Our type; the source's where the column is its own."""


@dataclass(frozen=True)
class Select:
    """SQL of one table in our columns and types."""

    sql: str
    missing: tuple[str, ...] = ()
    """Our columns that the source lacks."""
    dropped: int = 0
    """Rows left out because a value is missing that every row needs."""
    notes: tuple[str, ...] = ()
    """What the map's `rows` and `currency` did."""
    currency: str = ""
    """Code of the amounts; empty where nothing names one."""
    scan: str = ""
    """SQL of the rows that count, as the source has them."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By column of ours."""


def select_table(
    con: duckdb.DuckDBPyConnection, name: str, place: Path, table: TableMap, scratch: Path, problems: list[str]
) -> Select:
    """SQL of one table; what is wrong goes to `problems`."""
    file = place.name
    try:
        scan = (scan_rows if table.leave_out else scan_source)(con, find_files(place), table, scratch)
        columns = con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
        found = {str(r[0]): str(r[1]) for r in columns if not (table.leave_out and r[0] in (FILE, ROW))}
    except duckdb.Error as e:
        problems.append(f"{file} cannot be read: {str(e).splitlines()[0][:160]}")
        return Select("")
    return select_from(con, name, file, scan, found, table, problems)


def select_from(
    con: duckdb.DuckDBPyConnection, name: str, file: str, scan: str, found: Mapping[str, str], table: TableMap,
    problems: list[str],
) -> Select:  # fmt: skip
    """The same of a relation with the columns `found`, which may have further ones that nobody asks for."""
    spec = IMPORTABLE[name]
    whole = scan
    scan, notes = left_out.without(con, scan, table.leave_out, f"{file}: tables.{name}.leave_out", problems)
    scan, more = picked(con, scan, found, table.rows, f"{file}: tables.{name}.rows", problems)
    notes += more
    where = f"tables.{name}.currency"
    scan, factor, more = apply_rule(con, scan, found, table.currency, file, where, problems)
    notes += more
    if name == "transactions":
        problems += mixed_currencies(con, scan, found, table, file)
    amounts = tuple(o for c in MONEY & {s.name for s in spec.columns} for o in table.columns.get(c, (c,)))
    currency = currency_of(con, scan, found, table.currency, amounts, file, where, problems) if amounts else ""
    ours = _our_columns(spec, file, found, table, problems)
    condition, dropped = _complete(con, spec, scan, found, file, ours.expressions, table.drop_incomplete, problems)
    kept = scan if condition == "true" else f"(SELECT * FROM {scan} WHERE {condition})"
    readings = _readings(con, spec, file, kept, ours, table, factor, problems)
    if table.leave_out:
        problems += left_out.readable(con, whole, table.leave_out, _right(spec, readings))
    wanted = [f"{r.converted} AS {quote(c)}" for c, r in readings.items()]
    if spec.free_columns:
        wanted += [_free(con, spec, kept, c, found[c]) for c in found if c not in ours.used and c not in ours.names]
    sql = f"SELECT {', '.join(wanted)} FROM {kept}"
    return Select(sql, tuple(ours.missing), dropped, tuple(notes), currency, scan, readings)


@dataclass(frozen=True)
class _OurColumns:
    """Where a table's columns come from in one source."""

    names: tuple[str, ...]
    """Those of the specification, then those that only the map names."""
    expressions: dict[str, str] = field(default_factory=dict)
    """SQL of the source's value, by column of ours that has one."""
    missing: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    """Columns of the source that are read."""
    texts: set[str] = field(default_factory=set)
    """Columns of ours whose value is text in the source."""


def _our_columns(spec: TableSpec, file: str, found: Mapping[str, str], table: TableMap, problems: list[str]) -> _OurColumns:
    """By the map, or by the same name; what is named and not there goes to `problems`."""
    types = {c.name: c.sql_type for c in spec.columns}
    ours = _OurColumns((*types, *(c for c in (*table.columns, *table.constants) if c not in types)))
    for column in ours.names:
        originals = table.columns.get(column, (column,))
        unknown = next((o for o in originals if o not in found), None)
        if column in table.constants:
            ours.expressions[column] = literal(table.constants[column])
        elif unknown is None:
            ours.used.update(originals)
            expression = source_sql(found, originals)
            if types.get(column) == "VARCHAR" and len(originals) == 1 and found[originals[0]].split("(")[0] in FRACTIONS:
                expression = read_expression(ColumnSpec(originals[0], "VARCHAR", key=True), found[originals[0]])
            known = table.values.get(column)
            ours.expressions[column] = expression if known is None else replaced_sql(expression, known)
            if len(originals) > 1 or found[originals[0]] == "VARCHAR":
                ours.texts.add(column)
        elif column in table.columns:
            problems.append(f"{file} has no column '{unknown}' for {spec.name}.{column}{did_you_mean(unknown, found)}")
        else:
            ours.missing.append(column)
            if column in types and spec.column(column).required:
                problems.append(f"{file} has no column for {spec.name}.{column}{did_you_mean(column, found)}")
    return ours


def _readings(
    con: duckdb.DuckDBPyConnection, spec: TableSpec, file: str, kept: str, ours: _OurColumns, table: TableMap,
    factor: str, problems: list[str],
) -> dict[str, Reading]:  # fmt: skip
    """How each column becomes our type; values that cannot go to `problems`."""
    types = {c.name: c.sql_type for c in spec.columns}
    out: dict[str, Reading] = {}
    for column, value in ours.expressions.items():
        kind, expression, where = types.get(column), value, f"{file}: {spec.name}.{column}"
        if kind is not None:
            converted = converted_sql(value, column in ours.texts, column, kind, table)
            check_values(con, kept, value, converted, kind, where, problems)
            if kind == "VARCHAR" and spec.column(column).key:
                problems += lost_digits(con, kept, value, where)
            expression = f"{converted} * {factor}" if factor and column in MONEY else converted
            if column == "amount" and table.spending == "negative":
                expression = f"CASE WHEN {_is_card(ours.expressions)} THEN -({expression}) ELSE {expression} END"
        originals = () if column in table.constants else table.columns.get(column, (column,))
        out[column] = Reading(originals, value, expression, kind or "as it is")
    return out


def _right(spec: TableSpec, readings: Mapping[str, Reading]) -> str:
    """SQL: can a row be read, with all that every row needs?"""
    keys = [f"({r.converted}) IS NOT NULL" for c, r in readings.items() if any(s.name == c and s.key for s in spec.columns)]
    read = [f"(({r.value}) IS NULL OR ({r.converted}) IS NOT NULL)" for r in readings.values()]
    return " AND ".join([*keys, *read]) or "true"


def _is_card(expressions: Mapping[str, str]) -> str:
    """SQL: is a row spending by card? A row without a kind is."""
    return f"coalesce({expressions['kind']}, 'card') = 'card'" if "kind" in expressions else "true"


def _free(con: duckdb.DuckDBPyConnection, spec: TableSpec, scan: str, column: str, found: str) -> str:
    """SQL of a column of the source's own. Text of a label that is a number in every row is that number."""
    name = quote(column)
    if spec.name != "labels" or found != "VARCHAR" or column not in TASKS or TASKS[column].kind == "contrastive":
        return name
    value = f"nullif(trim({name}), '')"
    other = con.execute(f"SELECT count(*) FROM {scan} WHERE {value} IS NOT NULL AND TRY_CAST({value} AS DOUBLE) IS NULL")
    return f"{value} AS {name}" if other.fetchall()[0][0] else f"TRY_CAST({value} AS DOUBLE) AS {name}"


def _complete(
    con: duckdb.DuckDBPyConnection, spec: TableSpec, scan: str, found: Mapping[str, str], file: str,
    expressions: Mapping[str, str], drop: bool, problems: list[str],
) -> tuple[str, int]:  # fmt: skip
    """The condition of the rows to keep, and how many rows it leaves out: those without a value every row needs."""
    keys = [c.name for c in spec.columns if c.key and c.name in expressions]
    where = " AND ".join(f"{expressions[k]} IS NOT NULL" for k in keys) or "true"
    try:
        lacking = int(con.execute(f"SELECT count(*) FROM {scan} WHERE NOT ({where})").fetchall()[0][0])
    except duckdb.Error as e:
        problems.append(f"{file} cannot be read: {str(e).splitlines()[0][:160]}")
        return "true", 0
    if lacking and not drop:
        problems.append(
            f"{file} has {lacking:,} rows without {' or '.join(keys)}, for example {_example(con, scan, found, where)}; "
            f"'drop_incomplete: true' under tables.{spec.name} of the map leaves them out"
        )
    return (where, lacking) if lacking else ("true", 0)


def _example(con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str], where: str) -> str:
    row = con.execute(f"SELECT {', '.join(map(quote, found))} FROM {scan} WHERE NOT ({where}) LIMIT 1").fetchall()[0]
    return repr(",".join("" if v is None else str(v) for v in row)[:60])
