"""One trial: its trainings (one, or one a fold), told epoch by epoch, and what they reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ple_model.config import Config
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean
from ple_model.progress import read_progress
from ple_model.run import Run, load_run
from ple_model.training.pause import NAME as PAUSE
from ple_model.tuning.folds import fold_dataset, plan, without_test
from ple_model.tuning.judge import FoldLosses, measured
from ple_model.tuning.record import MEAN, STARTS, StudySpec, TrialRecord, locked, train_command
from ple_model.tuning.space import with_setting

Epoch = Callable[[int, float], bool]
"""Hears a step and the objective of the training's own log at it; True: the trial is to be pruned."""
SAMPLE = 500
"""Customers stored with a trial's run: enough for the pages, a tenth of a megabyte each."""


@dataclass(frozen=True)
class Place:
    """One training of a trial: its folder in `trials/` and the data that it learns from."""

    run: str
    data: Dataset


class Pruned(Exception):
    """The trial was given up."""


class Interrupted(Exception):
    """Somebody asked to stop; the trial can be gone on with."""


def places(folder: Path, spec: StudySpec, dataset: Dataset, trial: str) -> list[Place]:
    """The trainings of a trial, in order; the last one has the trial's own name."""
    if not spec.folds:
        return [Place(trial, without_test(dataset))]
    folds = plan(dataset, spec.folds)
    names = [*(f"{trial}.fold-{f.number}" for f in folds[:-1]), trial]
    with locked(folder, "folds"):  # of several processes one makes them, the others wait
        made = [fold_dataset(dataset, f, folder / "folds" / f"fold-{f.number}") for f in folds]
    return [Place(n, d) for n, d in zip(names, made, strict=True)]


def steps_of(config: Config) -> int:
    """Most epochs that one training of this configuration has."""
    t = config.training
    return min(t.phase1_epochs + t.phase2_epochs, t.max_epochs)


@dataclass
class TrialRunner:
    """Trains and judges one trial of a study."""

    folder: Path
    spec: StudySpec
    base: Config
    dataset: Dataset
    trial: TrialRecord
    hear: Epoch
    stop: Callable[[], bool]
    progress: Callable[[dict[str, Any]], None] = lambda line: None

    def run(self) -> tuple[FoldLosses, ...]:
        """What it loses on the validation rows of each fold. `Pruned`, `Interrupted`, or `UserError` where it cannot be
        trained."""
        config = with_setting(self.base, *self.trial.settings)
        most, found = steps_of(self.base), []
        for number, place in enumerate(places(self.folder, self.spec, self.dataset, self.trial.name)):
            run = self._train(place, config, number * most)
            data = self.dataset if not self.spec.folds else place.data
            found.append(measured(run, data, self.base))
        return tuple(found)

    def _train(self, place: Place, config: Config, offset: int) -> Run:
        from ple_model.train import Options, train  # late: torch

        path = self.folder / "trials" / place.run
        pruned = False

        def told(line: dict[str, Any]) -> None:
            nonlocal pruned
            self.progress(line)
            if line["event"] == "epoch" and (value := self.value_of(line)) is not None:
                pruned = self.hear(offset + int(line["epoch"]), value) or pruned

        for line in self._before(path):
            told(line)
        if pruned:
            raise Pruned
        run = train(
            place.data, path, config, preset=self.spec.preset, resume=True, device=self.spec.device, progress=told,
            stop=lambda: pruned or self.stop(),
            options=Options(
                sample_customers=SAMPLE, command=self._command(), pause_files=(self.folder / PAUSE,),
                starts=self.folder / STARTS,
            ),
        )  # fmt: skip
        if run.manifest.status != "finished":
            raise Pruned if pruned else Interrupted
        return load_run(path)

    def _before(self, path: Path) -> list[dict[str, Any]]:
        """Epochs that a killed process left behind: told again, since it may have died before it told them."""
        if not (path / "manifest.json").exists():
            return []
        return [line for line in read_progress(path / "progress.jsonl", steps=False) if line.get("event") == "epoch"]

    def value_of(self, line: dict[str, Any]) -> float | None:
        """The objective as an epoch's line has it: 1 - validation loss / constant's, by the losses of the training."""
        valid = line.get("valid") or {}
        ratio = valid.get("mean_ratio") if self.spec.objective == MEAN else (valid.get("ratio") or {}).get(self.spec.objective)
        return 1 - float(ratio) if ratio is not None and np.isfinite(ratio) else None

    def _command(self) -> str:
        return train_command(self.spec, self.trial.settings)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def check_objective(spec_objective: str, config: Config, dataset: Dataset) -> None:
    """`UserError` where the task is none of the configuration, or has no validation labels."""
    if spec_objective == MEAN:
        return
    if spec_objective not in config.tasks:
        raise UserError(f"--objective '{spec_objective}': no such task{did_you_mean(spec_objective, [MEAN, *config.tasks])}")
    if not dataset.manifest.label_counts.get(spec_objective, {}).get("validation"):
        raise UserError(f"--objective '{spec_objective}': {dataset.path} has no validation labels of it")
