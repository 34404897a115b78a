"""The learning-rate finder: what a curve suggests, by hand, and the test itself on a tiny model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.tuning.finder import curve, find_rate, load_curve, save_curve, smooth
from tests.fakes import tiny_config

RATES = np.geomspace(1e-5, 1.0, 101).tolist()


def test_smoothing_begins_at_the_first_loss_and_forgets_a_tenth_a_step() -> None:
    assert smooth([3.0]) == [pytest.approx(3.0)]
    assert smooth([3.0, 1.0])[1] == pytest.approx((0.1 * 0.9 * 3.0 + 0.1 * 1.0) / (1 - 0.81))
    assert smooth([2.0] * 50) == [pytest.approx(2.0)] * 50


def test_the_steepest_fall_is_suggested_where_the_lowest_point_is_far() -> None:
    x = np.log10(RATES)
    loss = 1 - 1 / (1 + np.exp(-6 * (x + 3.5))) + np.where(x > -0.5, 5 * (x + 0.5), 0)
    found = curve(RATES, loss.tolist(), 2e-3, 32)
    assert found.steepest is not None
    assert found.lowest is not None
    # the fall is steepest at 10^-3.5; ten steps of smoothing are half a decade of lag
    assert 10**-3.5 < found.steepest < 10**-2.8
    assert found.suggestion == pytest.approx(found.steepest, rel=0.05)
    assert "most steeply" in found.why


def test_a_fall_that_ends_in_a_rise_gives_a_tenth_of_its_lowest_point() -> None:
    x = np.log10(RATES)
    loss = np.where(x < -2, -((x + 5) ** 4) / 81, -1 + 4 * (x + 2))
    found = curve(RATES, loss.tolist(), 2e-3, 32)
    assert found.suggestion is not None
    assert found.lowest is not None
    assert found.suggestion == pytest.approx(found.lowest / 10, rel=0.05)
    assert found.why.startswith("a tenth of")


@pytest.mark.parametrize("losses", [[1.0] * 101, list(np.linspace(1, 2, 101)), [1.0, math.nan], []])
def test_a_loss_that_never_falls_suggests_nothing_and_says_so(losses: list[float]) -> None:
    found = curve(RATES[: len(losses)], losses, 2e-3, 32)
    assert found.suggestion is None
    assert "suggests none" in found.why


def test_a_loss_that_is_no_number_is_where_it_diverged() -> None:
    losses = [*np.linspace(2.0, 1.0, 60).tolist(), math.nan]
    found = curve(RATES[:61], losses, 2e-3, 32)
    assert found.diverged == RATES[60]
    assert len(found.smoothed) == 60


def test_the_test_of_a_real_model_is_repeatable_and_leaves_nothing_behind(small_dataset: Dataset, tmp_path: Path) -> None:
    config = tiny_config()
    found = find_rate(small_dataset, config, steps=5, device="cpu")
    assert found == find_rate(small_dataset, config, steps=5, device="cpu")
    assert found.current == config.training.learning_rate
    assert list(found.rates) == sorted(found.rates)
    save_curve(tmp_path, found)
    assert load_curve(tmp_path) == found
    with pytest.raises(UserError, match="stopped"):
        find_rate(small_dataset, config, steps=5, device="cpu", stop=lambda: True)


def test_a_damaged_curve_is_named(tmp_path: Path) -> None:
    save_curve(tmp_path, curve(RATES, [1.0] * 101, 1e-3, 32))
    plain = {**curve(RATES, [1.0] * 101, 1e-3, 32).to_dict(), "smoothed": [1.0]}
    write_json(tmp_path / "finder.json", plain)
    with pytest.raises(UserError, match=r"finder.json is damaged"):
        load_curve(tmp_path)
    assert load_curve(tmp_path / "nowhere") is None
