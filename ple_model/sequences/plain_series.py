"""Plain series from a file: a table (CSV, Parquet, a spreadsheet) with a time column and columns of numbers, one series or,
with a column of ids, many.

Steps are evenly spaced, in time or in calendar months (the same day of each, or its last where it has no such day). A step
whose row is missing, or that lacks one of its numbers, is there and *not seen*; two rows of one time, or a time between two
steps, are errors that name the row: they are faults of the table and no gap.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from ple_model.data.events.connect import open_connection
from ple_model.data.importers.numbers import number_sql
from ple_model.data.importers.scan_source import FILE, ROW, scan_rows
from ple_model.data.importers.source_map import TableMap
from ple_model.errors import UserError, did_you_mean
from ple_model.sequences.table_times import said_text, time_column
from ple_model.sql_text import quote

Moments = NDArray[np.datetime64]
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",
           "DOUBLE", "DECIMAL", "BOOLEAN")  # fmt: skip
MAX_STEPS = 10_000_000
"""Steps of one series, gaps included: two times that lie centuries apart in a table of seconds are a slip of the pen."""


@dataclass(frozen=True, eq=False)
class PlainSeries:
    """One series, oldest step first."""

    name: str
    """Its id; empty where the table holds one series."""
    times: Moments
    """[T] evenly spaced."""
    values: NDArray[np.float64]
    """[T, C] 0 where not seen."""
    seen: NDArray[np.bool_]
    """[T] whether every channel has a number."""
    channels: tuple[str, ...]
    utc: bool = False
    """The table gave its times with an offset or a zone: they are UTC. Else they are as written."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def step(self) -> np.timedelta64:
        """How far apart its steps are, in whole months (unit M) or in microseconds. `UserError` of a single one."""
        if len(self.times) < 2:
            raise UserError(f"series '{self.name}' has {len(self.times)} steps: how far apart they are takes two")
        if self._day() is None:
            return np.timedelta64(self.times[1] - self.times[0])
        months = self.times[:2].astype("datetime64[M]")
        return np.timedelta64(months[1] - months[0])

    def _day(self) -> int | None:
        """The day of the month of all its steps; None where they are no months."""
        months, days = self.times.astype("datetime64[M]"), self.times.astype("datetime64[D]")
        return _day_of_months(months, days) if len(np.unique(self.times - days)) == 1 else None

    def after(self, n: int, step: np.timedelta64 | None = None) -> Moments:
        """The times of the `n` steps that follow its last one; `step`: that of the table, for a series of a single one."""
        step, day = self.step if step is None else step, self._day()
        if np.datetime_data(step)[0] != "M" or day is None:
            return np.asarray(self.times[-1] + step * np.arange(1, n + 1))
        hour = self.times[-1] - self.times[-1].astype("datetime64[D]")
        later = self.times[-1].astype("datetime64[M]") + step * np.arange(1, n + 1)
        return np.asarray(_on_day(later, day).astype("datetime64[us]") + hour)


def read_series(
    file: Path | str, *, time: str | None = None, ids: str | None = None, channels: Sequence[str] | None = None,
    reading: TableMap | None = None,
) -> list[PlainSeries]:  # fmt: skip
    """The series of a table, by id. `time`: its time column (default: the only one that reads as dates); `ids`: its column of
    ids; `channels`: the columns of numbers (default: all others); `reading`: encoding, sheet, the marks of its numbers.
    `UserError` names the file, the column, the row."""
    reading = reading or TableMap()
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file} does not exist; give a CSV or Parquet file with a time column")
    con = open_connection()
    scratch = Path(tempfile.mkdtemp(prefix="ple-series-"))
    try:
        con.execute(f"CREATE VIEW source AS SELECT * EXCLUDE ({quote(FILE)}) FROM {scan_rows(con, (file,), reading, scratch)}")
        return _split_by_id(file, *_columns(con, file, time, ids, channels, reading))
    except duckdb.Error as e:
        raise UserError(f"{file} cannot be read: {str(e).splitlines()[0]}") from e
    finally:
        con.close()
        shutil.rmtree(scratch, ignore_errors=True)


_Table = tuple[Moments, NDArray[np.object_], NDArray[np.float64], NDArray[np.int64], tuple[str, ...], bool]


def _columns(
    con: duckdb.DuckDBPyConnection, file: Path, time: str | None, ids: str | None, channels: Sequence[str] | None,
    reading: TableMap,
) -> _Table:  # fmt: skip
    """Times [N], ids [N], numbers [N, C] (NaN where there is none), row numbers [N], names of the channels, are times UTC?"""
    types = {str(r[0]): str(r[1]).split("(")[0] for r in con.execute("DESCRIBE source").fetchall()}
    del types[ROW]
    for name in (time, ids, *(channels or ())):
        if name is not None and name not in types:
            raise UserError(f"{file} has no column '{name}'{did_you_mean(name, types)}")
    if channels and (twice := [c for c in dict.fromkeys(channels) if channels.count(c) > 1]):
        raise UserError(
            f"{file}: column '{twice[0]}' is named {channels.count(twice[0])} times among the channels; name it once"
        )
    moment = time_column(con, file, types, time, ids)
    chosen = tuple(channels) if channels else tuple(c for c in types if c not in (moment.name, ids))
    if not chosen:
        raise UserError(f"{file} has no column beside its times and ids: there is nothing to read as a series")
    numbers = {c: _number(c, types[c], reading) for c in chosen}
    who = f"{quote(ids)}::VARCHAR" if ids else "''"
    read = ", ".join(f"{sql} AS {quote(f'c{k}')}" for k, sql in enumerate(numbers.values()))
    order = f"ORDER BY {quote(ROW)}"
    found = con.execute(f"SELECT {moment.sql} AS t, {who} AS id, {quote(ROW)} AS row, {read} FROM source {order}").fetchnumpy()
    rows = np.asarray(found["row"], np.int64)
    if not len(rows):
        raise UserError(f"{file} has no rows")
    _require_numbers(con, file, chosen, types, reading)
    times = np.ma.asarray(found["t"])
    lost = np.flatnonzero(np.ma.getmaskarray(times) | np.isnat(np.asarray(times.data, "datetime64[us]")))
    if len(lost):
        raise UserError(f"{file}: row {rows[lost[0]]} has no time in '{moment.name}' ({len(lost):,} such rows)")
    names = np.ma.asarray(found["id"])
    nameless = np.flatnonzero(np.ma.getmaskarray(names))
    if len(nameless):
        raise UserError(f"{file}: row {rows[nameless[0]]} has no id in '{ids}' ({len(nameless):,} such rows)")
    values = [np.ma.filled(np.ma.asarray(found[f"c{k}"]).astype(np.float64), np.nan) for k in range(len(chosen))]
    return (
        np.asarray(times.data, "datetime64[us]"), np.asarray(names.data, object), np.stack(values, axis=1), rows, chosen,
        moment.utc,
    )  # fmt: skip


def _number(name: str, kind: str, reading: TableMap) -> str:
    return f"TRY_CAST({_unmarked(name, reading) if kind == 'VARCHAR' else quote(name)} AS DOUBLE)"


def _unmarked(name: str, reading: TableMap) -> str:
    """SQL of a number's text without marks of thousands and with a decimal point; NULL where its digits are not grouped by
    them."""
    text = said_text(name)
    if (reading.thousands, reading.decimal) == ("", "."):
        return text
    return f"({number_sql(text, reading.thousands, reading.decimal)})"


def _require_numbers(
    con: duckdb.DuckDBPyConnection, file: Path, chosen: Sequence[str], types: Mapping[str, str], reading: TableMap
) -> None:
    for name in chosen:
        if types[name] in NUMBERS:
            wrong = f"isinf({quote(name)}::DOUBLE)"
        elif types[name] == "VARCHAR":
            number = _number(name, types[name], reading)
            wrong = f"{said_text(name)} IS NOT NULL AND ({number} IS NULL OR isinf({number}))"
        else:
            raise UserError(f"{file}: column '{name}' holds {types[name]}, not numbers; leave it out of the channels")
        query = f"SELECT {quote(ROW)}, {quote(name)}::VARCHAR FROM source WHERE {wrong} ORDER BY {quote(ROW)} LIMIT 1"
        for row, value in con.execute(query).fetchall():
            raise UserError(
                f"{file}: row {row}, column '{name}': '{value}' is no number; leave the cell empty where there is none, or "
                f"name the column as the one of ids"
            )


def _split_by_id(
    file: Path, times: Moments, names: NDArray[np.object_], values: NDArray[np.float64], rows: NDArray[np.int64],
    channels: tuple[str, ...], utc: bool,
) -> list[PlainSeries]:  # fmt: skip
    for c, name in enumerate(channels):
        if np.isnan(values[:, c]).all():
            raise UserError(f"{file}: column '{name}' has no number at all; leave it out of the channels")
    number = {who: k for k, who in enumerate(dict.fromkeys(names.tolist()))}
    whose = np.fromiter((number[who] for who in names.tolist()), np.int64, len(names))
    order = np.lexsort((times, whose))
    out = []
    for who, mine in zip(number, np.split(order, np.flatnonzero(np.diff(whose[order])) + 1), strict=True):
        of = f"{file}: series '{who}'" if who else str(file)
        out.append(replace(_even(of, str(who), times[mine], values[mine], rows[mine], channels), utc=utc))
    return out


def _even(
    of: str, name: str, times: Moments, values: NDArray[np.float64], rows: NDArray[np.int64], channels: tuple[str, ...]
) -> PlainSeries:
    """The rows on evenly spaced steps."""
    place, grid = _steps(of, times, rows)
    whole = np.full((len(grid), values.shape[1]), np.nan)
    whole[place] = values
    seen = ~np.isnan(whole).any(axis=1)
    return PlainSeries(name, grid, np.where(seen[:, None], whole, 0.0), seen, channels)


def _steps(of: str, times: Moments, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Moments]:
    """The step of every row, and the time of every step. The step is the most frequent distance of two times, in whole months
    where all times lie on one day of the month (the last where a month is shorter) at one hour."""
    ticks = times.astype(np.int64)
    same = np.flatnonzero(np.diff(ticks) == 0)
    if len(same):
        a, b = rows[same[0]], rows[same[0] + 1]
        clock = times[same[0]] != times[same[0]].astype("datetime64[D]")
        hint = "; local times come twice when clocks go back: write them with their offset, as 2024-10-27T02:00:00+01:00"
        raise UserError(
            f"{of}: rows {a} and {b} have the same time, {times[same[0]]} ({len(same):,} such pairs){hint if clock else ''}"
        )
    if len(ticks) < 2:
        return np.zeros(len(ticks), np.int64), times
    months, days = times.astype("datetime64[M]"), times.astype("datetime64[D]")
    day = _day_of_months(months, days) if len(np.unique(times - days)) == 1 else None
    monthly = day is not None
    counted = months.astype(np.int64) if monthly else ticks
    distances, often = np.unique(np.diff(counted), return_counts=True)
    step = int(distances[often.argmax()])
    off = np.flatnonzero((counted - counted[0]) % step)
    if len(off):
        raise UserError(
            f"{of}: row {rows[off[0]]} has the time {times[off[0]]}, which lies between two steps of "
            f"{_said(step, monthly)} from {times[0]} on ({len(off):,} such rows); bring the table to even steps first"
        )
    place = (counted - counted[0]) // step
    n = int(place[-1]) + 1
    if n > MAX_STEPS:
        raise UserError(
            f"{of}: from {times[0]} to {times[-1]} are {n:,} steps of {_said(step, monthly)}, at most {MAX_STEPS:,}"
        )
    every = counted[0] + step * np.arange(n)
    if day is None:
        return place, every.astype("datetime64[us]")
    return place, _on_day(every.astype("datetime64[M]"), day).astype("datetime64[us]") + (times[0] - days[0])


def _day_of_months(months: Moments, days: Moments) -> int | None:
    """The day of the month that all days lie on, 31 where each is its month's last; None where they do not, or two share a
    month."""
    if not np.diff(months.astype(np.int64)).all():
        return None
    last = int(((days - months.astype("datetime64[D]")).astype(np.int64) + 1).max())
    return next((d for d in (31, last) if (_on_day(months, d) == days).all()), None)


def _on_day(months: Moments, day: int) -> Moments:
    """This day of each month, or its last where it is shorter."""
    first, after = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
    return np.asarray(np.minimum(first + np.timedelta64(day - 1, "D"), after - np.timedelta64(1, "D")))


def _said(step: int, monthly: bool) -> str:
    return f"{step} months" if monthly else str(np.timedelta64(step, "us").astype(object))
