"""What each planted anomaly leaves as it was, and what it changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.sequences.planted import KINDS, PlantSettings, plant


def series(seed: int, n: int = 5, length: int = 40, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, length, channels)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.sampled_from(sorted(KINDS)), length=st.integers(3, 40), last=st.integers(2, 50))
def test_an_anomaly_touches_the_last_steps_alone_and_says_which(seed: int, kind: str, length: int, last: int) -> None:
    x = series(seed, length=length)
    before = x.copy()
    made = plant(kind, x, PlantSettings(last=last), seed)
    np.testing.assert_array_equal(x, before)
    changed = (made.values != x).any(axis=2)
    assert not (changed & ~made.touched).any()
    assert not made.touched[:, : max(0, length - last)].any()
    assert made.touched.any(axis=1).all()
    assert np.isfinite(made.values).all()


def test_a_spike_is_one_step_by_so_many_deviations() -> None:
    x = series(0)
    made = plant("spike", x, PlantSettings(size=6.0, channels=0.5))
    assert made.touched.sum(axis=1).tolist() == [1] * 5
    off = np.abs(made.values - x).max(axis=1) / x.std(axis=1)
    assert np.sort(off, axis=1)[:, :2] == pytest.approx(0.0)
    assert np.sort(off, axis=1)[:, 2:] == pytest.approx(6.0, rel=1e-5)


def test_a_gap_is_nothing_for_its_days() -> None:
    made = plant("gap", series(1), PlantSettings(days=5))
    assert (made.values[made.touched] == 0).all()
    assert made.touched.sum(axis=1).tolist() == [5] * 5


def test_a_drift_grows_step_by_step_to_its_size() -> None:
    x = series(2, channels=1)
    off = (plant("drift", x, PlantSettings(last=10, size=3.0)).values - x)[:, -10:, 0] / x.std(axis=1)
    assert (np.diff(np.abs(off), axis=1) > 0).all()
    assert np.abs(off[:, -1]) == pytest.approx(3.0, rel=1e-4)


def test_a_frozen_value_stands_still() -> None:
    x = series(3)
    made = plant("frozen", x, PlantSettings(days=6))
    for i in range(len(x)):
        assert np.ptp(made.values[i][made.touched[i]], axis=0).tolist() == [0.0] * 4


def test_swapped_days_keep_every_value() -> None:
    x = series(4)
    made = plant("swapped", x, PlantSettings(days=7))
    assert (made.values != x).any()
    np.testing.assert_array_equal(np.sort(made.values, axis=1), np.sort(x, axis=1))


def test_a_seed_plants_the_same_again() -> None:
    x = series(5)
    a, b, c = (plant("spike", x, PlantSettings(), s).values for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
