"""Which series of a table are forecast, and which of them say how: one step for all, long enough, and moving from the start.

Every series is cut by its own time: the first 70 % of its steps are learnt from, the next 10 % choose the way and measure the
interval, the last 20 % judge both. A series that stands still in its first part and moves later has no deviation to count in:
it is forecast, but chooses and measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ple_model.errors import UserError
from ple_model.sequences.plain_series import PlainSeries
from ple_model.sequences.windows import SplitWindows, TimeSplit, split_windows

LEARN, CHOOSE = 0.7, 0.1
"""Shares of a series' steps; the rest judges."""
SEASONS: tuple[tuple[np.timedelta64, int, str], ...] = (
    (np.timedelta64(1, "h"), 24, "a day"),
    (np.timedelta64(1, "D"), 7, "a week"),
    (np.timedelta64(7, "D"), 52, "a year"),
)
"""Steps of a season by the length of a step, and what it is called; of months as many as make a year."""
NAMED = 3
"""Series that a note names at most."""


@dataclass(frozen=True)
class ForecastPlan:
    """What is asked. `season`: steps of a season; None: by the length of a step, where that has one."""

    horizon: int
    lookback: int
    season: int | None = None
    probability: float = 0.9
    encoder: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TableSeries:
    """The series of a table: `cut`, by name, those that are forecast; `moving`, the names of those that also choose the way and
    measure the interval; `step`, that of all."""

    cut: Mapping[str, SplitWindows]
    moving: tuple[str, ...]
    step: np.timedelta64
    notes: tuple[str, ...]

    @property
    def learnt(self) -> list[SplitWindows]:
        return [self.cut[name] for name in self.moving]


def cut_table(series: Sequence[PlainSeries], plan: ForecastPlan) -> TableSeries:
    """`UserError` where no series is long enough, naming how long it must be, where two have other steps, or none moves."""
    reasons = {s.name: reason for s in series if (reason := _unfit(s, plan))}
    fit = [s for s in series if s.name not in reasons]
    if not fit:
        raise UserError(next(iter(reasons.values()), "the table has no series"))
    step = _common_step(fit)
    cut = {s.name: split_windows(s, _parts(s), plan.lookback, plan.horizon) for s in fit}
    late = [s.name for s in fit if _moves_late(s)]
    if len(late) == len(fit):
        raise UserError(
            f"{_of(fit[0])} stands still in its first {LEARN:.0%} and moves later, and no other moves before: there is "
            f"nothing to learn from; begin the table where it moves"
        )
    notes = []
    if reasons:
        notes.append(f"left empty: {some(list(reasons.values()))}")
    if late:
        notes.append(
            f"no interval of {some(late)}: standing still in the first {LEARN:.0%} and moving later, there is no deviation to "
            f"count in, and nothing is chosen or measured on it"
        )
    end = max(s.times[-1] for s in series)
    if early := [f"{s.name} ({np.datetime_as_string(s.times[-1], unit='m')})" for s in series if s.times[-1] < end]:
        notes.append(f"{len(early)} of {len(series)} series end before the others and are forecast from there: {some(early)}")
    if any(s.utc for s in series):
        notes.append("the table's times have an offset or a zone: times are UTC")
    return TableSeries(cut, tuple(s.name for s in fit if s.name not in late), step, tuple(notes))


def season_of(step: np.timedelta64, plan: ForecastPlan) -> tuple[int | None, list[str]]:
    """Steps of a season and what to say of it."""
    if plan.season is not None:
        if plan.season > plan.lookback:
            raise UserError(f"--season: {plan.season} steps do not fit into a look-back of {plan.lookback}")
        return plan.season, []
    found = _season(step)
    if found is None:
        return None, ["no season was named (--season N) and none follows from the step: last season is left out"]
    n, what = found
    if n > plan.lookback:
        return None, [
            f"a season of {n} steps, {what}, does not fit into a look-back of {plan.lookback}: last season is left out"
        ]
    return n, [f"a season is taken to be {what}, {n} steps; --season N says otherwise"]


def _season(step: np.timedelta64) -> tuple[int, str] | None:
    if np.datetime_data(step)[0] == "M":
        months = int(step.astype(np.int64))
        return (12 // months, "a year") if months < 12 and 12 % months == 0 else None
    return next(((n, what) for unit, n, what in SEASONS if step == unit), None)


def some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _of(series: PlainSeries) -> str:
    return f"series '{series.name}'" if series.name else "the series"


def _parts(series: PlainSeries) -> TimeSplit:
    n = len(series)
    train, validation = int(LEARN * n), int(CHOOSE * n)
    return TimeSplit(train, validation, n - train - validation)


def _unfit(series: PlainSeries, plan: ForecastPlan) -> str:
    """Why it cannot be cut; empty where it can."""
    parts = _parts(series)
    if parts.train < plan.lookback + plan.horizon or parts.validation < plan.horizon:
        needed = max(math.ceil((plan.lookback + plan.horizon) / LEARN), math.ceil(plan.horizon / CHOOSE))
        return (
            f"{_of(series)} has {len(series):,} steps; to look back on {plan.lookback} and forecast {plan.horizon} takes "
            f"{needed:,}: choose a shorter --lookback or --horizon"
        )
    if not series.seen[: parts.train].any():
        return f"{_of(series)} has no seen step in its first {LEARN:.0%}"
    return ""


def _moves_late(series: PlainSeries) -> bool:
    """Does a channel have one value in the first part, and another one later?"""
    train = _parts(series).train
    first, later = (series.values[at][series.seen[at]] for at in (slice(train), slice(train, None)))
    still = np.ptp(first, axis=0) == 0
    return bool((still & (later != first[0]).any(axis=0)).any())


def _common_step(series: Sequence[PlainSeries]) -> np.timedelta64:
    first, step = series[0], series[0].step
    for other in series[1:]:
        if (np.datetime_data(other.step), other.step.astype(np.int64)) != (np.datetime_data(step), step.astype(np.int64)):
            raise UserError(
                f"series '{first.name}' has steps of {_said(step)}, series '{other.name}' of {_said(other.step)}: forecast "
                f"series of one step together, others from a table of their own"
            )
    return step


def _said(step: np.timedelta64) -> str:
    if np.datetime_data(step)[0] == "M":
        return f"{step.astype(np.int64)} months"
    return str(step.astype("timedelta64[us]").astype(object))
