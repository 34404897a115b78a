"""Names and texts inside SQL."""

from __future__ import annotations

from collections.abc import Iterable


def quote(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """SQL text."""
    return "'" + text.replace("'", "''") + "'"


def sql_list(values: Iterable[str]) -> str:
    """SQL literals, separated by commas."""
    return ", ".join("'" + v.replace("'", "''") + "'" for v in values)
