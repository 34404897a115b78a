"""What a trial reached: skill on validation rows, with intervals of resampled customers; and which trials can be told apart.

Skill is `1 - loss / loss of the constant` (`ple_model.skill`), the objective its mean over the tasks that have labels, or one
task's. The yardstick is that of the study's own configuration and training labels, the same for every trial. Of every trial the
losses are kept as sums by customer (by group of customers where there are more than `skill.GROUPS`), so that any two can be
compared on the same resampled customers. Of cross-validation the objective is the mean over folds.

The test split is never read. Validation rows have also chosen the epoch and fitted the calibration of every trial, and the best
of many trials is chosen by them: what the best one reaches there is more than it will reach on new customers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.interval import Interval
from ple_model.row_loss import of_own, yardstick
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.safe_paths import is_file, make_folder
from ple_model.skill import ROUNDS, Resamples
from ple_model.tuning.record import MEAN, TrialRecord, trial_name

if TYPE_CHECKING:
    from ple_model.config import Config
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FoldLosses:
    """Sums of losses by group of customers [groups, tasks] on one fold's validation rows, the trial's and the constant's."""

    tasks: tuple[str, ...]
    loss: Array
    constant: Array

    def skills(self, weight: Array | None = None) -> Array:
        """[tasks], or [rounds, tasks] under weights [rounds, groups]; NaN where a task has no rows or nothing to predict."""
        loss, constant = (x.sum(0) if weight is None else weight @ x for x in (self.loss, self.constant))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(constant > 0, 1 - loss / constant, np.nan))


def measured(run: Run, data: Dataset, base: Config) -> FoldLosses:
    """Of a finished run on the validation rows of `data`. `UserError` where a prediction is no number or no task has labels."""
    from ple_model.scoring import score  # late: torch
    from ple_model.yardsticks import training_column  # late: torch

    scores = score(run.model(), data, "validation", calibration=run.calibration)
    scores.tally.raise_if_any()
    everyone = Resamples(scores.customer_id)
    brands = len(data.context().brands)
    names: list[str] = []
    columns: list[tuple[Array, Array]] = []
    for name, rows in scores.tasks.items():
        if not len(rows) or name not in data.manifest.tasks:
            continue
        judge = yardstick(
            rows.spec, training_column(data, name), classes=brands if rows.spec.kind == "contrastive" else 0,
            delta=base.training.huber_delta,
        )  # fmt: skip
        there = np.zeros(len(rows), bool) if judge is None else judge.known(rows.label)
        if judge is None or not there.any():
            continue
        label, told = rows.label[there], rows.prediction[there]
        if rows.own is not None:
            loss = of_own(rows.own[there])
        elif rows.spec.kind == "regression":
            loss = judge.of_amounts(label, told - run.shifts[name].shift if name in run.shifts else told)
        else:
            loss = judge.of_probabilities(label, told)
        group = everyone.group[rows.row[there]]
        names.append(name)
        columns.append(
            (
                np.bincount(group, loss, minlength=everyone.count).astype(np.float64),
                np.bincount(group, judge.of_constant(label), minlength=everyone.count).astype(np.float64),
            )
        )
    if not names:
        raise UserError(f"{data.path} has no validation labels of any task that is trained: there is nothing to tune by")
    return FoldLosses(tuple(names), np.stack([c[0] for c in columns], 1), np.stack([c[1] for c in columns], 1))


def objective(folds: Sequence[FoldLosses], aim: str, weights: Sequence[Array] | None = None) -> Array:
    """[] or [rounds]: mean over folds of the mean skill over tasks, or of the skill of the task `aim`."""
    found = []
    for i, fold in enumerate(folds):
        skills = fold.skills(None if weights is None else weights[i])
        chosen = skills if aim == MEAN else skills[..., [fold.tasks.index(aim)]]
        known = np.isfinite(chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.where(known, chosen, 0.0).sum(-1) / known.sum(-1))
    return np.asarray(np.mean(found, axis=0))


def resampled(folds: Sequence[FoldLosses], rounds: int = ROUNDS) -> list[Array]:
    """Weights [rounds, groups] of each fold's customers, the same for every trial of a study."""
    return [_weights(len(f.loss), rounds) for f in folds]


@lru_cache(maxsize=8)
def _weights(groups: int, rounds: int) -> Array:
    """Seeded, so that they are the same whenever they are drawn."""
    return Resamples(np.arange(groups), rounds=rounds).weight


def skill_of(folds: Sequence[FoldLosses], aim: str) -> Interval:
    """The objective with its 95 % interval."""
    return _interval(float(objective(folds, aim)), objective(folds, aim, resampled(folds)))


def tasks_of(folds: Sequence[FoldLosses]) -> dict[str, Interval]:
    """Skill by task, the mean over folds that have it, with its interval."""
    weights = resampled(folds)
    names = list(dict.fromkeys(t for f in folds for t in f.tasks))
    found: dict[str, Interval] = {}
    for name in names:
        have = [(f, w) for f, w in zip(folds, weights, strict=True) if name in f.tasks]
        mine, theirs = [f for f, _ in have], [w for _, w in have]
        value = float(objective(mine, name))
        if np.isfinite(value):
            found[name] = _interval(value, objective(mine, name, theirs))
    return found


def ahead(one: Sequence[FoldLosses], other: Sequence[FoldLosses], aim: str) -> Interval:
    """How far the objective of `one` is above that of `other`, on the same resampled customers. `UserError` where they were not
    judged on the same rows."""
    shapes = [[(f.tasks, f.loss.shape) for f in x] for x in (one, other)]
    if shapes[0] != shapes[1]:
        raise UserError("two trials of the study were judged on other rows: they cannot be compared")
    weights = resampled(one)
    draws = objective(one, aim, weights) - objective(other, aim, weights)
    return _interval(float(objective(one, aim) - objective(other, aim)), draws)


def _interval(value: float, draws: Array) -> Interval:
    draws = draws[np.isfinite(draws)]
    if len(draws) < ROUNDS // 2:
        return Interval(value)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def save_losses(folder: Path, number: int, folds: Sequence[FoldLosses]) -> None:
    arrays: dict[str, object] = {}
    for i, fold in enumerate(folds):
        arrays |= {f"loss_{i}": fold.loss, f"constant_{i}": fold.constant, f"tasks_{i}": np.asarray(fold.tasks)}
    write_npz(make_folder(folder / "results") / f"{trial_name(number)}.npz", arrays, packed=True)


def load_losses(folder: Path, number: int) -> tuple[FoldLosses, ...] | None:
    """None where there are none. `UserError` where they are damaged."""
    path = folder / "results" / f"{trial_name(number)}.npz"
    if not is_file(path):
        return None
    arrays = read_npz(path, 1 << 30)
    found = []
    for i in range(len(arrays) // 3):
        parts = [arrays.get(f"{k}_{i}") for k in ("loss", "constant", "tasks")]
        loss, constant, tasks = parts
        if loss is None or constant is None or tasks is None:
            raise UserError(f"{path} is damaged: fold {i} is not whole")
        sound = loss.shape == constant.shape and loss.ndim == 2 and tasks.shape == loss.shape[1:]
        if not sound or loss.dtype.kind != "f" or constant.dtype.kind != "f" or tasks.dtype.kind != "U":
            raise UserError(f"{path} is damaged: the arrays of fold {i} do not go together")
        found.append(FoldLosses(tuple(map(str, tasks.tolist())), loss, constant))
    return tuple(found)


@dataclass(frozen=True)
class Ranking:
    """The best finished trial, and how far it is ahead of each other one, paired by customer."""

    best: int
    ahead: Mapping[int, Interval]

    @property
    def level(self) -> tuple[int, ...]:
        """The best one and those that cannot be told from it: the interval of the difference holds 0, or is not known."""
        near = [n for n, gap in self.ahead.items() if not gap.low > 0]
        return tuple(sorted({self.best, *near}))


def standing(folder: Path, trials: Sequence[TrialRecord], aim: str) -> Ranking | None:
    """Of the finished trials of a study; None where there is none."""
    done = [t for t in trials if t.state == "finished" and np.isfinite(t.skill.value)]
    if not done:
        return None
    best = max(done, key=lambda t: (t.skill.value, -t.number))
    losses = {t.number: load_losses(folder, t.number) for t in done}
    mine = losses[best.number]
    gaps: dict[int, Interval] = {}
    for trial in done:
        if trial.number == best.number:
            continue
        theirs = losses[trial.number]
        plain = Interval(best.skill.value - trial.skill.value)
        gaps[trial.number] = plain if mine is None or theirs is None else ahead(mine, theirs, aim)
    return Ranking(best.number, gaps)
