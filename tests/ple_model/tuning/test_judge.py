"""Skill of a trial and who can be told apart, against numbers by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.interval import Interval
from ple_model.run import Run
from ple_model.safe_arrays import write_npz
from ple_model.skill import GROUPS
from ple_model.tuning.judge import (
    FoldLosses,
    ahead,
    drawn,
    load_losses,
    measured,
    objective,
    save_losses,
    skill_of,
    standing,
    tasks_of,
)
from ple_model.tuning.record import TrialRecord


def _fold(seed: int, better: float = 0.0, groups: int = 200) -> FoldLosses:
    rng = np.random.default_rng(seed)
    constant = rng.uniform(0.5, 1.5, (groups, 2))
    noise = np.random.default_rng(7).normal(0, 0.1, (groups, 2))
    return FoldLosses(("ctr", "ltv"), constant * (0.9 - better) + noise, constant)


def test_the_mean_skill_is_the_mean_over_tasks_then_over_folds() -> None:
    one = FoldLosses(("a", "b"), np.array([[1.0, 1.0], [1.0, 3.0]]), np.array([[2.0, 2.0], [2.0, 2.0]]))
    other = FoldLosses(("a",), np.array([[1.0]]), np.array([[4.0]]))
    assert one.skills() == pytest.approx([0.5, 0.0])
    assert float(objective([one], "mean")) == pytest.approx(0.25)
    assert float(objective([one], "b")) == pytest.approx(0.0)
    assert float(objective([one, other], "mean")) == pytest.approx((0.25 + 0.75) / 2)


def test_a_task_without_anything_to_predict_counts_nowhere() -> None:
    fold = FoldLosses(("a", "b"), np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))
    assert float(objective([fold], "mean")) == pytest.approx(0.5)
    assert set(tasks_of([fold])) == {"a"}


def test_a_pair_is_told_apart_by_its_difference_not_by_its_intervals() -> None:
    good, better = [_fold(1)], [_fold(1, better=0.005)]
    a, b = skill_of(good, "mean"), skill_of(better, "mean")
    assert a.high > b.low  # each interval holds the other's value
    gap = _ahead(better, good)
    assert gap.value == pytest.approx(0.005)
    assert gap.low > 0
    assert _ahead(good, good) == Interval(0.0, 0.0, 0.0)


def _ahead(one: list[FoldLosses], other: list[FoldLosses]) -> Interval:
    return ahead({1: drawn(one, "mean"), 2: drawn(other, "mean")}, 1)[2]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16), st.integers(-20, 20))
def test_ahead_is_behind_seen_from_the_other_side(seed: int, hundredths: int) -> None:
    one, other = [_fold(seed, groups=30)], [_fold(seed, better=hundredths / 100, groups=30)]
    there, back = _ahead(one, other), _ahead(other, one)
    assert there.value == pytest.approx(-back.value, abs=1e-12)
    assert (there.low, there.high) == (pytest.approx(-back.high, abs=1e-12), pytest.approx(-back.low, abs=1e-12))


def test_other_rows_are_not_compared() -> None:
    with pytest.raises(UserError, match="other rows"):
        _ahead([_fold(1)], [_fold(1, groups=199)])


def test_of_many_equal_trials_none_is_told_apart_by_chance() -> None:
    constant = np.ones((300, 1))
    apart, apart_by_pairs, studies = 0, 0, 200
    for seed in range(studies):
        rng = np.random.default_rng(seed)
        many = [[FoldLosses(("a",), 0.9 + rng.normal(0, 0.3, (300, 1)), constant)] for _ in range(12)]
        found = {i: drawn(folds, "mean") for i, folds in enumerate(many)}
        best = max(found, key=lambda i: found[i].value)
        apart += any(gap.low > 0 for gap in ahead(found, best).values())
        apart_by_pairs += any(_ahead(many[best], folds).low > 0 for i, folds in enumerate(many) if i != best)
    assert apart <= 0.11 * studies  # 6 % of 2,000 such studies, and three standard errors of 200
    assert apart_by_pairs > 0.5 * studies


def test_a_fold_without_labels_of_the_task_is_left_out() -> None:
    have, lack = (
        FoldLosses(("a", "b"), np.ones((3, 2)), np.full((3, 2), 2.0)),
        FoldLosses(("a",), np.ones((3, 1)), np.ones((3, 1))),
    )
    assert float(objective([have, lack], "b")) == pytest.approx(0.5)
    assert np.isnan(objective([lack], "b"))
    assert skill_of([lack], "nonsense").low != skill_of([lack], "nonsense").low


def test_level_is_the_best_and_those_it_cannot_be_told_from(tmp_path: Path) -> None:
    folds = {1: _fold(1, 0.05), 2: _fold(1, 0.0501), 3: _fold(1, 0.0), 4: _fold(1, 0.3)}
    noisy = np.random.default_rng(3).normal(0, 0.3, folds[2].loss.shape)
    folds[2] = FoldLosses(folds[2].tasks, folds[1].loss + noisy - noisy.mean(0) + 1e-4, folds[2].constant)
    trials = []
    for number, fold in folds.items():
        save_losses(tmp_path, number, [fold])
        state = "failed" if number == 4 else "finished"
        trials.append(TrialRecord(number, state, {}, (), skill=skill_of([fold], "mean")))
    found = standing(tmp_path, trials, "mean")
    assert found is not None
    assert set(found.level) == {1, 2}
    assert standing(tmp_path, trials[3:], "mean") is None


def test_losses_come_back_and_damage_is_named(tmp_path: Path) -> None:
    folds = [_fold(1), _fold(2, groups=5)]
    save_losses(tmp_path, 3, folds)
    back = load_losses(tmp_path, 3)
    assert back is not None
    assert [f.tasks for f in back] == [("ctr", "ltv")] * 2
    assert all(np.array_equal(a.loss, b.loss) for a, b in zip(back, folds, strict=True))
    assert load_losses(tmp_path, 4) is None
    write_npz(tmp_path / "results" / "trial-0005.npz", {"loss_0": np.zeros((2, 2)), "constant_0": np.zeros((2, 2)),
                                                        "tasks_0": np.asarray(["a"])})  # fmt: skip
    with pytest.raises(UserError, match=r"trial-0005.npz is damaged"):
        load_losses(tmp_path, 5)
    save_losses(tmp_path, 6, [_fold(1, groups=GROUPS + 1)])  # more groups than any study makes: their resamples would not fit
    with pytest.raises(UserError, match=r"trial-0006.npz is damaged"):
        load_losses(tmp_path, 6)


def test_the_skill_of_a_run_is_that_of_evaluate(tiny_run: Run, tiny_dataset: Dataset) -> None:
    found = tasks_of([measured(tiny_run, tiny_dataset, tiny_run.config)])
    told = {t.task: t.skill for t in evaluate(tiny_run, tiny_dataset, "validation", bootstrap_rounds=2, boosting=False).tasks}
    for task, interval in found.items():
        skill = told[task]
        assert skill is not None
        assert interval.value == pytest.approx(skill.skill.value, abs=1e-9), task
