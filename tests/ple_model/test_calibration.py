"""Calibration maps rise with p, undo what a focal loss does to probabilities, and bear few positives."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.calibration import FEW, CalibrationMap, fit_calibration
from ple_model.metrics import auc, expected_calibration_error


def focal_optimum(p: np.ndarray, alpha: float = 0.25, gamma: float = 2.0) -> np.ndarray:
    """The output q at which the expected focal loss is lowest for a true probability p, by grid search."""
    q = np.linspace(1e-4, 1 - 1e-4, 4000)
    positive, negative = -alpha * (1 - q) ** gamma * np.log(q), -(1 - alpha) * q**gamma * np.log1p(-q)
    return q[np.argmin(p[:, None] * positive + (1 - p[:, None]) * negative, axis=1)]


def focal_sample(n: int, seed: int, rate: float = 0.08) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tower output, label, true p) as a perfect model under focal loss would give them."""
    rng = np.random.default_rng(seed)
    p = rng.beta(2 * rate, 2 * (1 - rate), n).clip(0.002, 0.998)
    return focal_optimum(p), (rng.random(n) < p).astype(float), p


def test_calibration_undoes_the_focal_loss_on_fresh_rows() -> None:
    q, y, _ = focal_sample(4000, 0)
    fitted = fit_calibration(q, y)
    fresh, label, p = focal_sample(4000, 1)
    before, after = expected_calibration_error(label, fresh), expected_calibration_error(label, fitted(fresh))
    assert before > 0.05
    assert after < 0.3 * before
    assert np.abs(fitted(fresh) - p).mean() < 0.02


def test_calibration_keeps_the_order_of_rows() -> None:
    q, y, _ = focal_sample(2000, 2)
    fitted = fit_calibration(q, y)
    assert auc(y, fitted(q)) == pytest.approx(auc(y, q))


@given(
    st.lists(st.tuples(st.floats(0, 1, allow_subnormal=False), st.booleans()), min_size=1, max_size=120),
    st.sampled_from([1.0, 1e-6]),
)
@settings(max_examples=80, deadline=None)
def test_every_map_is_monotone_and_within_zero_and_one(rows: list[tuple[float, bool]], scale: float) -> None:
    fitted = fit_calibration([p * scale for p, _ in rows], [float(y) for _, y in rows])
    out = fitted(np.linspace(0, 1, 201))
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
    assert (np.diff(out) >= 0).all()


def test_a_model_that_ranks_backwards_is_flattened_and_not_turned_round() -> None:
    q, y, _ = focal_sample(2000, 3)
    fitted = fit_calibration(1 - q, y)
    assert (np.diff(fitted(np.linspace(0, 1, 50))) >= 0).all()
    assert fitted(np.array([0.5]))[0] == pytest.approx(y.mean(), abs=0.05)


def test_few_positives_shift_the_odds_and_keep_their_differences() -> None:
    rng = np.random.default_rng(0)
    q = rng.uniform(0.2, 0.6, 500)
    y = np.zeros(500)
    y[: FEW - 1] = 1
    fitted = fit_calibration(q, y)
    assert fitted.form == "shift"
    assert fitted(q).mean() == pytest.approx((FEW - 0.5) / 501)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_stays_away_from_certainty(label: float) -> None:
    fitted = fit_calibration(np.full(50, 0.3), np.full(50, label))
    assert 0 < fitted(np.array([0.3]))[0] < 1


def test_no_rows_give_the_identity() -> None:
    assert fit_calibration([], []).form == "identity"
    assert fit_calibration([], [])(np.array([0.3]))[0] == pytest.approx(0.3)


def test_a_map_survives_json() -> None:
    q, y, _ = focal_sample(500, 4)
    fitted = fit_calibration(q, y)
    assert CalibrationMap.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize("change", [{"a": -1.0}, {"form": "spline"}, {"c": float("nan")}])
def test_a_damaged_map_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="calibration map"):
        CalibrationMap.from_dict({**CalibrationMap().to_dict(), **change})
