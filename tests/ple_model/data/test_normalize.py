"""Normalisation: finite, robust, invertible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ple_model.data.dataset.normalize import CLIP, CONSTANT, LINEAR, RAW, SIGNED_LOG, Normalizer
from ple_model.errors import UserError

VALUES = st.one_of(st.floats(-1e12, 1e12, allow_nan=False, allow_subnormal=False), st.just(float("nan")), st.just(0.0))


@given(arrays(np.float64, (30, 4), elements=VALUES))
def test_any_column_becomes_finite_and_within_the_clip(x: np.ndarray) -> None:
    normalizer = Normalizer.fit(x)
    y = normalizer.transform(x)
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= CLIP
    assert (y[np.isnan(x)] == 0).all()


@given(arrays(np.float64, (40, 3), elements=st.floats(-1e6, 1e6, allow_subnormal=False)), st.sampled_from(["linear", "log"]))
def test_inverse_undoes_transform_within_the_clip(x: np.ndarray, scale: str) -> None:
    normalizer = Normalizer.fit(x, [scale] * 3)
    y = normalizer.transform(x).astype(np.float64)
    inside = np.abs(y) < CLIP * 0.999
    # float32 keeps about 1e-7 of the standardised value; in the log domain that is a relative error
    size = np.abs(x) + np.abs(normalizer.centre) + normalizer.scale * CLIP
    logged = normalizer.kind == SIGNED_LOG
    tolerance = np.where(logged, 1e-4 * (1 + np.abs(x)) * (1 + normalizer.scale), 1e-5 * size)
    assert (np.abs(normalizer.inverse(y) - x) <= tolerance)[inside].all()


def test_constant_and_empty_columns_become_zero() -> None:
    x = np.array([[3.0, np.nan, 1.0], [3.0, np.nan, 2.0], [3.0, np.nan, 4.0]])
    normalizer = Normalizer.fit(x)
    assert normalizer.kind.tolist() == [CONSTANT, CONSTANT, LINEAR]
    assert (normalizer.transform(np.array([[8.0, 5.0, 2.0]])) == 0).all()
    assert normalizer.inverse(np.zeros((1, 3)))[0, 0] == 3.0


def test_heavy_tails_take_the_log_and_raw_columns_stay() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=2000), rng.pareto(0.7, 2000), rng.pareto(0.7, 2000)], axis=1)
    normalizer = Normalizer.fit(x, ["linear", "linear", "raw"])
    assert normalizer.kind.tolist() == [LINEAR, SIGNED_LOG, RAW]
    y = normalizer.transform(x)
    assert y[:, 2] == pytest.approx(x[:, 2], rel=1e-6)
    assert np.abs(np.median(y[:, :2], axis=0)).max() < 1e-6
    assert y[:, 0].std() == pytest.approx(1, abs=0.05)


def test_a_rare_non_zero_column_is_kept() -> None:
    x = np.zeros((1000, 1))
    x[3] = 1.0
    y = Normalizer.fit(x).transform(x)
    assert y[3, 0] > 1
    assert (np.delete(y[:, 0], 3) == 0).all()


def test_one_outlier_does_not_set_the_scale() -> None:
    x = np.random.default_rng(0).uniform(10, 11, (1000, 1))
    y = Normalizer.fit(x).transform(x)
    x[0] = 40.0
    assert Normalizer.fit(x).transform(x)[1:].std() == pytest.approx(y[1:].std(), rel=0.05)


def test_it_is_saved_whole_and_damage_is_named(tmp_path: Path) -> None:
    normalizer = Normalizer.fit(np.random.default_rng(0).normal(size=(50, 5)))
    normalizer.save(tmp_path)
    again = Normalizer.load(tmp_path)
    x = np.random.default_rng(1).normal(size=(9, 5))
    assert np.array_equal(normalizer.transform(x), again.transform(x))
    (tmp_path / "normalizer.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"normalizer\.npz is damaged"):
        Normalizer.load(tmp_path)
    with pytest.raises(UserError, match="is missing"):
        Normalizer.load(tmp_path / "elsewhere")
