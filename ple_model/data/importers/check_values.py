"""Values that a type cannot hold: how many, an example, and the key of the map that reads them; else they would be lost."""

from __future__ import annotations

import duckdb

from ple_model.data.events.sql import has_zone
from ple_model.data.importers.read_dates import date_readings
from ple_model.data.importers.read_numbers import NumberReading, number_reading

KINDS = {"TIMESTAMP": "moment", "DATE": "date", "DOUBLE": "number", "INTEGER": "whole number"}
"""What a value of a SQL type is called."""


def _zones(con: duckdb.DuckDBPyConnection, scan: str, text: str, where: str, problems: list[str]) -> None:
    """Moments with a time zone become UTC; beside them, those without could be anything."""
    try:
        zoned, plain, example = con.execute(
            f"SELECT count(*) FILTER ({has_zone(text)}), count(*) FILTER (NOT {has_zone(text)}),"
            f" min({text}) FILTER (NOT {has_zone(text)}) FROM {scan}"
        ).fetchall()[0]
    except duckdb.Error:
        return  # what cannot be read at all is said by the caller
    if zoned and plain:
        problems.append(f"{where} has {plain:,} moments without a time zone beside {zoned:,} with one, for example {example!r}")


def _number_keys(reading: NumberReading | None) -> str:
    """The keys of the map that read most of the values."""
    if reading is None or 2 * reading.read <= reading.total:
        return "for example thousands: ',' or decimal: ','"
    ways = [reading, *([reading.rival] if reading.rival is not None else [])]
    said = [
        " and ".join(
            [f"thousands: '{w.thousands}'"] * bool(w.thousands) + [f"decimal: '{w.decimal}'"] * (w.decimal != ".")
        ) or "without thousands and decimal"
        for w in ways
    ]  # fmt: skip
    return " or ".join(f"as {s}" for s in said)


def check_values(
    con: duckdb.DuckDBPyConnection, scan: str, expression: str, converted: str, kind: str, where: str, problems: list[str]
) -> None:
    """Values that cannot become `kind` are counted with an example: they would silently be lost."""
    if kind == "VARCHAR":
        return
    lost = f"{converted} IS NULL"
    if kind == "INTEGER":  # a cast would round
        lost += f" OR TRY_CAST({expression} AS DOUBLE) <> {converted}"
    if kind == "TIMESTAMP":
        _zones(con, scan, f"CAST({expression} AS VARCHAR)", where, problems)
    bad = f"{expression} IS NOT NULL AND ({lost})"
    try:
        found = con.execute(
            f"SELECT count(*) FILTER ({bad}), min(CAST({expression} AS VARCHAR)) FILTER ({bad}), count({expression}),"
            f" count(DISTINCT CAST({expression} AS VARCHAR)) FILTER ({bad}) FROM {scan}"
        ).fetchall()[0]
    except duckdb.Error as e:
        problems.append(f"{where} cannot be read as a {KINDS[kind]}: {str(e).splitlines()[0][:120]}")
        return
    count, example, filled, different = int(found[0]), str(found[1]), int(found[2]), int(found[3])
    if count:
        column = where.rsplit(".", 1)[1]
        hint = ""
        values = f"(SELECT v FROM (SELECT DISTINCT CAST({expression} AS VARCHAR) AS v FROM {scan}) WHERE v IS NOT NULL)"
        if kind in ("DATE", "TIMESTAMP"):
            readings = (r for r in date_readings(con, values) if r.format and r.read > max(r.total // 2, r.total - different))
            ways = [r.format for r in readings]
            if ways or 2 * count > filled:
                shown = (
                    " or ".join(f"formats: {{{column}: '{way}'}}" for way in ways[:2]) or f"formats: {{{column}: '%d.%m.%Y'}}"
                )
                hint = f" (how dates are written goes into the map, {'as' if ways else 'for example'} {shown})"
        elif any(mark in example for mark in ",. ") or not example.isascii():
            reading = number_reading(con, values)
            if 2 * count > filled or (reading is not None and reading.read > reading.total - different):
                hint = f" (how numbers are written goes into the map, {_number_keys(reading)})"
        hint = hint or (" (a few rows can be left out: 'leave_out' of the map)" if 2 * count <= filled else "")
        many = "1 value that is" if count == 1 else f"{count:,} values that are"
        problems.append(f"{where} has {many} no {KINDS[kind]}, for example {example[:40]!r}{hint}")
