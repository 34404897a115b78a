"""A study at work: trials are drawn, trained, judged and told, by one process or several, until the budget is spent.

- A trial is drawn under the study's lock and enters the journal whole; who works on it holds its lock, which dies with the
  process. A trial whose lock is free and that has not ended was interrupted: it is gone on with before any new one is drawn,
  its training from its own checkpoint, so that it ends with the numbers that it would have had. One that was interrupted
  `MOST_ATTEMPTS` times at the same epoch counts as failed.
- The journal is the search's memory, `results/` what is shown. An end is written to `results/` first: killed between the two,
  the next process tells the journal.
- The budget counts trials whatever became of them; of minutes, none is begun or gone on with after them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from ple_model.config import Config, config_from_dict
from ple_model.data.dataset.reader import Dataset
from ple_model.disk import DiskFull
from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.interval import Interval
from ple_model.safe_paths import is_file
from ple_model.tuning.dimension import Dimension, Value, setting
from ple_model.tuning.draw import box, distribution, draw, grid_size, how_many, quiet, shown, stored
from ple_model.tuning.journal import JOURNAL, Journal
from ple_model.tuning.judge import FoldLosses, save_losses, skill_of, tasks_of
from ple_model.tuning.record import (
    StudySpec,
    TrialRecord,
    claim,
    load_space,
    load_study,
    load_trial,
    load_trials,
    locked,
    save_trial,
)  # fmt: skip
from ple_model.tuning.trial import Interrupted, Pruned, TrialRunner, now, steps_of

STUDY = "study"
MOST_ATTEMPTS = 3
"""Times that one trial is begun without getting any further: one that takes more memory than there is is killed every time."""
MIN_TRIALS_TO_PRUNE = 4
"""Finished trials before the median of them says anything."""
MIN_SHARE_TO_PRUNE = 0.25
"""Share of a training before which nothing is pruned: a rate that falls late makes all curves cross early."""


@dataclass(frozen=True)
class Told:
    """What a study tells while it works: `event` is trial, epoch or ended."""

    event: str
    trial: TrialRecord
    line: Mapping[str, Any]


Hear = Callable[[Told], None]


class Study:
    """A study folder, opened to be worked on. `UserError` where its dataset has changed."""

    def __init__(self, folder: Path, hear: Hear = lambda told: None) -> None:
        quiet()
        self.folder, self.hear = folder, hear
        self.spec = load_study(folder)
        self.base: Config = config_from_dict(self.spec.config)
        self.dataset = Dataset.open(self.spec.dataset)
        if self.dataset.manifest.fingerprint != self.spec.fingerprint:
            raise UserError(
                f"{self.spec.dataset} is not the dataset of {folder}: fingerprint "
                f"{self.dataset.manifest.fingerprint[:12]}, the study was begun on {self.spec.fingerprint[:12]}"
            )
        self.steps = steps_of(self.base) * max(self.spec.folds, 1)
        with locked(folder, "draw"):
            self.storage = optuna.storages.JournalStorage(Journal(folder / JOURNAL))
            self.study = optuna.create_study(
                study_name=STUDY, storage=self.storage, direction="maximize", load_if_exists=True,
                pruner=_pruner(self.spec, self.steps),
            )  # fmt: skip

    def work(self, stop: Callable[[], bool], until: float | None = None, most: int | None = None) -> int:
        """Work until the budget is spent, the moment `until` (monotonic seconds) has passed, `most` trials have ended here or
        `stop()` is true; the number of trials that ended here."""
        ended = 0
        while ended != most and not stop():
            taken = self._next(until)
            if taken is None:
                break
            trial, held = taken
            try:
                self._run(trial, stop)
                ended += 1
            except Interrupted:
                break
            finally:
                os.close(held)
        return ended

    # --- which trial

    def _next(self, until: float | None) -> tuple[TrialRecord, int] | None:
        """A trial and the lock on it: an interrupted one, else a new one; None where the budget is spent."""
        with locked(self.folder, "draw"):
            if until is not None and time.monotonic() >= until:
                return None
            past = self.study.get_trials(deepcopy=False)
            for one in past:
                if one.state == TrialState.RUNNING and (held := claim(self.folder, _name(one.number))) is not None:
                    again = self._again(one)
                    if again is not None:
                        return again, held
                    os.close(held)
            past = self.study.get_trials(deepcopy=False)
            spent = bool(self.spec.trials) and len(past) >= self._budget()
            return None if spent else self._new(past)

    def left(self) -> int | None:
        """Trials that have not ended; None where their number is not given."""
        if not self.spec.trials:
            return None
        past = self.study.get_trials(deepcopy=False)
        return max(0, self._budget() - sum(one.state.is_finished() for one in past))

    def _budget(self) -> int:
        if self.spec.sampler == "grid" and self.spec.strategy == "plain":
            return min(self.spec.trials, grid_size(self.spec.space))
        return self.spec.trials

    def _new(self, past: Sequence[FrozenTrial]) -> tuple[TrialRecord, int] | None:
        number, space, stage = len(past), self.spec.space, ""
        sampler = self.spec.sampler
        if self.spec.strategy == "staged":
            stage = "random" if number < first_stage(self.spec) else "bayesian"
            sampler = "random" if stage == "random" else sampler
            space = space if stage == "random" else self._box()
        try:
            params = draw(self.spec, space, past, number, sampler, STUDY)
        except UserError:
            if sampler == "grid":
                return None  # every point was tried
            raise
        held = claim(self.folder, _name(number))
        if held is None:
            raise UserError(f"{self.folder}: {_name(number)} is being worked on, yet its study does not know it")
        settings = tuple(setting(k, v) for k, v in params.items())
        trial = TrialRecord(number + 1, "running", params, settings, stage=stage, began=now())
        save_trial(self.folder, trial)
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING, params={d.key: stored(d, params[d.key]) for d in self.spec.space},
                distributions={d.key: distribution(d) for d in self.spec.space},
            )
        )  # fmt: skip
        return trial, held

    def _again(self, one: FrozenTrial) -> TrialRecord | None:
        """An interrupted trial to go on with; None where it has ended already, or counts as failed now."""
        trial = load_trial(self.folder, one.number + 1) or self._remembered(one)
        if trial.done:
            self._tell(trial)
            return None
        if trial.attempts >= MOST_ATTEMPTS:
            why = f"interrupted {trial.attempts} times: counted as failed"
            self._end(replace(trial, state="failed", reason=why))
            return None
        again = replace(trial, attempts=trial.attempts + 1, reason="interrupted and gone on with")
        save_trial(self.folder, again)
        return again

    def _remembered(self, one: FrozenTrial) -> TrialRecord:
        """A trial whose record is gone, from the journal."""
        params: dict[str, Value] = {d.key: shown(d, one.params[d.key]) for d in self.spec.space}
        return TrialRecord(one.number + 1, "running", params, tuple(setting(k, v) for k, v in params.items()), began=now())

    def _box(self) -> tuple[Dimension, ...]:
        """The ranges of the second stage: made once, by whoever draws its first trial."""
        path = self.folder / "box.json"
        if is_file(path):
            kept = load_space(path)
            if [d.key for d in kept] != [d.key for d in self.spec.space]:
                raise UserError(f"{path} is damaged: its keys are not those of the study")
            return kept
        done = [t for t in load_trials(self.folder) if t.state == "finished" and t.number <= first_stage(self.spec)]
        best = sorted(done, key=lambda t: -t.skill.value)[: how_many(len(done))]
        found = box(self.spec.space, [t.params for t in best]) if best else self.spec.space
        write_json(path, {"space": [d.to_dict() for d in found], "best": [t.number for t in best]})
        return found

    # --- one trial

    def _run(self, trial: TrialRecord, stop: Callable[[], bool]) -> None:
        began, before = time.monotonic(), trial.seconds
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(
            self.storage.get_study_id_from_name(STUDY), trial.number - 1
        )
        epochs: dict[float, float] = dict(trial.epochs)
        state = trial

        def kept(**changes: Any) -> TrialRecord:
            seconds = before + time.monotonic() - began
            return replace(state, seconds=round(seconds, 1), epochs=tuple(sorted(epochs.items())), **changes)

        def epoch(step: int, value: float) -> bool:
            nonlocal state
            new = float(step) not in epochs
            epochs[float(step)] = value
            self.storage.set_trial_intermediate_value(trial_id, step, value)
            state = kept(attempts=1) if new else kept()
            save_trial(self.folder, state)
            self.hear(Told("epoch", state, {}))
            return bool(self.study.pruner.prune(self.study, self.storage.get_trial(trial_id)))

        self.hear(Told("trial", trial, {}))
        runner = TrialRunner(
            self.folder, self.spec, self.base, self.dataset, trial, epoch, stop,
            lambda line: self.hear(Told("line", state, line)),
        )  # fmt: skip
        try:
            found = runner.run()
            save_losses(self.folder, trial.number, found)
            reached = _reached(found, self.spec.objective)
            self._end(kept(state="finished", reason="", runs=self._runs(trial), **reached))
        except Pruned:
            why = f"pruned at step {max(epochs, default=0):.0f}: behind the trials before it ({self.spec.pruner})"
            self._end(kept(state="pruned", reason=why, runs=self._runs(trial)))
        except Interrupted:
            save_trial(self.folder, kept(reason="interrupted", runs=self._runs(trial), attempts=max(state.attempts - 1, 0)))
            raise
        except DiskFull:
            raise
        except UserError as e:
            self._end(kept(state="failed", reason=" ".join(str(e).split())[:1000], runs=self._runs(trial)))

    def _runs(self, trial: TrialRecord) -> tuple[str, ...]:
        names = [*(f"{trial.name}.fold-{i}" for i in range(1, max(self.spec.folds, 1))), trial.name]
        return tuple(n for n in names if is_file(self.folder / "trials" / n / "manifest.json"))

    def _end(self, trial: TrialRecord) -> None:
        trial = replace(trial, ended=now())
        save_trial(self.folder, trial)
        self._tell(trial)
        self.hear(Told("ended", trial, {}))

    def _tell(self, trial: TrialRecord) -> None:
        """The journal hears how a trial ended."""
        states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        value = trial.skill.value if trial.state == "finished" else None
        if trial.state == "finished" and value != value:
            states["finished"], value = TrialState.FAIL, None
        self.study.tell(trial.number - 1, value, states[trial.state], skip_if_finished=True)
        if trial.state == "finished":
            save_importance(self.folder, self.study, len(self.spec.space))


def _reached(found: Sequence[FoldLosses], aim: str) -> dict[str, Any]:
    skill: Interval = skill_of(found, aim)
    if skill.value != skill.value:
        raise UserError("no validation row it is judged on has a label to tune by")
    return {"skill": skill, "tasks": tasks_of(found)}


def first_stage(spec: StudySpec) -> int:
    """Trials of the random stage of a staged strategy: half of the budget."""
    return max(1, spec.trials // 2)


def _pruner(spec: StudySpec, steps: int) -> optuna.pruners.BasePruner:
    warm = max(1, round(MIN_SHARE_TO_PRUNE * steps / max(spec.folds, 1)))
    if spec.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=MIN_TRIALS_TO_PRUNE, n_warmup_steps=warm)
    if spec.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=warm, max_resource=max(steps, warm + 1), reduction_factor=3)
    return optuna.pruners.NopPruner()


def _name(number: int) -> str:
    """Lock of the trial that Optuna counts from 0."""
    return f"trial-{number + 1:04d}"


def save_importance(folder: Path, study: optuna.Study, keys: int) -> None:
    """How much of the spread of the objective each key explains: fANOVA (Hutter et al. 2014) by Optuna, as shares of 1. Not
    before there are more finished trials than keys and one: fewer fit any explanation."""
    done = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    if keys < 2 or len(done) < keys + 2 or len({t.value for t in done}) < 2:
        return
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    write_json(folder / "importance.json", {"trials": len(done), "shares": found})
