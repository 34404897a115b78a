"""A study at work, with trainings that cost nothing: budget, pruning, failures, interruptions, stages, several processes."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ple_model import commands_tune
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.tuning import search
from ple_model.tuning.begin import Asked, around, planned
from ple_model.tuning.finder import curve
from ple_model.tuning.judge import FoldLosses
from ple_model.tuning.record import StudySpec, TrialRecord, load_study, load_trial, load_trials, save_study, save_trial
from ple_model.tuning.report import report, table
from ple_model.tuning.search import Study, first_stage
from ple_model.tuning.trial import Interrupted, Pruned

KEYS = ("training.learning_rate", "global.dropout")
GROUPS = 40


class Played:
    """A `TrialRunner` whose training is a formula: best at a rate of 1e-3 and little dropout."""

    fails: Callable[[TrialRecord], str] = staticmethod(lambda trial: "")

    def __init__(self, folder: Path, spec: StudySpec, base: Any, dataset: Dataset, trial: TrialRecord, hear: Any, stop: Any,
                 progress: Any) -> None:  # fmt: skip
        self.trial, self.hear, self.stop = trial, hear, stop

    def run(self) -> tuple[FoldLosses, ...]:
        if why := Played.fails(self.trial):
            raise UserError(why)
        rate, drop = (float(self.trial.params[k]) for k in KEYS)
        skill = 0.3 - abs(np.log10(rate) + 3) * 0.1 - 0.1 * drop
        for epoch in (1, 2, 3, 4):
            if self.stop():
                raise Interrupted
            if self.hear(epoch, skill * epoch / 4):
                raise Pruned
        constant = np.random.default_rng(0).uniform(0.5, 1.5, (GROUPS, 1))
        return (FoldLosses(("ctr",), constant * (1 - skill), constant),)


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "TrialRunner", Played)
    monkeypatch.setattr(Played, "fails", staticmethod(lambda trial: ""))


def _made(data: Dataset, folder: Path, **asked: Any) -> StudySpec:
    wanted = Asked(**{"preset": "small", "keys": KEYS, "only": True, "trials": 10, "pruner": "none", **asked})
    spec = planned(data, folder, wanted)
    folder.mkdir(exist_ok=True)
    save_study(folder, spec)
    return spec


def _told(folder: Path) -> list[tuple[Any, ...]]:
    return [(t.number, t.state, dict(t.params), str(t.skill), t.epochs) for t in load_trials(folder)]


def test_a_study_ends_with_its_budget_and_says_which_are_level(small_dataset: Dataset, tmp_path: Path) -> None:
    _made(small_dataset, tmp_path / "s")
    assert Study(tmp_path / "s").work(lambda: False) == 10
    assert Study(tmp_path / "s").work(lambda: False) == 0
    found = report(tmp_path / "s")
    assert found.best is not None
    assert found.best.skill.value == max(t.skill.value for t in found.trials)
    assert found.best.number in found.level
    assert set(found.importance) == set(KEYS)
    assert sum(found.importance.values()) == pytest.approx(1.0)
    assert f"best: trial {found.best.number}" in table(found)
    assert "--set training.learning_rate=" in found.to_dict()["command"]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_interrupted_at_every_epoch_it_ends_as_if_it_had_not_been(small_dataset: Dataset, tmp_path: Path, sampler: str) -> None:
    for name in ("whole", "torn"):
        _made(small_dataset, tmp_path / name, sampler=sampler, pruner="median", trials=8)
    Study(tmp_path / "whole").work(lambda: False)
    for questions in (2, 3, 4, 5, 6, 7) * 6:  # asked once before a trial and once an epoch: it ends elsewhere each time
        left = iter([False] * questions)
        Study(tmp_path / "torn").work(lambda left=left: next(left, True))  # type: ignore[misc]
    assert _told(tmp_path / "torn") == _told(tmp_path / "whole")


def test_a_killed_trial_is_gone_on_with_and_counts_as_failed_after_three(small_dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    _made(small_dataset, folder, trials=2)
    for attempt in (1, 2, 3):
        taken = Study(folder)._next(None)
        assert taken is not None
        trial, held = taken
        assert (trial.number, trial.attempts) == (1, attempt)
        os.close(held)  # as a kill does
    Study(folder).work(lambda: False)
    first, second = load_trials(folder)
    assert first.state == "failed"
    assert "interrupted 3 times" in first.reason
    assert second.state == "finished"


def test_killed_between_the_result_and_the_journal_the_result_stands(small_dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    _made(small_dataset, folder, trials=2)
    study = Study(folder)
    taken = study._next(None)
    assert taken is not None
    save_trial(folder, replace(taken[0], state="failed", reason="as it was"))
    os.close(taken[1])
    Study(folder).work(lambda: False)
    first, second = load_trials(folder)
    assert (first.state, first.reason) == ("failed", "as it was")
    assert second.state == "finished"


def test_a_trial_that_another_process_works_on_is_left_alone(small_dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    _made(small_dataset, folder, trials=2)
    taken = Study(folder)._next(None)
    assert taken is not None
    assert Study(folder).work(lambda: False) == 1
    assert [t.state for t in load_trials(folder)] == ["running", "finished"]
    os.close(taken[1])
    assert Study(folder).work(lambda: False) == 1
    assert [t.state for t in load_trials(folder)] == ["finished", "finished"]


def test_a_setting_that_cannot_be_trained_is_a_failed_trial_with_its_reason(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Played, "fails", staticmethod(lambda t: "the loss was not finite" if t.number == 2 else ""))
    _made(small_dataset, tmp_path / "s", trials=4)
    Study(tmp_path / "s").work(lambda: False)
    states = [t.state for t in load_trials(tmp_path / "s")]
    assert states == ["finished", "failed", "finished", "finished"]
    assert "the loss was not finite" in table(report(tmp_path / "s"))


def test_the_median_pruner_gives_up_those_that_fall_behind(small_dataset: Dataset, tmp_path: Path) -> None:
    _made(small_dataset, tmp_path / "s", trials=20, pruner="median", sampler="random")
    Study(tmp_path / "s").work(lambda: False)
    trials = load_trials(tmp_path / "s")
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned
    assert all(len(t.epochs) < 4 for t in pruned if "step 4" not in t.reason)
    best = max(t.skill.value for t in trials if t.state == "finished")
    assert all(max(v for _, v in t.epochs) < best for t in pruned)


def test_the_second_stage_searches_around_the_best_of_the_first(small_dataset: Dataset, tmp_path: Path) -> None:
    spec = _made(small_dataset, tmp_path / "s", trials=16, strategy="staged")
    Study(tmp_path / "s").work(lambda: False)
    trials = load_trials(tmp_path / "s")
    half = first_stage(spec)
    assert [t.stage for t in trials] == ["random"] * half + ["bayesian"] * (16 - half)
    best = sorted(trials[:half], key=lambda t: -t.skill.value)[:3]
    low, high = (f(float(t.params[KEYS[0]]) for t in best) for f in (min, max))
    widest = (np.log(high / low) + 0.5 * np.log(100)) / 2
    middle = np.log(low * high) / 2
    assert all(abs(np.log(float(t.params[KEYS[0]])) - middle) <= widest for t in trials[half:])
    first, second = (np.mean([t.skill.value for t in part]) for part in (trials[:half], trials[half:]))
    assert second > first


def test_a_grid_ends_when_every_point_was_tried(small_dataset: Dataset, tmp_path: Path) -> None:
    _made(small_dataset, tmp_path / "s", trials=100, sampler="grid", keys=(f"{KEYS[0]}=1e-4|1e-3|1e-2", f"{KEYS[1]}=0|0.2"))
    Study(tmp_path / "s").work(lambda: False)
    tried = [tuple(t.params.values()) for t in load_trials(tmp_path / "s")]
    assert len(tried) == len(set(tried)) == 6


def test_no_trial_is_begun_after_the_minutes(small_dataset: Dataset, tmp_path: Path) -> None:
    _made(small_dataset, tmp_path / "s", trials=0, minutes=1.0)
    assert Study(tmp_path / "s").work(lambda: False, until=0.0) == 0
    assert load_trials(tmp_path / "s") == ()


def test_an_interrupted_trial_is_not_gone_on_with_after_the_minutes(small_dataset: Dataset, tmp_path: Path) -> None:
    _made(small_dataset, tmp_path / "s", trials=1)
    taken = Study(tmp_path / "s")._next(None)
    assert taken is not None
    os.close(taken[1])
    assert Study(tmp_path / "s").work(lambda: False, until=0.0) == 0
    assert Study(tmp_path / "s").work(lambda: False) == 1


def test_a_key_of_a_later_release_is_left_aside_and_a_damaged_box_is_named(small_dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    spec = _made(small_dataset, folder, trials=8, strategy="staged")
    write_json(folder / "study.json", {**spec.to_dict(), "space": [{**d.to_dict(), "later": 1} for d in spec.space]})
    assert load_study(folder).space == spec.space
    Study(folder).work(lambda: False, None)
    for damaged in ({}, {"space": []}, {"space": [{"key": "a"}]}):
        write_json(folder / "box.json", damaged)
        with pytest.raises(UserError, match=r"box.json is damaged"):
            Study(folder)._box()


def _work(folder: Path) -> None:
    Study(folder).work(lambda: False)


def test_several_processes_share_one_study(small_dataset: Dataset, tmp_path: Path) -> None:
    _made(small_dataset, tmp_path / "s", trials=12)
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_work, args=(tmp_path / "s",)) for _ in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    trials = load_trials(tmp_path / "s")
    assert [t.number for t in trials] == list(range(1, 13))
    assert {t.state for t in trials} == {"finished"}
    assert len({tuple(t.params.values()) for t in trials}) == 12


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"objective": "churm"}, "did you mean 'churn'"),
        ({"trials": 0}, "needs an end"),
        ({"strategy": "staged", "sampler": "grid"}, "valid: gp, tpe"),
        ({"strategy": "staged", "trials": 4}, "needs 8"),
        ({"folds": 9}, "make at most|at least two"),
        ({"settings": ("training.learning_rat=1",)}, "did you mean"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(
    small_dataset: Dataset, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        _made(small_dataset, tmp_path / "s", **asked)
    assert not (tmp_path / "s").exists()


def test_another_dataset_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    spec = _made(small_dataset, tmp_path / "s")
    save_study(tmp_path / "s", replace(spec, fingerprint="0" * 32))
    with pytest.raises(UserError, match="is not the dataset of"):
        Study(tmp_path / "s")


def test_the_rate_is_searched_around_what_the_finder_suggests(small_dataset: Dataset, tmp_path: Path) -> None:
    spec = _made(small_dataset, tmp_path / "s")
    rates = np.geomspace(1e-5, 1, 101)
    none = curve(rates.tolist(), [1.0] * 101, 1e-3, 32)
    assert around(spec.space, none) == spec.space
    told = replace(none, suggestion=5e-4, steepest=4e-3, lowest=5e-3, diverged=2e-2)
    for current, high in ((2e-3, 5e-3), (8e-3, 8e-3), (3e-2, 5e-3)):  # its own rate stays, but not beyond divergence
        rate = next(d for d in around(spec.space, replace(told, current=current)) if d.key == KEYS[0])
        assert (rate.low, rate.high) == (pytest.approx(1e-4), pytest.approx(high))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("study.json", {"sampler": "x"}, "sampler is 'x'"),
        ("study.json", {"space": [{"key": "a"}]}, "is damaged"),
        (
            "study.json",
            {"space": [{"key": "a", "kind": "int", "low": None, "high": 1, "log": False, "choices": []}]},
            "missing",
        ),
        ("study.json", {"trials": 10**6}, "at most"),
        ("results/trial-0001.json", {"state": "x"}, "state is not one of"),
        ("results/trial-0001.json", {"number": 7}, "number is 7"),
        ("results/trial-0001.json", {"runs": ["../../elsewhere"]}, "not this trial's"),
        ("results/trial-0001.json", {"epochs": [[1]]}, "pairs"),
    ],
)
def test_a_damaged_study_is_one_sentence(
    small_dataset: Dataset, tmp_path: Path, name: str, change: dict[str, Any], said: str
) -> None:
    folder = tmp_path / "s"
    _made(small_dataset, folder, trials=1)
    Study(folder).work(lambda: False)
    write_json(folder / name, {**read_json(folder / name), **change})
    with pytest.raises(UserError, match=said):
        report(folder)


def test_a_study_is_read_back_as_it_was_written(small_dataset: Dataset, tmp_path: Path) -> None:
    spec = _made(small_dataset, tmp_path / "s", folds=0)
    again = load_study(tmp_path / "s")
    assert replace(again, config={}) == replace(spec, config={})
    assert load_trial(tmp_path / "s", 1) is None


def test_what_a_study_was_begun_with_cannot_be_changed_when_it_goes_on(small_dataset: Dataset, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    commands_tune._configure(parser)
    _made(small_dataset, tmp_path / "s", sampler="random")
    words = [str(small_dataset.path), str(tmp_path / "s"), "--resume"]
    commands_tune._check_resumed(parser.parse_args([*words, "--sampler", "random"]), small_dataset)
    for given, said in (("--sampler=gp", "--sampler random"), ("--seed=3", "--seed 0"), ("--folds=2", "--folds 0")):
        with pytest.raises(UserError, match=said):
            commands_tune._check_resumed(parser.parse_args([*words, given]), small_dataset)
