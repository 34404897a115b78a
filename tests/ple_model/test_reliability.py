"""How often probabilities came true: by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ple_model.errors import UserError
from ple_model.finite import Tally
from ple_model.reliability import BINS, ENOUGH, FEWEST, FILE, CameTrue, HeldOutReliability, reliability
from ple_model.safe_arrays import write_npz
from ple_model.scoring import Scores, TaskRows
from ple_model.tasks import TASKS
from ple_model.wilson import wilson


def scores(task: str, prediction: np.ndarray, label: np.ndarray) -> Scores:
    rows = TaskRows(TASKS[task], np.arange(len(label)), label.astype(float), prediction)
    return Scores("test", [""] * len(label), [""] * len(label), {task: rows}, Tally("rows"))


def test_a_class_is_counted_in_its_own_bins() -> None:
    width = TASKS["nba"].out_dim
    p = np.full((300, width), 0.005)
    p[:, 2] = 0.305
    label = np.r_[np.full(90, 2), np.full(210, 1)]
    found = reliability(scores("nba", p, label)).around("nba", 2, 0.301)
    low, high = wilson([90], [300])
    assert found == CameTrue(300, 0.30, 0.31, pytest.approx(0.305), 0.3, pytest.approx(low[0]), pytest.approx(high[0]))
    assert found.holds
    none = reliability(scores("nba", p, label)).around("nba", 1, 0.004)
    assert none is not None
    assert (none.came, none.holds) == (0.7, False)


def test_a_range_is_widened_until_it_holds_enough_and_no_further() -> None:
    p = np.repeat([0.405, 0.425, 0.475], [ENOUGH // 2, ENOUGH, 5000])
    found = reliability(scores("churn", p, np.ones(len(p)))).around("churn", 0, 0.405)
    assert found is not None
    assert (found.n, found.low, found.high) == (ENOUGH + ENOUGH // 2, 0.38, 0.43)


def test_too_few_say_nothing() -> None:
    few = reliability(scores("churn", np.full(FEWEST - 1, 0.5), np.ones(FEWEST - 1)))
    assert few.around("churn", 0, 0.5) is None
    enough = reliability(scores("churn", np.full(FEWEST, 0.5), np.ones(FEWEST))).around("churn", 0, 0.5)
    assert enough is not None
    assert enough.n == FEWEST
    assert few.around("nba", 0, 0.5) is None
    assert few.around("churn", 1, 0.5) is None
    assert few.around("churn", 0, float("nan")) is None


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_of_the_scale_are_bins(p: float) -> None:
    found = reliability(scores("churn", np.full(ENOUGH, p), np.full(ENOUGH, p))).around("churn", 0, p)
    assert found is not None
    assert (found.n, found.came, found.told) == (ENOUGH, p, p)


def test_saved_and_read_back_or_damaged(tmp_path: Path) -> None:
    assert HeldOutReliability.load(tmp_path) is None
    made = reliability(scores("churn", np.linspace(0, 1, 400), np.arange(400) % 2))
    made.save(tmp_path)
    again = HeldOutReliability.load(tmp_path)
    assert again is not None
    assert again.around("churn", 0, 0.4) == made.around("churn", 0, 0.4)
    write_npz(tmp_path / FILE, {"churn": np.zeros((3, 1, BINS - 1))})
    with pytest.raises(UserError, match="'churn' holds no counts"):
        HeldOutReliability.load(tmp_path)


def test_a_number_or_a_brand_has_no_percentage() -> None:
    found = reliability(scores("ltv", np.ones(100), np.ones(100)))
    assert found.around("ltv", 0, 0.5) is None
