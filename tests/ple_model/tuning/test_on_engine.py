"""Trials as an engine's tasks: those that one process would have made, gone on with, and stopped when asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ple_model import device
from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.engine.base import Shard, Value, died, never
from ple_model.errors import UserError
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
    work_by_engine(study, engine, never, until, heard.append)
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
    engine = InProcess(slots=3)
    assert work(study, engine, time.monotonic() - 1) == []
    assert len(engine.ran) == 3, "as many tasks as run at a time"


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
    engine, began, at_work = InProcess(), time.monotonic(), list[int]()

    def run(self: Played) -> Any:
        at_work.append(self.trial.number)
        while not self.stop() and time.monotonic() < began + 60:
            pass
        return played(self)

    played = Played.run
    monkeypatch.setattr(Played, "run", run)
    assert work_by_engine(study, engine, lambda: bool(at_work), None, lambda told: None) == 0
    assert [t.state for t in load_trials(study.folder)] == ["running"]
    assert len(engine.ran) == 1, "no further task is given out"


class _Frees(InProcess):
    """After its first run a lock is free."""

    def __init__(self, lock: int) -> None:
        super().__init__()
        self.locks = [lock]

    def run(
        self, work: Callable[[Shard], Value], shards: Mapping[str, Shard], stopped: Callable[[], bool] = never
    ) -> Iterator[tuple[str, Value]]:
        yield from super().run(work, shards, stopped)
        while self.locks:
            os.close(self.locks.pop())


def test_a_trial_whose_lock_is_free_too_late_is_given_out_again(small_dataset: Dataset, tmp_path: Path) -> None:
    study = begun(small_dataset, tmp_path / "s")
    taken = study._next(None)
    assert taken is not None
    assert work(study, _Frees(taken[1])) == [2, 3, 4, 1]
    assert study.left() == 0


def test_a_trial_that_nobody_could_go_on_with_is_told(
    small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, engine = begun(small_dataset, tmp_path / "s"), InProcess()
    taken = study._next(None)
    assert taken is not None
    monkeypatch.setattr("ple_model.commands_tune.open_engine", lambda *asked: nullcontext(engine))
    assert main(["tune", str(small_dataset.path), str(tmp_path / "s"), "--resume", "--engine", "ray"]) == 1
    os.close(taken[1])
    assert len(engine.ran) == TRIALS + 1, "it ends once a round brings nothing"
    told = capsys.readouterr().err
    assert "not ended: 1" in told
    assert "--resume" in told


class _Dies(InProcess):
    def run(
        self, work: Callable[[Shard], Value], shards: Mapping[str, Shard], stopped: Callable[[], bool] = never
    ) -> Iterator[tuple[str, Value]]:
        raise died(next(iter(shards)))


def test_a_task_that_always_dies_names_no_shard_and_how_to_go_on(small_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a task that works on trials died .* --resume goes on") as raised:
        work(begun(small_dataset, tmp_path / "s"), _Dies())
    assert "shard" not in str(raised.value)


def test_a_task_has_no_gpu(
    small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "pick_device", lambda name: None)  # as if one were here
    words = ["tune", str(small_dataset.path), str(tmp_path / "new"), "--trials", "2", "--engine", "ray", "--device", "cuda"]
    assert main(words) == 2
    assert "--device: cuda is not valid" in capsys.readouterr().err
    with pytest.raises(UserError, match="begun with cuda"):
        work(begun(small_dataset, tmp_path / "begun", device="cuda"), InProcess())


def test_a_trial_of_ray_has_one_cpu(small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", str(small_dataset.path), str(tmp_path / "s"), "--trials", "2", "--engine", "ray", "--threads", "2"]
    assert main(words) == 2
    assert "a task of one CPU" in capsys.readouterr().err
