"""SQL that reads event tables: names and texts in quotes, blanks, moments, a column in the type of its spec."""

from __future__ import annotations

from pathlib import Path

import duckdb

from ple_model.data.events.spec import ColumnSpec
from ple_model.sql_paths import to_read_all
from ple_model.sql_text import quote, sql_list

BLANK_WORDS = ("", "nan", "none", "null", "nat", "<na>", "n/a")
"""What table libraries and spreadsheets write where there is nothing; capitals and outer blanks do not matter."""


def scan(files: list[Path]) -> str:
    """SQL that reads these Parquet files."""
    return f"read_parquet({to_read_all(files)}, union_by_name=true)"


def source_columns(con: duckdb.DuckDBPyConnection, files: list[Path]) -> dict[str, str]:
    """Column name -> DuckDB type of these Parquet files; `duckdb.Error` where one cannot be read."""
    rows = con.execute(f"DESCRIBE SELECT * FROM {scan(files)}").fetchall()
    return {str(r[0]): str(r[1]) for r in rows}


_OUTER_BLANKS = "' ' || chr(9) || chr(10) || chr(13)"
_LONGEST_BLANK = max(len(w) for w in BLANK_WORDS)


def plain_text(expression: str) -> str:
    """SQL of a text in small letters without outer blanks."""
    return f"lower(trim({expression}, {_OUTER_BLANKS}))"


def is_blank(expression: str) -> str:
    """SQL: is this text nothing (`BLANK_WORDS`)? Only what is short or begins with a blank is looked at closely: this runs on
    every text of every event."""
    maybe = f"strlen({expression}) <= {_LONGEST_BLANK} OR {expression} < '!'"
    return f"CASE WHEN {maybe} THEN {plain_text(expression)} IN ({sql_list(BLANK_WORDS)}) ELSE false END"


def moment_sql(text: str) -> str:
    """SQL of a moment written as text, in UTC where an offset is written with it: read as TIMESTAMP alone, that offset would be
    dropped."""
    return f"TRY_CAST(TRY_CAST({text} AS TIMESTAMPTZ) AS TIMESTAMP)"


def has_zone(text: str) -> str:
    """SQL: does a moment written as text end in a time zone?"""
    return rf"regexp_matches({text}, ':\d\d(\.\d+)?\s*(Z|UTC|[+-]\d\d(:?\d\d)?|[A-Za-z]+/[A-Za-z_]+)$')"


def read_expression(column: ColumnSpec, found: str) -> str:
    """SQL that reads a column stored as DuckDB type `found` in the type and spelling of the spec; NULL where it cannot."""
    name, stored = quote(column.name), found.split("(")[0]
    as_type = f"TRY_CAST({name} AS {column.sql_type})"
    text = stored in ("VARCHAR", "ENUM")
    if column.sql_type == "VARCHAR" and stored in ("FLOAT", "DOUBLE", "DECIMAL"):
        # Table libraries turn whole numbers with a gap among them into floats; 12.0 and 12 are one id.
        whole = f"TRY_CAST({name} AS HUGEINT)"
        return f"nullif(CASE WHEN {name} = {whole} THEN {whole}::VARCHAR ELSE {as_type} END, 'nan')"
    if column.sql_type == "VARCHAR" and not column.key and (text or column.allowed):
        value = f"{name}::VARCHAR"
        if not column.allowed:
            return f"CASE WHEN {is_blank(value)} THEN NULL ELSE {value} END"
        known, other = sql_list(column.allowed), value if column.open else "NULL"
        return (
            f"CASE WHEN {value} IN ({known}) THEN {value} WHEN {plain_text(value)} IN ({known}) THEN {plain_text(value)}"
            f" WHEN {is_blank(value)} THEN NULL ELSE {other} END"
        )
    if column.sql_type != "VARCHAR" and text:
        value = f"CASE WHEN {is_blank(f'{name}::VARCHAR')} THEN NULL ELSE {name}::VARCHAR END"
        if column.sql_type == "TIMESTAMP":
            return moment_sql(value)
        return f"TRY_CAST({value} AS {column.sql_type})"
    return as_type
