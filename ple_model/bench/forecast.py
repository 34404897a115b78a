"""`ple bench forecast`: an encoder's forecast on ETTh1 and ETTh2 beside a ridge regression, DLinear, and published figures.

Look-back 336, horizons 96 to 720, the whole test part; mean squared and mean absolute error of standardised values. Three
ways:

* *encoder*: patches, attention, all tokens -> linear, nothing else;
* *ridge + encoder*: the head begins as the fitted ridge regression and the tokens learn what that misses; its share of the
  difference is the one with the lowest error on the validation part;
* *blend*: the share between the first way and the ridge regression, fitted on the validation part too.

Published models drop the test part's last incomplete batch, which changes a figure by up to a tenth: ours are printed both
ways.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.conformal import coverage, fit_band
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.fit_forecast import FitSettings, fit_forecast
from ple_model.sequences.heads import ForecastHead, ForecastModel
from ple_model.sequences.simple_forecasts import (
    DLinear,
    Floats,
    Forecast,
    ForecastError,
    Ridge,
    Seen,
    everywhere,
    fit_ridge,
    forecast_error,
    last_season,
    last_value,
    of_module,
)
from ple_model.sequences.windows import SplitWindows, Windows, ett

LOOKBACK, HORIZONS, DAY = 336, (96, 192, 336, 720), 24
BAND = 0.9
"""Probability of the band whose coverage is measured, as forecasts are usually given."""
THINNED, EPOCHS = 4, 6
"""Every fourth training window, for six epochs: minutes on one core, and a limit of what is measured here."""
PATCH, WIDTH, LAYERS = 24, 16, 2
AHEAD = Target(0.999, at_least=False)
"""Of the ridge regression's error: a thousandth less is the least that is called ahead."""
CITED: dict[str, tuple[str, dict[str, tuple[float, ...]]]] = {
    "PatchTST/42": (
        "as cited: Nie et al. 2023, table 3 (last incomplete batch dropped)",
        {"ETTh1": (0.375, 0.414, 0.431, 0.449, 0.399, 0.421, 0.436, 0.466),
         "ETTh2": (0.274, 0.339, 0.331, 0.379, 0.336, 0.379, 0.380, 0.422)},
    ),
    "DLinear": (
        "as cited: Zeng et al. 2023, table 2 (last incomplete batch dropped)",
        {"ETTh1": (0.375, 0.405, 0.439, 0.472, 0.399, 0.416, 0.443, 0.490),
         "ETTh2": (0.289, 0.383, 0.448, 0.605, 0.353, 0.418, 0.465, 0.551)},
    ),
}  # fmt: skip
"""MSE at the four horizons, then MAE."""


@dataclass(frozen=True, eq=False)
class Blend:
    """`share` of `other` and the rest of `base`."""

    base: Forecast
    other: Forecast
    share: float

    def __call__(self, past: Floats, seen: Seen) -> Floats:
        base = self.base(past, seen)
        return np.asarray(base + self.share * (self.other(past, seen) - base), np.float32)


def blend(base: Forecast, other: Forecast, watched: Windows) -> Blend:
    """The share in [0, 1] with the lowest squared error on these windows, in closed form."""
    told, square = 0.0, 0.0
    for first in range(0, len(watched), 256):
        past, seen = np.array(watched.past[first : first + 256]), np.array(watched.seen[first : first + 256])
        there = watched.target_seen[first : first + 256]
        low = base(past, seen)
        step = (other(past, seen) - low).astype(np.float64)[there]
        told += float((step * (watched.future[first : first + 256] - low)[there]).sum())
        square += float((step**2).sum())
    return Blend(base, other, min(1.0, max(0.0, told / square)) if square > 0 else 0.0)


def trained(data: SplitWindows, ridge: Ridge | None, settings: Settings, seed: int) -> Forecast:
    """An encoder with its head, trained on thinned windows; from the ridge regression where one is given."""
    channels, horizon = data.train.past.shape[2], data.train.future.shape[1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = EncoderConfig(patch=PATCH, stride=PATCH, width=WIDTH, layers=LAYERS, dropout=0.2, min_scale=1e-4)
        encoder = SequenceEncoder(config, channels, data.train.past.shape[1])
        head = ForecastHead(encoder, horizon, linear=ridge is not None, dropout=0.2)
        if ridge is not None:
            head.start_from(torch.from_numpy(ridge.weights).float())
        model = ForecastModel(encoder, head)
        fit = FitSettings(
            epochs=settings.pick(EPOCHS, 1), rate=3e-4 if ridge is not None else 2e-3, every=settings.pick(THINNED, 256),
            patience=2, batch=32, validation_every=settings.pick(8, 256), seed=seed,
        )  # fmt: skip
        fit_forecast(model, data, fit)
    return of_module(model)


def linear_decomposed(data: SplitWindows, settings: Settings, seed: int) -> Forecast:
    """DLinear trained here, on every training window."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DLinear(data.train.past.shape[1], data.train.future.shape[1])
        fit = FitSettings(settings.pick(6, 1), 32, 1e-3, settings.pick(1, 256), 2, settings.pick(4, 256), seed=seed)
        fit_forecast(model, data, fit)
    return of_module(model)


def run(settings: Settings) -> list[Row]:
    names = [(s, h) for s in ("ETTh1", "ETTh2") for h in HORIZONS]
    chosen = [(s, h) for s, h in names if settings.wants(f"{s} {h}") or f"{s} {h}".casefold() in settings.only.casefold()]
    return [row for series, horizon in chosen[: 1 if settings.quick else None] for row in _setting(series, horizon, settings)]


def _setting(series: str, horizon: int, settings: Settings) -> Iterator[Row]:
    data = ett(series, LOOKBACK, horizon)
    test = data.test.thinned(settings.pick(1, 64))
    ridge = fit_ridge(data)
    best = forecast_error(ridge, test)
    simple: dict[str, Forecast] = {"last value": last_value(horizon), "last day": last_season(horizon, DAY), "ridge": ridge}
    for name, forecast in simple.items():
        yield from _plain(f"{series} {horizon}", name, forecast_error(forecast, test))
    yield _dropped(f"{series} {horizon}: ridge", ridge, test)
    seeds = [settings.seed + k for k in range(settings.pick(settings.seeds, 1))]
    yield from _plain(
        f"{series} {horizon}", "DLinear, trained here", forecast_error(linear_decomposed(data, settings, seeds[0]), test)
    )
    watched, judged = data.validation.thinned(settings.pick(4, 256)), test.thinned(settings.pick(4, 1))
    yield _covered(f"{series} {horizon}: ridge", ridge, watched, judged)
    ways: dict[str, list[Forecast]] = {"encoder": [], "ridge + encoder": [], "blend": []}
    for seed in seeds:
        alone = trained(data, None, settings, seed)
        ways["encoder"].append(alone)
        ways["ridge + encoder"].append(blend(ridge, trained(data, ridge, settings, seed), watched))
        ways["blend"].append(blend(ridge, alone, watched))
    for name, forecasts in ways.items():
        yield from _against(f"{series} {horizon}", name, [forecast_error(f, test) for f in forecasts], best)
        yield _dropped(f"{series} {horizon}: {name}, first seed", forecasts[0], test)
        yield _covered(f"{series} {horizon}: {name}, first seed", forecasts[0], watched, judged)
    for name, (source, figures) in CITED.items():
        at = HORIZONS.index(horizon)
        for metric, value in (("MSE", figures[series][at]), ("MAE", figures[series][at + len(HORIZONS)])):
            yield Row("forecast", f"{series} {horizon}: {name}, {metric}", value, unit=metric, source=source)


def _plain(where: str, name: str, error: ForecastError) -> Iterator[Row]:
    yield Row("forecast", f"{where}: {name}, MSE", error.mse, unit="MSE")
    yield Row("forecast", f"{where}: {name}, MAE", error.mae, unit="MAE")


def _against(where: str, name: str, errors: list[ForecastError], ridge: ForecastError) -> Iterator[Row]:
    """Over the seeds: the mean, and the range of the ratio to the ridge regression."""
    metrics: tuple[tuple[str, Callable[[ForecastError], float], Target | None], ...] = (
        ("MSE", lambda e: e.mse, AHEAD), ("MAE", lambda e: e.mae, None),
    )  # fmt: skip
    for metric, of, target in metrics:
        values = [of(e) for e in errors]
        mean = statistics.fmean(values)
        yield Row(
            "forecast", f"{where}: {name} / ridge, {metric}, {len(errors)} seeds", mean / of(ridge), target, mean, of(ridge),
            metric, min(values) / of(ridge), max(values) / of(ridge),
        )  # fmt: skip


def _dropped(what: str, forecast: Forecast, test: Windows) -> Row:
    short = test.dropping_last() if len(test) >= 128 else test
    return Row("forecast", f"{what}, MSE without the last incomplete batch", forecast_error(forecast, short).mse, unit="MSE")


def _covered(what: str, forecast: Forecast, watched: Windows, judged: Windows) -> Row:
    """Of a band from what was missed on the validation windows: the share of the test values that it holds."""
    before, after = (np.asarray(everywhere(forecast, w), np.float64) for w in (watched, judged))
    band = fit_band(before, np.asarray(watched.future, np.float64), watched.target_seen, probability=BAND)
    held = coverage(band, after, np.asarray(judged.future, np.float64), judged.target_seen)
    return Row("forecast", f"{what}, covered by its {BAND:.0%} band", held, unit="share")


BENCHMARKS = (
    Benchmark(
        "forecast", "ETTh1 and ETTh2: an encoder's forecast beside ridge, DLinear and published figures", run, proof=True
    ),
)
