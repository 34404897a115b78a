"""The next days of customers, by a linear head on a pre-trained encoder as it is, with an interval from what it missed.

The training customers are parted by customer: the head is fitted to the last days of the first part, its strength chosen on the
second, and the interval is what it missed on the third, day by day of the horizon (`ple_model.sequences.conformal`). How many
values the interval holds, and how far simpler forecasts are off, is measured on customers who are in none of the three.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.explain.lookup import find
from analysis.opening import opened_run
from analysis.results.sequences import AheadFit, StepsAhead
from analysis.sequences.channels import divisors
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.sequences.closed_form import CutSeries, cut_before, fit_forecast_head, forecast_ahead
from ple_model.sequences.conformal import ForecastBand, coverage, fit_band
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.sequences.heads import ForecastHead
from ple_model.sequences.series import Series, series_of
from ple_model.sequences.simple_forecasts import Forecast, everywhere, fit_ridge, last_season
from ple_model.sequences.windows import SplitWindows, Windows

HORIZON, WEEK = 28, 7
"""Days ahead: four weeks."""
PROBABILITY = 0.9
LEAST = 30
"""Customers of a part: of fewer a 90 % interval is that of one customer or two."""
FITTED = 2_000
"""Rows of a part at most: a linear system of some hundred numbers needs no more."""
SEED = 0
DATED = "txn_seq"
"""The field whose steps are days."""


def fit_ahead(encoder: EncoderRun, series: Series, customers: Sequence[str], train: NDArray[np.bool_]) -> AheadFit | None:
    """From series [n, L, C] of `customers`, of whom `train` trained the encoder. None where the steps are no days, the series
    are too short, or the customers too few."""
    net = encoder.encoder
    fitted = series.fitted(net.length)
    if encoder.training.sequence != DATED or net.length < 2 * HORIZON:
        return None
    cut = cut_before(fitted, HORIZON)
    whole = (cut.past.seen[:, -WEEK:].all(dim=1) & cut.seen.all(dim=1)).numpy()  # a week to look back on at least
    parts = _parts(customers, train & whole)
    if any(len({customers[i] for i in part}) < LEAST for part in parts):
        return None
    first, second, third = (cut.rows(torch.from_numpy(part[:FITTED])) for part in parts)
    head = fit_forecast_head(net, first, second)
    said, scale = _said(net, head, third)
    band = fit_band(said, third.future.numpy(), third.seen.numpy(), probability=PROBABILITY, scale=scale)
    others = np.flatnonzero(~train & whole)[:FITTED]
    tested = cut.rows(torch.from_numpy(others))
    positive = (torch.where(fitted.seen[..., None], fitted.values, 0.0)[torch.from_numpy(train)].amin(dim=(0, 1)) >= 0).numpy()
    weight, bias = (p.detach().numpy() for p in (head.out.weight, head.out.bias))
    covered, errors = float("nan"), {}
    if len(others):
        said, scale = _said(net, head, tested)
        covered = coverage(band, said, tested.future.numpy(), tested.seen.numpy(), scale)
        errors = _errors(said, scale, first, second, tested)
    return AheadFit(
        weight.astype(np.float32), bias.astype(np.float32), band.half.astype(np.float32), positive,
        PROBABILITY, len(first), len(third), len(others), covered, errors,
    )  # fmt: skip


def _parts(customers: Sequence[str], usable: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Rows of three parts of the customers with a usable row: 60, 20 and 20 % of them, in random order."""
    rows = np.flatnonzero(usable)
    names, index = np.unique(np.asarray(customers, dtype=str)[rows], return_inverse=True)
    rng = np.random.default_rng(SEED)
    place = rng.permutation(len(names))[index] / max(1, len(names))
    shuffled = rng.permutation(len(rows))
    of = np.digitize(place, (0.6, 0.8))
    return tuple(rows[shuffled[of[shuffled] == k]] for k in range(3))


def _said(net: SequenceEncoder, head: ForecastHead, cut: CutSeries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    said, scale = forecast_ahead(net, head, cut.past)
    return said.double().numpy(), scale.double().numpy()


def _errors(
    said: NDArray[np.float64], scale: NDArray[np.float64], first: CutSeries, second: CutSeries, tested: CutSeries
) -> dict[str, float]:
    """Mean absolute errors on the tested rows; the simple forecasts see the same days as the head."""
    truth = tested.future.double().numpy()
    windows = {name: _windows(cut) for name, cut in (("fit", first), ("watched", second), ("tested", tested))}
    channels = truth.shape[2]
    split = SplitWindows(windows["fit"], windows["watched"], windows["tested"], np.zeros(channels), np.ones(channels))
    simple: dict[str, Forecast] = {"week": last_season(HORIZON, WEEK)}
    if windows["fit"].seen.all(axis=1).any():  # it is fitted to series that were seen whole
        simple["ridge"] = fit_ridge(split)
    found = {"head": float(np.mean(np.abs(said - truth) / scale))}
    return found | {k: float(np.mean(np.abs(everywhere(f, windows["tested"]) - truth) / scale)) for k, f in simple.items()}


def _windows(cut: CutSeries) -> Windows:
    past, seen = cut.past.values.float().numpy(), cut.past.seen.numpy()
    return Windows(past, cut.future.float().numpy(), seen, cut.seen.numpy())


def steps_ahead(
    encoder: EncoderRun | Path | str, run: Run | Path | str, customer: str, fit: AheadFit,
    *, dataset: Dataset | Path | str | None = None,
) -> StepsAhead:  # fmt: skip
    """One of the run's customers after the latest cut-off. `UserError` for an unknown one, or a head of another encoder."""
    opened = encoder if isinstance(encoder, EncoderRun) else load_encoder(encoder)
    model = opened_run(run)
    data, row = find(model, customer, None, dataset)
    batch = data.take([row])
    net = opened.encoder
    if ForecastHead(net, fit.horizon).out.weight.shape != fit.weight.shape:
        raise UserError(f"{opened.path}: the forecast was fitted on another encoder")
    found = days_ahead(net, fit, series_of(batch.inputs, opened.training.sequence))
    first = date.fromisoformat(batch.cutoff[0])
    unit = divisors(data, opened.training.sequence)
    days = [(first + timedelta(days=i)).isoformat() for i in range(fit.horizon)]
    return StepsAhead(days, *(np.asarray(x[0] * unit, np.float32) for x in found))


@torch.no_grad()
def days_ahead(net: SequenceEncoder, fit: AheadFit, series: Series) -> tuple[NDArray[np.float64], ...]:
    """Forecast, low and high [n, H, C] of what follows series [n, L, C], in their units.

    The head, its interval and what is said of both are of series that end `horizon` steps before their last one, so that as
    many of their oldest steps are absent. The encoder's answer changes with that, so the oldest steps are absent here too."""
    head = ForecastHead(net, fit.horizon)
    head.out.weight.copy_(torch.from_numpy(fit.weight))
    head.out.bias.copy_(torch.from_numpy(fit.bias))
    whole = series.fitted(net.length)
    past = Series(whole.values[:, fit.horizon :], whole.seen[:, fit.horizon :])
    said, scale = (x.double().numpy() for x in forecast_ahead(net, head.eval(), past))
    low, high = ForecastBand(fit.half.astype(np.float64), fit.probability, fit.held).around(said, scale)
    floor = np.where(fit.positive, 0.0, -np.inf)
    return tuple(np.maximum(x, floor) for x in (said, low, high))
