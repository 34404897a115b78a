"""Rows of a source's files by their numbers, as a map names those that it leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ple_model.arguments import shown
from ple_model.errors import UserError

MOST = 10_000
"""Rows of one table: where more cannot be read, the map is wrong."""
NAMED = 5
"""Rows of a file that a sentence names."""
Rows = Mapping[str, tuple[int, ...]]
"""By the file's name, rows as `scan_rows` counts them."""


def parse_rows(where: str, value: Any) -> dict[str, tuple[int, ...]]:
    """`{payments.csv: [17, 204]}` of a map; `UserError` names what is no row."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {shown(value)}; give rows by file, for example {{payments.csv: [17, 204]}}")
    out = {}
    for file, rows in value.items():
        if not isinstance(rows, list) or not rows:
            raise UserError(f"{where}.{file} is {shown(rows)}; give a list of row numbers, for example [17, 204]")
        for row in rows:
            if not isinstance(row, int) or isinstance(row, bool) or row < 1:
                raise UserError(f"{where}.{file}: {shown(row)} is no row; rows are whole numbers, the first of a file is 1")
        out[str(file)] = tuple(sorted(set(rows)))
    if (n := sum(map(len, out.values()))) > MOST:
        raise UserError(f"{where} names {n:,} rows; at most {MOST:,} are left out by number: correct the map or the file")
    return out


def with_rows(left_out: Rows, more: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """Those and some more."""
    out = {file: set(rows) for file, rows in left_out.items()}
    for file, row in more:
        out.setdefault(file, set()).add(row)
    return {file: tuple(sorted(rows)) for file, rows in sorted(out.items())}


def named(left_out: Rows) -> str:
    """`a.csv: 17, 204; b.csv: 3`, of a file the first few."""
    return "; ".join(
        f"{Path(file).name}: {', '.join(map(str, rows[:NAMED]))}{f' and {len(rows) - NAMED:,} more' * (len(rows) > NAMED)}"
        for file, rows in left_out.items()
    )
