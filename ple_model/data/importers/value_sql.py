"""SQL of one column of a source: its text in one line, words replaced by the map, and the value in our type."""

from __future__ import annotations

from collections.abc import Mapping

from ple_model.data.events.sql import moment_sql
from ple_model.data.importers.numbers import number_sql
from ple_model.data.importers.source_map import TableMap
from ple_model.sql_text import literal, quote


def _one_line(text: str) -> str:
    """SQL; nearly every value is in one line already, and a search for single characters costs a tenth of the pattern."""
    broken = " OR ".join(f"contains({text}, chr({code}))" for code in (9, 10, 13))
    joined = rf"regexp_replace({text}, '\s*[\r\n\t]\s*', ' ', 'g')"
    return f"nullif(trim(CASE WHEN {broken} THEN {joined} ELSE {text} END), '')"


def source_sql(found: Mapping[str, str], originals: tuple[str, ...]) -> str:
    """SQL of the source's columns: as they are, text in one line with NULL for nothing, or several joined with a space."""
    parts = [_one_line(quote(o)) if found[o] == "VARCHAR" else quote(o) for o in originals]
    return parts[0] if len(parts) == 1 else f"nullif(concat_ws(' ', {', '.join(parts)}), '')"


def replaced_sql(expression: str, values: Mapping[str, str | None]) -> str:
    text = f"CAST({expression} AS VARCHAR)"
    whens = " ".join(f"WHEN {literal(k)} THEN {'NULL' if v is None else literal(v)}" for k, v in values.items())
    return f"CASE {text} {whens} ELSE {text} END" if whens else text


def converted_sql(expression: str, text: bool, column: str, kind: str, table: TableMap) -> str:
    """SQL of the value in our type, NULL where it cannot be converted."""
    if kind in ("DATE", "TIMESTAMP"):
        return _possible(_moment(expression, text, column, kind, table))
    if text and kind in ("DOUBLE", "INTEGER") and (table.thousands or table.decimal != "."):
        return f"TRY_CAST({number_sql(expression, table.thousands, table.decimal)} AS {kind})"
    return f"TRY_CAST({expression} AS {kind})"


def _moment(expression: str, text: bool, column: str, kind: str, table: TableMap) -> str:
    if text and column in table.formats:
        return f"CAST(try_strptime({expression}, {literal(table.formats[column])}) AS {kind})"
    return moment_sql(expression) if text and kind == "TIMESTAMP" else f"TRY_CAST({expression} AS {kind})"


def _possible(moment: str) -> str:
    """Nobody's record is of the first thousand years: 05/10/23 read with a year of four digits is."""
    return f"(CASE WHEN year({moment}) >= 1000 THEN {moment} END)"
