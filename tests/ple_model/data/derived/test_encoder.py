"""The forecasting encoder: learns what can be forecast, sees only the past, is stored whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ple_model.data.derived.encoder import WIDTH, WeekEncoder, fit_encoder, weekly_series
from ple_model.errors import UserError


def daily(n: int = 200, seed: int = 0) -> np.ndarray:
    """[n, 365, 4]: activity swings with a period of eight weeks at a random phase."""
    rng = np.random.default_rng(seed)
    wave = 1 + np.sin(2 * np.pi * (np.arange(365)[None] / 56 + rng.random((n, 1))))
    return (wave[:, :, None] * rng.uniform(0.5, 1.5, (n, 365, 4)) * 5).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> WeekEncoder:
    found = fit_encoder(daily(), steps=60)
    assert found is not None
    return found


def test_it_forecasts_better_than_the_mean(fitted: WeekEncoder) -> None:
    assert fitted.loss < 0.6 * fitted.naive


def test_a_step_does_not_see_what_comes_after(fitted: WeekEncoder) -> None:
    x = torch.from_numpy(weekly_series(daily(3)))
    changed = x.clone()
    changed[:, 20:] += 5
    before, after = fitted.model(x)[0], fitted.model(changed)[0]
    torch.testing.assert_close(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20:], after[:, 20:])


def test_rows_are_independent_and_finite(fitted: WeekEncoder) -> None:
    x = daily(7, seed=2)
    x[0] = 0
    whole = fitted.encode(x)
    assert whole.shape == (7, WIDTH)
    assert np.isfinite(whole).all()
    assert fitted.encode(x[3:4])[0] == pytest.approx(whole[3], abs=1e-5)


def test_it_is_stored_whole_and_damage_is_named(fitted: WeekEncoder, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    fitted.save(path)
    again = WeekEncoder.load(path)
    assert np.array_equal(again.encode(daily(5)), fitted.encode(daily(5)))
    path.write_bytes(b"?")
    with pytest.raises(UserError, match=r"encoder\.safetensors"):
        WeekEncoder.load(path)


def test_too_few_rows_have_no_encoder() -> None:
    assert fit_encoder(daily(5)) is None
