"""A forecast of the series of any table with a time column, by whatever is best on its own past, with an interval.

Every series is cut by time (`table_series`). Each channel counts in deviations of its own first part, so that series of other
sizes learn together.
The ways are those that a forecast is held against elsewhere (`simple_forecasts`), and on demand an encoder whose head begins as
the ridge regression and learns what that misses. The interval is what the chosen way missed in the second part, step by step of
the horizon and channel by channel, over all series together (split conformal prediction, `conformal`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from ple_model.sequences.table_series import CHOOSE, LEARN, ForecastPlan, TableSeries, cut_table, season_of
from ple_model.sequences.windows import SplitWindows, Windows

MOST_VALUES = 50_000_000
"""Numbers of a part's windows, 200 MB: of more one window in n is drawn."""
JUDGED_WINDOWS = 20_000
"""Windows that the interval is measured on, and judged by, at most."""
EPOCHS, PATCHES = 6, 14
"""Of the encoder, as in the benchmark of forecasts (`ple bench forecast`): it costs minutes."""
Tell = Callable[[float, str], None]


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
    """`errors`: by way those of the last part, in deviations; `covered`: share of its values in the interval, over all series
    together; `covered_by`: by series."""

    series: tuple[SeriesAhead, ...]
    chosen: str
    errors: dict[str, ForecastError]
    watched: dict[str, float]
    """Mean squared errors by which the way was chosen."""
    probability: float
    covered: float
    covered_by: dict[str, float]
    season: int | None
    windows: dict[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        plain = {k: v for k, v in vars(self).items() if k != "series"}
        return plain | {"errors": {k: asdict(v) for k, v in self.errors.items()}, "series": [s.name for s in self.series]}

    def _by_series(self) -> str:
        if len(self.covered_by) < 2:
            return ""
        low, high = (pick(self.covered_by, key=lambda name: self.covered_by[name]) for pick in (min, max))
        ends = (f"{self.covered_by[name]:.1%} ({name})" for name in (low, high))
        return f" over all series together, by series from {' to '.join(ends)}"

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
        where = "interval, measured where the way was chosen, in the last part"
        lines.append(f"values within the {self.probability:.0%} {where}: {said}{self._by_series()}")
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])


def forecast_table(series: Sequence[PlainSeries], plan: ForecastPlan, tell: Tell = lambda share, what: None) -> TableForecast:
    """The next `plan.horizon` steps of every series; `UserError` as of `cut_table`."""
    if not 0 < plan.probability < 1:
        raise UserError(f"--probability: {plan.probability} is not valid, it must be between 0 and 1")
    tell(0.0, "cutting")
    table = cut_table(series, plan)
    season, notes = season_of(table.step, plan)
    notes += table.notes
    data = _joined(table.learnt)
    tell(0.1, "fitting")
    if not data.validation.target_seen.any():
        raise UserError(
            f"no step of the choosing part (the {CHOOSE:.0%} after the first {LEARN:.0%}) is seen in any series: nothing says "
            f"which way is best"
        )
    if "ridge" not in (ways := _ways(data, plan, season, tell)):
        notes.append(
            "the ridge regression is left out: no window of the first part is seen whole (a shorter --lookback helps where "
            "gaps lie far apart; weekends do not)"
        )
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
    band = _band(ways[chosen], data, plan.probability)
    covered, covered_by = _held(ways[chosen], band, table)
    notes += _of_interval(band, table, plan)
    ahead = tuple(_ahead(s, table, ways[chosen], band, plan) for s in series)
    if (blind := sum(bool(np.isnan(a.forecast).all()) for a in ahead if a.name in table.cut)) > 0:
        notes.append(f"{blind} of {len(ahead)} series have no seen step in their last {plan.lookback}: they are left empty")
    tell(1.0, "forecasts")
    windows = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    return TableForecast(
        ahead, chosen, errors, watched, plan.probability, covered, covered_by, season, windows, tuple(notes)
    )  # fmt: skip


def _joined(parts: Sequence[SplitWindows]) -> SplitWindows:
    """The windows of all series, each standardised by its own first part."""
    train, validation, test = (_thinned([getattr(p, k) for p in parts]) for k in ("train", "validation", "test"))
    channels = len(parts[0].mean)
    return SplitWindows(train, validation, test, np.zeros(channels), np.ones(channels))


def _thinned(parts: Sequence[Windows]) -> Windows:
    """One after the other; of more than `MOST_VALUES` numbers one window in n."""
    total = sum(w.past.size + w.future.size for w in parts)
    every = max(1, -(-total // MOST_VALUES))
    few = [w.drawn(every, seed) for seed, w in enumerate(parts)] if every > 1 else list(parts)
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


def _band(way: Forecast, data: SplitWindows, probability: float) -> ForecastBand:
    """From the second part."""
    watched = data.validation.drawn(-(-len(data.validation) // JUDGED_WINDOWS))
    said = everywhere(way, watched).astype(np.float64)
    return fit_band(said, watched.future.astype(np.float64), watched.target_seen, probability=probability)


def _held(way: Forecast, band: ForecastBand, table: TableSeries) -> tuple[float, dict[str, float]]:
    """Share of the last part's seen values in the interval, over all series together and by series; NaN and none where there is
    no interval, or no seen value."""
    if not np.isfinite(band.half).all():
        return math.nan, {}
    every = -(-sum(len(cut.test) for cut in table.learnt) // JUDGED_WINDOWS)
    shares, weights = {}, []
    for name, cut in zip(table.moving, table.learnt, strict=True):
        judged = cut.test.drawn(every)
        if (seen := int(judged.target_seen.sum())) == 0:
            continue
        said = everywhere(way, judged).astype(np.float64)
        shares[name] = coverage(band, said, judged.future.astype(np.float64), judged.target_seen)
        weights.append(seen)
    return (float(np.average(list(shares.values()), weights=weights)) if shares else math.nan), shares


def _of_interval(band: ForecastBand, table: TableSeries, plan: ForecastPlan) -> list[str]:
    """What keeps the interval from being one."""
    least = math.ceil(plan.probability / (1 - plan.probability) - 1e-9)
    if not np.isfinite(band.half).all():
        return [
            f"no interval: it takes {least:,} seen values of every step ahead in the choosing part, of one there are {band.n:,}"
        ]
    apart = sum((len(cut.validation) + plan.horizon - 1) // plan.horizon for cut in table.learnt)
    if apart < least:
        return [
            f"the interval rests on few windows: {apart:,} that do not overlap, {plan.probability:.0%} takes {least:,}; it "
            f"may be far too narrow"
        ]
    return []


def _ahead(series: PlainSeries, table: TableSeries, way: Forecast, band: ForecastBand, plan: ForecastPlan) -> SeriesAhead:
    times = series.after(plan.horizon, table.step)
    cut, seen = table.cut.get(series.name), series.seen[-plan.lookback :][None]
    if cut is None or not seen.any():
        empty = np.full((plan.horizon, len(series.channels)), np.nan)
        return SeriesAhead(series.name, times, series.channels, empty, empty, empty)
    known = np.where(seen[0][:, None], (series.values[-plan.lookback :] - cut.mean) / cut.std, 0.0)
    said = way(known[None].astype(np.float32), seen).astype(np.float64)
    if series.name not in table.moving:
        band = replace(band, half=np.full_like(band.half, np.inf))
    units: Mapping[str, NDArray[np.float64]] = {
        name: x[0] * cut.std + cut.mean for name, x in zip(("forecast", "low", "high"), (said, *band.around(said)), strict=True)
    }
    return SeriesAhead(series.name, times, series.channels, **units)
