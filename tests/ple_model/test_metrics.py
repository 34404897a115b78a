"""Metrics agree with scikit-learn, with and without row weights; the bootstrap resamples customers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn import metrics as sk

from ple_model import metrics as m


def binary(seed: int, n: int = 300, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(float)
    y[:2] = (0, 1)
    p = np.clip(0.2 + 0.2 * y + 0.2 * rng.normal(size=n), 0.01, 0.99)
    return y, np.round(p, 1).clip(0.1, 0.9) if ties else p, rng.integers(0, 4, n).astype(float)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_binary_metrics_agree_with_scikit_learn(seed: int, ties: bool) -> None:
    y, p, w = binary(seed, ties=ties)
    found = m.binary_metrics(y, p, w)
    assert found["auc"] == pytest.approx(sk.roc_auc_score(y, p, sample_weight=w))
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(y, p, sample_weight=w))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p, sample_weight=w, labels=[0, 1]))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(y, p, sample_weight=w))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, p >= 0.5, sample_weight=w))


@pytest.mark.parametrize("seed", range(3))
def test_multiclass_metrics_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 5, 200), rng.dirichlet(np.ones(5), 200)
    w = rng.integers(0, 3, 200).astype(float)
    found = m.multiclass_metrics(y, p, w)
    guess = p.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, guess, sample_weight=w))
    assert found["top3_accuracy"] == pytest.approx(sk.top_k_accuracy_score(y, p, k=3, sample_weight=w))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, guess, average="macro", sample_weight=w))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p, sample_weight=w))


@pytest.mark.parametrize("seed", range(3))
def test_regression_metrics_agree_with_scikit_learn_and_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.round(rng.normal(size=150), 1)
    p, w = y + rng.normal(size=150), rng.integers(0, 3, 150)
    found = m.regression_metrics(y, p, w.astype(float))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, p, sample_weight=w))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, p, sample_weight=w))
    assert found["r2"] == pytest.approx(sk.r2_score(y, p, sample_weight=w))
    assert found["spearman"] == pytest.approx(spearmanr(np.repeat(y, w), np.repeat(p, w)).statistic)


@given(st.integers(0, 10_000), st.integers(10, 60))
@settings(max_examples=30, deadline=None)
def test_a_weight_of_k_is_the_same_as_k_copies_of_the_row(seed: int, n: int) -> None:
    y, p, w = binary(seed, n, ties=True)
    times = w.astype(int)
    weighted, copied = m.binary_metrics(y, p, w), m.binary_metrics(np.repeat(y, times), np.repeat(p, times), None)
    for name, value in weighted.items():
        assert value == pytest.approx(copied[name], nan_ok=True), name


def test_calibration_error_is_the_gap_by_bin_weighted_by_rows() -> None:
    y = np.array([0.0, 1.0, 1.0, 1.0])
    p = np.array([0.01, 0.03, 0.99, 1.0])  # first bin: mean p 0.02 against a half; last bin: 0.995 against 1
    assert m.expected_calibration_error(y, p) == pytest.approx(0.5 * 0.48 + 0.5 * 0.005)


def test_ranking_metrics_count_the_first_ten_ranks() -> None:
    found = m.ranking_metrics(np.zeros(4), np.array([1.0, 2.0, 10.0, 11.0]))
    assert found == {"recall_at_10": 0.75, "mrr": pytest.approx((1 + 0.5 + 0.1 + 1 / 11) / 4)}


def test_auc_counts_ties_half() -> None:
    assert m.auc(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.4, 0.4, 0.8])) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("y", [np.zeros(5), np.ones(5)])
def test_auc_of_one_class_is_not_a_number(y: np.ndarray) -> None:
    assert np.isnan(m.auc(y, np.linspace(0, 1, 5)))


def test_metrics_of_no_rows_are_not_numbers() -> None:
    empty = np.empty(0)
    for name, value in {**m.binary_metrics(empty, empty), **m.multiclass_metrics(empty, np.empty((0, 3)))}.items():
        assert np.isnan(value), name


def test_bootstrap_interval_holds_the_estimate_and_is_wider_for_repeated_customers() -> None:
    y, p, _ = binary(5, 400)
    alone = m.bootstrap(m.BY_KIND["binary"], y, p, [str(i) for i in range(400)])
    crowd = m.bootstrap(m.BY_KIND["binary"], np.tile(y[:40], 10), np.tile(p[:40], 10), [str(i % 40) for i in range(400)])
    low, high = alone["auc"]
    assert low < m.auc(y, p) < high
    assert crowd["auc"][1] - crowd["auc"][0] > 1.5 * (high - low)


def test_bootstrap_of_a_single_customer_gives_no_interval() -> None:
    assert m.bootstrap(m.BY_KIND["binary"], [0, 1], [0.1, 0.9], ["a", "a"]) == {}


def test_a_probability_that_is_no_number_counts_as_certain_and_wrong() -> None:
    y, p, w = binary(3)
    bad = np.arange(len(y)) % 7 == 0
    found = m.binary_metrics(y, np.where(bad, np.nan, p), w)
    wrong = m.binary_metrics(y, np.where(bad, 1.0 - y, p), w)
    alone = {"ece": 0, "pr_auc": 0}  # where a lost row may not share what a wrong one shares with others
    assert {**found, **alone} == pytest.approx({**wrong, **alone})
    assert found["pr_auc"] <= wrong["pr_auc"]
    assert found["ece"] >= wrong["ece"]  # another row of the bin cannot make up for it
    assert found["auc"] < m.auc(y, p, w)
    assert m.auc(y, np.full(len(y), np.nan)) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_class_probabilities_that_are_no_numbers_are_misses(value: float) -> None:
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 4, 100), rng.dirichlet(np.ones(4), 100)
    p[:20, 1] = value
    found = m.multiclass_metrics(y, p)
    for name in ("accuracy", "top3_accuracy"):
        assert found[name] == pytest.approx(0.8 * m.multiclass_metrics(y[20:], p[20:])[name])
    assert found["log_loss"] > m.multiclass_metrics(y[20:], p[20:])["log_loss"]
    assert all(np.isfinite(v) for v in found.values())


def test_a_brand_whose_rank_is_no_number_is_not_found() -> None:
    found = m.ranking_metrics(np.zeros(4), np.array([1.0, np.nan, np.inf, 20.0]))
    assert found == {"recall_at_10": 0.25, "mrr": pytest.approx((1 + 1 / 20) / 4)}


def test_an_amount_that_is_no_number_leaves_no_metric() -> None:
    y = np.arange(10.0)
    for value in (np.nan, np.inf):
        assert np.isnan(list(m.regression_metrics(y, np.where(y == 4, value, y)).values())).all()
