"""Numbers in text as SQL: grouped digits, decimal marks, currency signs, and the ways to write a negative amount."""

from __future__ import annotations

from ple_model.data.importers.currencies import PATTERN
from ple_model.sql_text import literal

MINUS = "−△▲-"
"""Signs of a negative amount; the triangles are the bookkeeper's in Korea and Japan."""
_BESIDE = rf"[\s\p{{Z}}]|{PATTERN}"
"""What may stand beside the digits and goes."""
LOST_DIGITS = r"^[0-9]([.,][0-9]+)?[eE]\+[0-9]{2,}$"
"""An id that a spreadsheet took for a number: 9.41017E+15."""


def _bare(text: str) -> str:
    return f"regexp_replace({text}, {literal(_BESIDE)}, '', 'g')"


def number_sql(text: str, thousands: str, decimal: str) -> str:
    """SQL: `text` as a plain number, NULL where its digits are not grouped by `thousands`: 1.5 is not 15, and 0,852 no
    thousand. Currency signs go; (5), 5- and the signs of `MINUS` are negative."""
    # most numbers have nothing beside their digits, and the pattern with every currency's code costs as much as all the rest
    bare = f"CASE WHEN translate({text}, '0123456789.,-', '') = '' THEN {text} ELSE {_bare(text)} END"
    digits = f"regexp_replace({bare}, '[()+{MINUS}]', '', 'g')"
    groups = rf"[1-9]\d{{0,2}}([{thousands}]\d{{3}})+|" if thousands.strip() else ""
    whole = literal(rf"^({groups}\d+)([{decimal}]\d+)?$")
    number = f"replace({digits}, {literal(thousands)}, '')" if thousands else digits
    sign = f"CASE WHEN regexp_matches({bare}, '^([(].*[)]|[{MINUS}].*|.*[-−])$') THEN '-' ELSE '' END"
    return f"CASE WHEN regexp_matches({digits}, {whole}) THEN {sign} || replace({number}, {literal(decimal)}, '.') END"
