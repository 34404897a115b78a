"""Uncertainty: hand-worked numbers, oracle cases, and too few labels are "unknown"."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.cohort import CohortFilter
from analysis.diagnose import diagnose
from analysis.figures import uncertainty as figures
from analysis.store import AnalysisStore
from analysis.uncertainty import _choice, _read, intervals, reliability, risk, uncertainty
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.wilson import wilson


@pytest.fixture(scope="module")
def store(tiny_run: Run) -> AnalysisStore:
    return diagnose(tiny_run).store


def test_expected_calibration_error_is_the_hand_worked_one() -> None:
    p, y = np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 1.0, 1.0, 1.0])
    found = reliability("binary", p, y, y)
    assert found.ece == pytest.approx((2 * abs(0.1 - 0.5) + 2 * abs(0.9 - 1.0)) / 4)
    assert found.count.tolist() == [2, 2]
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert found.nll == pytest.approx(-(np.log(0.9) + np.log(0.1) + 2 * np.log(0.9)) / 4)


def test_adaptive_error_uses_bins_of_equal_count() -> None:
    p = np.concatenate([np.full(14, 0.2), np.full(16, 0.6)])  # 15 bins of two rows
    y = np.concatenate([np.zeros(14), np.ones(16)])
    assert reliability("binary", p, y, y).adaptive_ece == pytest.approx((14 * 0.2 + 16 * 0.4) / 30)


def test_multiclass_reliability_sets_the_top_probability_against_hits() -> None:
    found = reliability("multiclass", np.full(10, 0.7), np.arange(10.0), np.r_[np.ones(7), np.zeros(3)])
    assert found.ece == pytest.approx(0, abs=1e-12)


def test_confidence_of_exactly_one_is_counted() -> None:
    assert reliability("binary", np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.ones(2)).count.sum() == 2


def test_wilson_interval_matches_the_published_example() -> None:
    low, high = wilson([1], [10])  # 1 of 10: 0.018 to 0.404
    assert low[0] == pytest.approx(0.0179, abs=1e-3)
    assert high[0] == pytest.approx(0.4042, abs=1e-3)


def test_risk_coverage_is_the_hand_worked_one() -> None:
    error = np.array([0.0, 1.0, 0.0, 1.0])
    found = risk(np.array([0.1, 0.2, 0.3, 0.4]), error, error > 0)
    np.testing.assert_allclose(found.risk, [0, 1 / 2, 1 / 3, 2 / 4])
    np.testing.assert_allclose(found.best, [0, 0, 1 / 3, 2 / 4])
    assert found.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.excess == pytest.approx((1 / 2) / 4)
    assert found.random == 0.5
    assert np.isnan(found.auroc)  # two errors are too few to judge


def test_uncertainty_that_knows_its_errors_has_no_excess_risk() -> None:
    error = np.r_[np.zeros(60), np.ones(40)]
    found = risk(error + np.linspace(0, 0.1, 100), error, error > 0)
    assert found.excess == pytest.approx(0)
    assert found.auroc == 1


def test_uniform_levels_are_calibrated_and_concentrated_ones_are_not() -> None:
    even = (np.arange(1000) + 0.5) / 1000
    assert intervals(even).error < 0.002
    assert intervals(0.5 + 0.1 * (even - 0.5)).observed[0] > 0.4  # too wide: a 5 % interval holds nearly half
    assert intervals(even).pit.sum() == 1000


def test_every_head_of_a_run_has_a_page(store: AnalysisStore) -> None:
    heads = [c[2:] for c in store.columns if c.startswith("u:")]
    for task in heads:
        found = uncertainty(store, task)
        assert found.n == store.n
        assert found.histogram.sum() == found.n
        assert sum(c.n for c in found.cohorts) == found.n
        assert found.choices[-1].coverage == 1
        assert (found.state == "unknown") == bool(found.reason)


def test_regression_has_intervals_and_a_decomposition(store: AnalysisStore) -> None:
    found = uncertainty(store, "ltv")
    assert found.intervals is not None
    assert (np.diff(found.intervals.observed) >= 0).all()
    assert found.decomposition is not None
    assert found.reliability is None


def test_a_three_class_task_has_a_simplex(store: AnalysisStore) -> None:
    found = uncertainty(store, "channel").simplex
    assert found is not None
    assert found.count.sum() == store.n
    np.testing.assert_allclose(found.centre.sum(1), 1)
    assert uncertainty(store, "nba").simplex is None


def test_few_labels_are_unknown_not_fine(store: AnalysisStore) -> None:
    found = uncertainty(store, "churn", (CohortFilter("row", "lt", (20,)),))
    assert found.state == "unknown"
    assert "labelled rows" in found.reason
    assert found.reliability is None
    assert found.risk is None
    assert all(np.isnan(c.risk) for c in found.choices)


def test_labels_of_the_training_split_do_not_count(store: AnalysisStore) -> None:
    found = uncertainty(store, "churn", (CohortFilter("split", "eq", ("train",)),))
    assert found.labelled == 0
    assert found.n > 0


def test_a_threshold_costs_the_rows_above_it(store: AnalysisStore) -> None:
    rows = _read(store, "churn", ())
    everything = _choice(rows, 1.0)
    assert everything.coverage == 1
    assert set(everything.by_segment.values()) == {0.0}
    nothing = _choice(rows, 0.0)
    assert nothing.kept == 0
    assert np.isnan(nothing.risk)
    middle = next(c for c in uncertainty(store, "churn").choices if c.coverage >= 0.75)
    again = _choice(rows, middle.threshold)
    assert again.coverage == middle.coverage
    total = everything.risk * everything.kept
    assert total > 0


def test_an_unknown_task_is_named(store: AnalysisStore) -> None:
    with pytest.raises(UserError, match="did you mean 'churn'"):
        uncertainty(store, "chrun")
    with pytest.raises(UserError, match="has no uncertainty"):
        uncertainty(store, "brand_prediction")


def test_figures_of_uncertainty_render(store: AnalysisStore) -> None:
    churn, ltv, channel = (uncertainty(store, t) for t in ("churn", "ltv", "channel"))
    assert figures.cohorts(churn.cohorts, "vacuity").data
    assert churn.risk is not None
    assert figures.risk(churn.risk).data
    assert churn.reliability is not None
    assert figures.reliability(churn.reliability).data
    assert ltv.intervals is not None
    assert figures.intervals(ltv.intervals).data
    assert ltv.decomposition is not None
    assert figures.decomposition(ltv.decomposition, logs=True).data
    assert channel.simplex is not None
    assert figures.simplex(channel.simplex).data


def test_the_page_judges_the_rows_of_its_table(store: AnalysisStore) -> None:
    for task, quality in store.statistics.quality.items():
        if f"u:{task}" in store.columns:
            assert uncertainty(store, task).labelled == quality.n, task
