"""The next days of customers: the interval holds on others what it promises, and nothing is said where nothing can be."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Literal, cast

import numpy as np
import pytest
import torch

from analysis.figures import sequences as figures
from analysis.results.sequences import AheadFit
from analysis.sequences.ahead import HORIZON, days_ahead, fit_ahead, steps_ahead
from analysis.sequences.customer import customer_steps
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.sequences.series import Series
from tests.encoders import tiny_encoder

N, LENGTH = 360, 84


@pytest.fixture(scope="module")
def encoder(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> EncoderRun:
    return load_encoder(tiny_encoder(tmp_path_factory, small_dataset))


def spending(n: int = N, seed: int = 0) -> Series:
    """Sixteen channels of a weekly rhythm, none below 0; the last customers came five days ago."""
    rng = np.random.default_rng(seed)
    phase, height = rng.random((n, 1, 1)) * 7, 1 + 4 * rng.random((n, 1, 1))
    wave = 1 + np.sin(2 * np.pi * (np.arange(180)[None, :, None] + phase) / 7)
    values = torch.from_numpy(height * (wave + 0.3 * rng.random((n, 180, 16)))).float()
    seen = torch.ones(n, 180, dtype=torch.bool)
    seen[-5:, :-5] = False
    return Series(torch.where(seen[..., None], values, 0.0), seen)


@pytest.fixture(scope="module")
def fit(encoder: EncoderRun) -> AheadFit:
    train = np.arange(N) % 3 > 0
    found = fit_ahead(encoder, spending(), [f"c{i}" for i in range(N)], train)
    assert found is not None
    return found


def test_the_band_holds_on_customers_that_nothing_was_learnt_from(fit: AheadFit) -> None:
    assert (fit.horizon, fit.half.shape) == (HORIZON, (HORIZON, 16))
    assert fit.tested == 119  # a third, but for those who came too late
    assert fit.fitted + fit.held < 240
    assert fit.covered == pytest.approx(0.9, abs=0.06)
    assert set(fit.error) == {"head", "ridge", "week"}
    assert fit.positive.all()


def test_a_customer_s_next_days_in_the_units_of_the_page(fit: AheadFit, encoder: EncoderRun, tiny_run: Run) -> None:
    customer = str(tiny_run.sample().table(["customer_id"]).column("customer_id")[0].as_py())
    found = customer_steps(encoder, tiny_run, customer)
    said = steps_ahead(encoder, tiny_run, customer, fit)
    assert said.steps[0] == found.cutoff
    assert (said.forecast.shape, len(said.steps)) == ((HORIZON, 16), HORIZON)
    assert (said.low <= said.high).all()
    assert (said.low >= 0).all()
    drawn = figures.ahead(found, said, 0, np.isfinite(found.error))
    assert {t.name for t in drawn.data if t.name} == {"seen", "forecast", "interval", "out of the ordinary"}
    wide = replace(said, high=np.full_like(said.high, np.inf))  # too few customers to say
    assert "interval" not in {t.name for t in figures.ahead(found, wide, 0, np.zeros(180, bool)).data}
    with pytest.raises(UserError, match="another encoder"):
        steps_ahead(encoder, tiny_run, customer, replace(fit, weight=fit.weight[:, 1:]))


def test_nothing_is_forecast_of_sessions_or_from_few_customers(encoder: EncoderRun) -> None:
    train = np.ones(N, bool)
    sessions = replace(encoder.whole, training=replace(encoder.training, sequence="session_seq"))
    customers = [f"c{i}" for i in range(N)]
    assert fit_ahead(EncoderRun(encoder.path, encoder.manifest, sessions), spending(), customers, train) is None
    assert fit_ahead(encoder, spending(60), customers[:60], train[:60]) is None
    assert fit_ahead(encoder, spending(), [f"c{i % 40}" for i in range(N)], train) is None  # rows of too few people
    alone = fit_ahead(encoder, spending(), customers, train)
    assert alone is not None
    assert (alone.tested, alone.error) == (0, {})
    assert np.isnan(alone.covered)


def weekly(n: int, length: int) -> torch.Tensor:
    """Customers of several sizes with a weekly rhythm, noise and a trend of their own."""
    rng = np.random.default_rng(n)
    days, size = np.arange(length)[None, :, None], 1 + 4 * rng.random((n, 1, 1))
    trend = 1 + rng.normal(0, 0.006, (n, 1, 1)) * (days - length / 2)
    wave = 1 + np.sin(2 * np.pi * (days + 7 * rng.random((n, 1, 1))) / 7)
    return torch.from_numpy(size * (trend.clip(0, 9) * wave + 0.3 * rng.random((n, length, 2)))).float()


@pytest.mark.parametrize("tokens", ["patch", "variate"])
def test_the_band_holds_the_days_that_follow_as_it_promises(tokens: Literal["patch", "variate"]) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(tokens=tokens, width=8, heads=2, layers=1, patch=14, stride=14)
    net = SequenceEncoder(config, 2, LENGTH).eval()
    run = cast(EncoderRun, SimpleNamespace(encoder=net, training=SimpleNamespace(sequence="txn_seq")))
    fit = fit_ahead(run, Series.whole(weekly(900, LENGTH)), [f"c{i}" for i in range(900)], np.arange(900) < 800)
    assert fit is not None
    whole = weekly(600, LENGTH + HORIZON)
    said, low, high = days_ahead(net, fit, Series.whole(whole[:, :LENGTH]))
    truth = whole[:, LENGTH:].numpy()
    assert ((truth >= low) & (truth <= high)).mean() == pytest.approx(0.9, abs=0.03)
    assert (said >= low).all()
    assert fit.covered == pytest.approx(0.9, abs=0.03)
