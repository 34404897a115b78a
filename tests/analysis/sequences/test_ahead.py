"""The next days of customers: the interval holds on others what it promises, and nothing is said where nothing can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.figures import sequences as figures
from analysis.results.sequences import AheadFit
from analysis.sequences.ahead import HORIZON, fit_ahead, steps_ahead
from analysis.sequences.customer import customer_steps
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.sequences.series import Series
from tests.encoders import tiny_encoder

N = 360


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
