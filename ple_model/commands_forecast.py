"""`ple forecast`; `commands_model` lists it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ple_model.arguments import COUNT, PROCESSES, file_in, file_out, share
from ple_model.arguments import text as words
from ple_model.commands import Arguments, Command, add_json
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.threads import settle
from ple_model.ticker import bar

if TYPE_CHECKING:
    from pathlib import Path

    from ple_model.sequences.table_forecast import TableForecast

THOUSANDS, DECIMALS = ("", ",", ".", " ", "'"), (".", ",")
"""Marks of numbers, as in an import map."""
DIGITS = 12
"""Of a number that is written: whole currency units up to a million millions."""
LOOKBACK = 4
"""Horizons that are looked back on unless said otherwise."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=file_in, metavar="FILE", help="table with a time column: CSV, Parquet or a spreadsheet")
    parser.add_argument(
        "out", type=file_out, metavar="OUT.csv",
        help="file to write, one row a series, step and channel: id, time, channel, forecast, low, high",
    )  # fmt: skip
    parser.add_argument("--time", type=words, metavar="COLUMN", help="its times (default: the only column that reads as times)")
    parser.add_argument("--id", type=words, metavar="COLUMN", help="which series a row is of (default: the table holds one)")
    parser.add_argument(
        "--channel", action="append", default=[], type=words, metavar="COLUMN",
        help="a column of numbers to forecast, may be repeated (default: all others)",
    )  # fmt: skip
    parser.add_argument("--encoding", type=words, metavar="NAME", help="of a text file that is not in utf-8, for example cp949")
    parser.add_argument("--sheet", type=words, metavar="NAME", help="of a spreadsheet with several")
    parser.add_argument("--thousands", type=words, default="", metavar="MARK", help="between thousands, for example , in 1,450")
    parser.add_argument("--decimal", type=words, default=".", metavar="MARK", help="before decimals (default: .)")
    parser.add_argument("--horizon", type=COUNT, default=24, metavar="N", help="steps ahead (default: 24)")
    parser.add_argument(
        "--lookback", type=COUNT, metavar="N", help=f"steps that a forecast reads (default: {LOOKBACK} horizons)"
    )
    parser.add_argument(
        "--season",
        type=COUNT,
        metavar="N",
        help="steps of a season (default: a day of hours, a week of days, a year of months)",
    )
    parser.add_argument(
        "--probability", type=share, default=0.9, metavar="P", help="that a value lies within the interval (default: 0.9)"
    )
    parser.add_argument(
        "--encoder", action="store_true",
        help="train a sequence encoder too, from the ridge regression on: minutes; it is used where it was better",
    )  # fmt: skip
    parser.add_argument("--threads", type=PROCESSES, metavar="N", help="CPU threads (default: torch's own choice)")
    parser.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    add_json(parser)


def _run(arguments: Arguments) -> int:
    settle(arguments.threads)
    _require_table_out(arguments.file, arguments.out)
    import torch

    from ple_model.data.importers.source_map import TableMap
    from ple_model.sequences.plain_series import read_series
    from ple_model.sequences.table_forecast import forecast_table
    from ple_model.sequences.table_series import ForecastPlan

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    _require_marks(arguments.thousands, arguments.decimal)
    plan = ForecastPlan(
        arguments.horizon, arguments.lookback or LOOKBACK * arguments.horizon, arguments.season, arguments.probability,
        arguments.encoder,
    )  # fmt: skip
    reading = TableMap(
        encoding=arguments.encoding, sheet=arguments.sheet, thousands=arguments.thousands, decimal=arguments.decimal
    )
    series = read_series(
        arguments.file, time=arguments.time, ids=arguments.id, channels=arguments.channel or None, reading=reading
    )
    tick = bar(quiet=arguments.quiet)
    found = forecast_table(series, plan, lambda done, what: tick(what, done))
    _write(arguments.out, found)
    print(dump(found.to_dict()) if arguments.json else f"{found}\n{arguments.out}")
    return 0


def _require_table_out(file: Path, out: Path) -> None:
    """`UserError` for an output that is the input (by another name, too), or whose name says another format than it has."""
    if out.exists() and out.samefile(file):
        raise UserError(f"{out} is the table that is read; name another file to write")
    if out.suffix.lower() != ".csv":
        raise UserError(
            f"{out}: the forecast is written as CSV; name a file that ends in .csv, for example {out.with_suffix('.csv')}"
        )


def _require_marks(thousands: str, decimal: str) -> None:
    """`UserError` for marks of numbers that an import map would not take."""
    for option, mark, allowed in (("thousands", thousands, THOUSANDS), ("decimal", decimal, DECIMALS)):
        if mark not in allowed:
            raise UserError(f"--{option}: {mark!r} is no such mark; give one of {', '.join(repr(a) for a in allowed if a)}")
    if thousands == decimal:
        raise UserError(f"--thousands: {thousands!r} is the mark before decimals; say --decimal too, for example --decimal ,")


def _write(out: Path, found: TableForecast) -> None:
    import csv
    import io

    import numpy as np

    from ple_model.safe_paths import write_bytes

    def cell(value: float) -> str:
        return np.format_float_positional(value, DIGITS, fractional=False, trim="-") if np.isfinite(value) else ""

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "time", "channel", "forecast", "low", "high"))
    for s in found.series:
        for h, time in enumerate(s.times):
            said = np.datetime_as_string(time, unit="s").replace("T", " ")
            for c, channel in enumerate(s.channels):
                writer.writerow((s.name, said, channel, *(cell(x[h, c]) for x in (s.forecast, s.low, s.high))))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, text.getvalue().encode())


FORECAST = Command("forecast", "forecast the series of any table with a time column, with an interval", _configure, _run)
