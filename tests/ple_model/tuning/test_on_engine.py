"""Trials as an engine's tasks: those that one process would have made, gone on with, and stopped when asked."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.tuning import search
from ple_model.tuning.begin import Asked, planned
from ple_model.tuning.on_engine import TrialShard, next_trial, work_by_engine
from ple_model.tuning.record import load_trials, save_study
from ple_model.tuning.search import Study, Told
from tests.in_process import InProcess
from tests.ple_model.tuning.test_search import KEYS, Played

TRIALS = 4


@pytest.fixture(autouse=True)
def _costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "TrialRunner", Played)
    monkeypatch.setattr(Played, "fails", staticmethod(lambda trial: ""))


def begun(data: Dataset, folder: Path, **asked: Any) -> Study:
    spec = planned(data, folder, Asked(**{"preset": "small", "keys": KEYS, "only": True, "trials": TRIALS, **asked}))
    folder.mkdir()
    save_study(folder, spec)
    return Study(folder)


def told(folder: Path) -> list[tuple[Any, ...]]:
    return [(t.number, t.state, dict(t.params), str(t.skill), t.epochs) for t in load_trials(folder)]


def work(study: Study, engine: InProcess, until: float | None = None) -> list[int]:
    """The trials that were told of."""
    heard: list[Told] = []
    work_by_engine(study, engine, 2, lambda: False, until, heard.append)
    return [h.trial.number for h in heard if h.event == "ended"]


def test_a_task_a_trial_makes_the_study_that_one_process_makes(small_dataset: Dataset, tmp_path: Path) -> None:
    begun(small_dataset, tmp_path / "one").work(lambda: False)
    engine = InProcess()
    study = begun(small_dataset, tmp_path / "tasks")
    assert work(study, engine) == [1, 2, 3, 4]
    assert len(engine.ran) == TRIALS
    assert told(tmp_path / "tasks") == told(tmp_path / "one")
    assert work(study, InProcess()) == []
    assert not list((tmp_path / "tasks" / "locks").glob("stop-*"))


def test_a_trial_whose_task_died_is_gone_on_with_first(small_dataset: Dataset, tmp_path: Path) -> None:
    study = begun(small_dataset, tmp_path / "s")
    taken = study._next(None)
    assert taken is not None
    os.close(taken[1])  # as a kill does
    assert work(study, InProcess()) == [1, 2, 3, 4]
    assert load_trials(tmp_path / "s")[0].reason == ""


def test_of_minutes_alone_a_task_works_until_they_are_over(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begun(small_dataset, tmp_path / "s", trials=0, minutes=1.0)
    engine = InProcess()
    assert work(study, engine, time.monotonic() - 1) == []
    assert len(engine.ran) == 2, "as many tasks as workers"


def test_a_task_that_is_to_stop_leaves_its_trial_to_be_gone_on_with(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begun(small_dataset, tmp_path / "s")
    stop = tmp_path / "stop"

    def run(self: Played) -> Any:
        stop.touch()
        return played(self)

    played = Played.run
    monkeypatch.setattr(Played, "run", run)
    assert next_trial(TrialShard(study.folder, None, stop, 1)) == ()
    assert [(t.state, t.reason) for t in load_trials(study.folder)] == [("running", "interrupted")]
    assert next_trial(TrialShard(study.folder, None, stop, 1)) == (), "none is begun any more"
    assert len(load_trials(study.folder)) == 1


def test_who_asks_to_stop_reaches_the_tasks(small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begun(small_dataset, tmp_path / "s")
    began = time.monotonic()

    def run(self: Played) -> Any:
        while not self.stop() and time.monotonic() < began + 60:
            pass
        return played(self)

    played = Played.run
    monkeypatch.setattr(Played, "run", run)
    work_by_engine(study, InProcess(), 2, lambda: True, None, lambda told: None)
    assert [t.state for t in load_trials(study.folder)] in (["running"], [])


def test_a_trial_of_ray_has_one_cpu(small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", str(small_dataset.path), str(tmp_path / "s"), "--trials", "2", "--engine", "ray", "--threads", "2"]
    assert main(words) == 2
    assert "a task of one CPU" in capsys.readouterr().err
