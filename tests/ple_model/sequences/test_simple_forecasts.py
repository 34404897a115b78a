"""Forecasts without an encoder: by hand, on a planted law, and the published benchmark's ridge row."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.fit_forecast import FitSettings, fit_forecast
from ple_model.sequences.heads import ForecastHead, ForecastModel
from ple_model.sequences.plain_series import PlainSeries
from ple_model.sequences.simple_forecasts import (
    DLinear,
    fit_ridge,
    forecast_error,
    last_season,
    last_value,
    of_module,
)
from ple_model.sequences.windows import SplitWindows, TimeSplit, ett, split_windows

ETT = Path(os.environ.get("PLE_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")) / "ett"


def law(seed: int = 0, noise: float = 0.05) -> SplitWindows:
    """Two channels that repeat every 8 steps, with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(600)
    x = np.stack([np.sin(2 * np.pi * t / 8), np.cos(2 * np.pi * t / 8) + 0.3 * np.sin(2 * np.pi * t / 4)], axis=1)
    x = x + noise * rng.standard_normal(x.shape)
    series = PlainSeries("", t.astype("datetime64[h]").astype("datetime64[us]"), x, np.ones(600, bool), ("a", "b"))
    return split_windows(series, TimeSplit(360, 120, 120), 16, 8)


def test_the_last_value_and_the_last_season_by_hand() -> None:
    past = np.arange(12, dtype=np.float32).reshape(1, 6, 2)
    seen = np.ones((1, 6), bool)
    assert last_value(3)(past, seen)[0].tolist() == [[10, 11]] * 3
    assert last_season(5, 2)(past, seen)[0, :, 0].tolist() == [8, 10, 8, 10, 8]
    seen[0, [3, 5]] = False
    assert last_value(3)(past, seen)[0].tolist() == [[8, 9]] * 3
    assert last_season(5, 2)(past, seen)[0, :, 0].tolist() == [8, 2, 8, 2, 8]


def test_what_is_not_seen_is_not_read() -> None:
    data, rng = law(), np.random.default_rng(0)
    past = np.array(data.test.past[:20])
    seen = rng.random((20, 16)) < 0.6
    assert seen.any(axis=1).all()
    torch.manual_seed(0)
    encoder = SequenceEncoder(EncoderConfig(patch=4, stride=4, width=8, heads=2, layers=1), 2, 16)
    modules = DLinear(16, 8), ForecastModel(encoder, ForecastHead(encoder, 8))
    noisy, bare = (np.where(seen[:, :, None], past, fill).astype(np.float32) for fill in (99.0, 0.0))
    for forecast in (last_value(8), last_season(8, 8), fit_ridge(data, (10.0,)), *map(of_module, modules)):
        np.testing.assert_allclose(forecast(noisy, seen), forecast(bare, seen), atol=1e-5)


def test_an_error_counts_what_was_seen() -> None:
    data = law().test
    wrong = forecast_error(lambda past, _: np.zeros((len(past), 8, 2), np.float32), data)
    assert wrong.mse == pytest.approx(float((data.future.astype(np.float64) ** 2).mean()))
    assert wrong.mae == pytest.approx(float(np.abs(data.future).mean()), rel=1e-6)


def test_a_ridge_reaches_the_noise_and_solves_its_normal_equations() -> None:
    data = law()
    ridge = fit_ridge(data)
    floor = ((0.05 / data.std) ** 2).mean()
    assert floor < forecast_error(ridge, data.test).mse < 3 * floor  # the strong penalties of long tables shrink a short one
    assert forecast_error(ridge, data.test).mse < 0.1 * forecast_error(last_value(8), data.test).mse
    one = fit_ridge(data, (10.0,))
    x = (data.train.past - data.train.past.mean(axis=1, keepdims=True)).transpose(0, 2, 1).reshape(-1, 16).astype(np.float64)
    y = (data.train.future - data.train.past.mean(axis=1, keepdims=True)).transpose(0, 2, 1).reshape(-1, 8)
    np.testing.assert_allclose(x.T @ (x @ one.weights - y) + 10.0 * one.weights, 0.0, atol=2e-2)


def test_dlinear_starts_at_the_mean_learns_and_keeps_its_best() -> None:
    data = law()
    torch.manual_seed(0)
    module = DLinear(16, 8)
    assert of_module(module)(np.full((1, 16, 2), 3.0, np.float32), np.ones((1, 16), bool)).shape == (1, 8, 2)
    record = fit_forecast(module, data, FitSettings(epochs=8, rate=0.02, batch=32))
    assert record.validation[record.kept] == min(record.validation) < 0.1 * record.validation[0]
    assert forecast_error(of_module(module), data.validation).mse == pytest.approx(record.validation[record.kept])


def test_training_that_only_harms_keeps_what_was_there() -> None:
    data = law()
    torch.manual_seed(0)
    module = DLinear(16, 8)
    fit_forecast(module, data, FitSettings(epochs=6, rate=0.02, batch=32))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    record = fit_forecast(module, data, FitSettings(epochs=2, rate=50.0, batch=32, patience=1))
    assert record.kept == 0
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


@pytest.mark.skipif(not ETT.is_dir(), reason=f"no real data at {ETT}; set PLE_REAL_DATA to its folder")
def test_the_ridge_of_the_ett_benchmark() -> None:
    data = ett("ETTh1", 336, 96)
    assert (len(data.train), len(data.validation), len(data.test)) == (8209, 2785, 2785)
    assert len(data.test.dropping_last()) == 2688
    found = forecast_error(fit_ridge(data, (1e3,)), data.test)
    assert found.mse == pytest.approx(0.370, abs=1e-3)
    assert found.mae == pytest.approx(0.391, abs=1e-3)
