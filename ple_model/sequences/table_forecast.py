"""A forecast of the series of any table with a time column, by whatever is best on its own past, with an interval.

Every series is cut by time: the first 70 % of its steps are learnt from, the next 10 % choose the way and measure the interval,
the last 20 % judge both. Each channel counts in deviations of its own first part, so that series of other sizes learn together.
The ways are those that a forecast is held against elsewhere (`simple_forecasts`), and on demand an encoder whose head begins as
the ridge regression and learns what that misses. The interval is what the chosen way missed in the second part, step by step of
the horizon and channel by channel (split conformal prediction, `conformal`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.conformal import ForecastBand, coverage, fit_band
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.fit_forecast import FitSettings, fit_forecast
from ple_model.sequences.heads import ForecastHead, ForecastModel
from ple_model.sequences.plain_series import PlainSeries
from ple_model.sequences.simple_forecasts import (
    Forecast,
    ForecastError,
    everywhere,
    fit_ridge,
    forecast_error,
    last_season,
    last_value,
    of_module,
)
from ple_model.sequences.windows import SplitWindows, TimeSplit, Windows, split_windows

LEARN, CHOOSE = 0.7, 0.1
"""Shares of a series' steps; the rest judges."""
SEASONS: tuple[tuple[np.timedelta64, int, str], ...] = (
    (np.timedelta64(1, "h"), 24, "a day"),
    (np.timedelta64(1, "D"), 7, "a week"),
    (np.timedelta64(7, "D"), 52, "a year"),
)
"""Steps of a season by the length of a step, and what it is called; months have 12."""
MOST_VALUES = 50_000_000
"""Numbers of a part's windows, 200 MB: of more every n-th window is used."""
JUDGED_WINDOWS = 20_000
"""Windows that the interval is measured on, and judged by, at most."""
EPOCHS, PATCHES = 6, 14
"""Of the encoder, as in the benchmark of forecasts (`ple bench forecast`): it costs minutes."""
Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class ForecastPlan:
    """What is asked. `season`: steps of a season; None: by the length of a step, where that has one."""

    horizon: int
    lookback: int
    season: int | None = None
    probability: float = 0.9
    encoder: bool = False
    seed: int = 0


@dataclass(frozen=True)
class SeriesAhead:
    """The next steps of one series: forecast, low, high [H, C] in its units, NaN where nothing of its end is seen."""

    name: str
    times: NDArray[np.datetime64]
    channels: tuple[str, ...]
    forecast: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class TableForecast:
    """`errors`: by way those of the last part, in deviations; `covered`: share of its values in the interval."""

    series: tuple[SeriesAhead, ...]
    chosen: str
    errors: dict[str, ForecastError]
    watched: dict[str, float]
    """Mean squared errors by which the way was chosen."""
    probability: float
    covered: float
    season: int | None
    windows: dict[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        plain = {k: v for k, v in vars(self).items() if k != "series"}
        return plain | {"errors": {k: asdict(v) for k, v in self.errors.items()}, "series": [s.name for s in self.series]}

    def __str__(self) -> str:
        n = self.windows
        lines = [
            f"{len(self.series):,} series; learnt from {n['train']:,} windows, chosen on {n['validation']:,}, judged on "
            f"{n['test']:,} later ones; errors in deviations of each channel",
            f"{'':<18}{'MSE':>8}{'MAE':>8}{'MSE, choosing':>16}",
        ]
        for way, e in self.errors.items():
            mark = "  <- chosen" if way == self.chosen else ""
            judged = f"{'unknown':>8}{'unknown':>8}" if math.isnan(e.mse) else f"{e.mse:>8.3f}{e.mae:>8.3f}"
            lines.append(f"{way:<18}{judged}{self.watched[way]:>16.3f}{mark}")
        said = "not measured" if np.isnan(self.covered) else f"{self.covered:.1%}"
        lines.append(f"values within the {self.probability:.0%} interval in the last part: {said}")
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])


def forecast_table(series: Sequence[PlainSeries], plan: ForecastPlan, tell: Tell = lambda share, what: None) -> TableForecast:
    """The next `plan.horizon` steps of every series. `UserError` for one that is too short, naming how long it must be."""
    if not 0 < plan.probability < 1:
        raise UserError(f"--probability: {plan.probability} is not valid, it must be between 0 and 1")
    season, notes = _season(series, plan)
    tell(0.0, "cutting")
    cut = {s.name: _split(s, plan) for s in series}
    data = _joined(list(cut.values()))
    tell(0.1, "fitting")
    if not data.validation.target_seen.any():
        raise UserError(
            f"no step of the choosing part (the {CHOOSE:.0%} after the first {LEARN:.0%}) is seen in any series: nothing says "
            f"which way is best"
        )
    if "ridge" not in (ways := _ways(data, plan, season, tell)):
        notes.append("the ridge regression is left out: no window of the first part is seen whole (a shorter --lookback helps)")
    if any(not s.seen.all() for s in series):
        notes.append("steps without a row, or that lack a number, are not read and do not count")
    watched = {name: forecast_error(way, data.validation).mse for name, way in ways.items()}
    chosen = min(watched, key=lambda name: watched[name])
    tell(0.9, "judging")
    errors = {name: forecast_error(way, data.test) for name, way in ways.items()}
    best = min(errors, key=lambda name: errors[name].mse)
    if not data.test.target_seen.any():
        notes.append("no step of the last part is seen: how the ways and the interval hold is not measured")
    elif best != chosen:
        notes.append(f"in the last part {best} would have been better ({errors[best].mse:.3f})")
    band, covered = _band(ways[chosen], data, plan.probability)
    if not np.isfinite(band.half).all():
        least = math.ceil(plan.probability / (1 - plan.probability) - 1e-9)
        notes.append(f"no interval: it takes {least:,} windows in the choosing part, there are {len(data.validation):,}")
    ahead = tuple(_ahead(s, cut[s.name], ways[chosen], band, plan) for s in series)
    if (blind := sum(bool(np.isnan(a.forecast).all()) for a in ahead)) > 0:
        notes.append(f"{blind} of {len(ahead)} series have no seen step in their last {plan.lookback}: they are left empty")
    tell(1.0, "forecasts")
    windows = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    return TableForecast(
        ahead, chosen, errors, watched, plan.probability, covered, season, windows, tuple(notes)
    )  # fmt: skip


def _season(series: Sequence[PlainSeries], plan: ForecastPlan) -> tuple[int | None, list[str]]:
    """Steps of a season and what to say of it."""
    if plan.season is not None:
        if plan.season > plan.lookback:
            raise UserError(f"--season: {plan.season} steps do not fit into a look-back of {plan.lookback}")
        return plan.season, []
    times = next((s.times for s in series if len(s) > 1), None)
    if times is None:
        return None, []
    step = times[1] - times[0]
    monthly = step >= np.timedelta64(28, "D")
    found = (12, "a year") if monthly else next(((n, what) for unit, n, what in SEASONS if step == unit), None)
    if found is None or found[0] > plan.lookback:
        return None, ["no season was named (--season N) and none follows from the step: last season is left out"]
    return found[0], [f"a season is taken to be {found[1]}, {found[0]} steps; --season N says otherwise"]


def _split(series: PlainSeries, plan: ForecastPlan) -> SplitWindows:
    n = len(series)
    train, validation = int(LEARN * n), int(CHOOSE * n)
    if train < plan.lookback + plan.horizon or validation < plan.horizon:
        needed = max(math.ceil((plan.lookback + plan.horizon) / LEARN), math.ceil(plan.horizon / CHOOSE))
        of = f"series '{series.name}'" if series.name else "the series"
        raise UserError(
            f"{of} has {n:,} steps; to look back on {plan.lookback} and forecast {plan.horizon} takes {needed:,}: choose a "
            f"shorter --lookback or --horizon"
        )
    return split_windows(series, TimeSplit(train, validation, n - train - validation), plan.lookback, plan.horizon)


def _joined(parts: Sequence[SplitWindows]) -> SplitWindows:
    """The windows of all series, each standardised by its own first part."""
    train, validation, test = (_thinned([getattr(p, k) for p in parts]) for k in ("train", "validation", "test"))
    channels = len(parts[0].mean)
    return SplitWindows(train, validation, test, np.zeros(channels), np.ones(channels))


def _thinned(parts: Sequence[Windows]) -> Windows:
    """One after the other; of more than `MOST_VALUES` numbers every n-th window."""
    total = sum(w.past.size + w.future.size for w in parts)
    every = max(1, -(-total // MOST_VALUES))
    few = [w.thinned(every) for w in parts] if every > 1 else list(parts)
    if len(few) == 1:
        return few[0]
    names = ("past", "future", "seen", "target_seen")
    return Windows(*(np.concatenate([getattr(w, k) for w in few]) for k in names))


def _ways(data: SplitWindows, plan: ForecastPlan, season: int | None, tell: Tell) -> dict[str, Forecast]:
    ways: dict[str, Forecast] = {"last value": last_value(plan.horizon)}
    if season is not None:
        ways["last season"] = last_season(plan.horizon, season)
    whole = data.train.seen.all(axis=1) & data.train.target_seen.all(axis=1)
    if whole.any():
        ridge = ways["ridge"] = fit_ridge(data)
        if plan.encoder:
            ways["ridge + encoder"] = _learnt(data, plan, ridge.weights, tell)
    elif plan.encoder:
        raise UserError("--encoder: no window of the first part is seen whole, which its start as a ridge regression takes")
    return ways


def _learnt(data: SplitWindows, plan: ForecastPlan, weights: NDArray[np.float64], tell: Tell) -> Forecast:
    patch = max(2, min(plan.lookback, -(-plan.lookback // PATCHES)))
    config = EncoderConfig(patch=patch, stride=patch, width=16, layers=2, dropout=0.2, min_scale=1e-4)
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        encoder = SequenceEncoder(config, data.train.past.shape[2], plan.lookback)
        head = ForecastHead(encoder, plan.horizon, linear=True, dropout=0.2)
        head.start_from(torch.from_numpy(weights).float())
        model = ForecastModel(encoder, head)
        settings = FitSettings(epochs=EPOCHS, batch=32, rate=3e-4, patience=2, seed=plan.seed)
        fit_forecast(model, data, settings, lambda epoch, error: tell(0.1 + 0.8 * epoch / EPOCHS, f"epoch {epoch}"))
    return of_module(model)


def _band(way: Forecast, data: SplitWindows, probability: float) -> tuple[ForecastBand, float]:
    """From the second part, and the share of the last part's values that it holds; NaN where it has too few windows."""
    watched, judged = (w.thinned(max(1, -(-len(w) // JUDGED_WINDOWS))) for w in (data.validation, data.test))
    said = everywhere(way, watched).astype(np.float64)
    band = fit_band(said, watched.future.astype(np.float64), watched.target_seen, probability=probability)
    if not np.isfinite(band.half).all():
        return band, math.nan
    tested = everywhere(way, judged).astype(np.float64)
    return band, coverage(band, tested, judged.future.astype(np.float64), judged.target_seen)


def _ahead(series: PlainSeries, cut: SplitWindows, way: Forecast, band: ForecastBand, plan: ForecastPlan) -> SeriesAhead:
    seen = series.seen[-plan.lookback :][None]
    known = np.where(seen[0][:, None], (series.values[-plan.lookback :] - cut.mean) / cut.std, 0.0)
    said = way(known[None].astype(np.float32), seen).astype(np.float64)
    if not seen.any():
        said = np.full_like(said, np.nan)
    units: Mapping[str, NDArray[np.float64]] = {
        name: x[0] * cut.std + cut.mean for name, x in zip(("forecast", "low", "high"), (said, *band.around(said)), strict=True)
    }
    return SeriesAhead(series.name, series.after(plan.horizon), series.channels, **units)
