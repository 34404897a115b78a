"""The badge: right attributions pass, wrong ones are withheld, nothing to explain is not called a success."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.explain.faithful import alike, judge, removal

WEIGHTS = np.array([5.0, 3.0, 2.0, 1.0, -0.5, 0.2, 0.1, -2.0, 0.05, 0.01])


def linear(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(keep @ WEIGHTS, dtype=np.float64)


def test_true_attributions_of_a_planted_linear_model_beat_every_random_order() -> None:
    found = removal(WEIGHTS, linear, float(WEIGHTS.sum()), 0.0)
    assert found.deletion == 1
    assert found.insertion == 1
    assert found.infidelity == pytest.approx(0, abs=1e-12)
    assert found.correlation == pytest.approx(1)
    assert judge(0.0, found, 0.0, enough=True).level == "ok"


def test_attributions_in_the_wrong_order_are_withheld() -> None:
    found = removal(-WEIGHTS, linear, float(WEIGHTS.sum()), 0.0)
    badge = judge(0.0, found, 0.0, enough=True)
    assert found.deletion == 0
    assert badge.withheld
    assert "withheld" in badge.verdict_en


def test_a_prediction_below_the_typical_one_is_judged_in_its_own_direction() -> None:
    found = removal(-WEIGHTS, lambda keep: -linear(keep), -float(WEIGHTS.sum()), 0.0)
    assert found.deletion == 1


def test_parts_that_do_not_add_up_are_withheld() -> None:
    assert judge(0.2, None, None, enough=True).withheld
    assert judge(float("nan"), None, None, enough=True).withheld


def test_an_explanation_that_ignores_the_weights_is_withheld() -> None:
    found = removal(WEIGHTS, linear, float(WEIGHTS.sum()), 0.0)
    assert judge(0.0, found, alike(WEIGHTS, WEIGHTS * 2), enough=True).withheld


def test_a_difference_too_small_to_rank_is_undecided() -> None:
    found = removal(WEIGHTS, linear, float(WEIGHTS.sum()), 0.0)
    badge = judge(0.0, found, 0.1, enough=False)
    assert badge.level == "unknown"
    assert not badge.withheld


def test_likeness_of_a_constant_attribution_is_not_a_number() -> None:
    assert np.isnan(alike(np.zeros(5), np.arange(5.0)))
    assert alike(np.arange(5.0), -np.arange(5.0)) == pytest.approx(1)
