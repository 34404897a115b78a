"""Rows that a map leaves out by their number: faulty ones that a person looked at. They are counted and named. The numbers hold
for one file alone: a row that is not there, or that can be read after all, is a problem, and so is a number that two files of
one name have."""

from __future__ import annotations

import duckdb

from ple_model.data.importers.row_numbers import Rows, named
from ple_model.data.importers.scan_source import FILE, ROW
from ple_model.errors import did_you_mean
from ple_model.sql_text import literal, quote


def is_left_out(left_out: Rows) -> str:
    """SQL of a relation with `FILE` and `ROW`: is a row one of them?"""
    pairs = ", ".join(f"({literal(file)}, {row})" for file, rows in left_out.items() for row in rows)
    return f"({quote(FILE)}, {quote(ROW)}) IN ({pairs})"


def without(
    con: duckdb.DuckDBPyConnection, scan: str, left_out: Rows, where: str, problems: list[str]
) -> tuple[str, list[str]]:
    """The relation without those rows, and a note that counts them. A file or row that is not there is a problem."""
    if not left_out:
        return scan, []
    there: dict[str, set[int]] = {}
    n = 0
    for file, row in con.execute(f"SELECT {quote(FILE)}, {quote(ROW)} FROM {scan} WHERE {is_left_out(left_out)}").fetchall():
        if int(row) in there.setdefault(str(file), set()):
            problems.append(f"{where} names row {row} of '{file}', but several files have that name: rename one of them")
        there[str(file)].add(int(row))
        n += 1
    for file, rows in left_out.items():
        if absent := [r for r in rows if r not in there.get(file, ())]:
            files = [str(f) for (f,) in con.execute(f"SELECT DISTINCT {quote(FILE)} FROM {scan}").fetchall()]
            near = "" if file in files else did_you_mean(file, files)
            problems.append(f"{where} names row {absent[0]} of '{file}', which is not there{near}")
    note = f"{n:,} {'row was' if n == 1 else 'rows were'} left out by number ({named(left_out)}), as the map says"
    return f"(SELECT * FROM {scan} WHERE NOT {is_left_out(left_out)})", [note]


def readable(con: duckdb.DuckDBPyConnection, scan: str, left_out: Rows, is_right: str) -> list[str]:
    """The problem of rows among them that can be read: `is_right` is SQL. They were chosen in another file, or by mistake."""
    found = con.execute(
        f"SELECT {quote(FILE)}, {quote(ROW)} FROM {scan} WHERE {is_left_out(left_out)} AND ({is_right}) ORDER BY 1, 2"
    ).fetchall()
    if not found:
        return []
    file, row = found[0]
    return [
        f"{len(found):,} of the rows left out by their number can be read, for example row {row} of '{file}': is it still the"
        " file that they were chosen in?"
    ]
