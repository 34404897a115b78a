"""What a trial reached: skill on validation rows, with intervals of resampled customers; and which trials can be told apart.

Skill is `1 - loss / loss of the constant` (`ple_model.skill`), the objective its mean over the tasks that have labels, or one
task's. The yardstick is that of the study's own configuration and training labels, the same for every trial. Of every trial the
losses are kept as sums by customer (by group of customers where there are more than `skill.GROUPS`), so that any two can be
compared on the same resampled customers. Of cross-validation the objective is the mean over the folds that have labels of it.

A study compares many trials and picks its best by the same customers, so that intervals of single pairs would set some apart by
chance. Those of the differences hold all at once: as wide as the largest of all differences, in its own standard errors, is in
95 % of the resamples (the studentised maximum of Romano & Wolf 2005, "Stepwise Multiple Testing as Formalized Data Snooping").

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
from ple_model.skill import GROUPS, ROUNDS, Resamples
from ple_model.tuning.record import MEAN, TrialRecord, trial_name

if TYPE_CHECKING:
    from ple_model.config import Config
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

Array = NDArray[np.float64]
FAMILY = 300
"""Trials whose differences the intervals hold for at once, the best ones; those behind them are far behind."""
MOST_BYTES = 1 << 27
"""Of one trial's losses: a hundred folds of `GROUPS` groups and 18 tasks."""


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
    """[] or [rounds]: mean over folds of the mean skill over tasks, or of the skill of the task `aim`; of the folds that have
    it, NaN where none has."""
    found = []
    for i, fold in enumerate(folds):
        there = np.isfinite(fold.skills()) & np.array([aim in (MEAN, task) for task in fold.tasks], dtype=bool)
        if not there.any():
            continue
        chosen = fold.skills(None if weights is None else weights[i])[..., there]
        known = np.isfinite(chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.where(known, chosen, 0.0).sum(-1) / known.sum(-1))
    if not found:
        return np.full(() if weights is None else len(weights[0]), np.nan)
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


@dataclass(frozen=True)
class Resampled:
    """A trial's objective, and on each resample [rounds] of the customers; `rows` says on which rows."""

    rows: tuple[tuple[tuple[str, ...], int], ...]
    value: float
    draws: Array


def drawn(folds: Sequence[FoldLosses], aim: str) -> Resampled:
    rows = tuple((f.tasks, len(f.loss)) for f in folds)
    return Resampled(rows, float(objective(folds, aim)), objective(folds, aim, resampled(folds)))


def ahead(found: Mapping[int, Resampled], best: int) -> dict[int, Interval]:
    """By number, how far the objective of `best` is above that of each other trial, with 95 % intervals that hold for the
    differences of all trials at once. `UserError` where they were not judged on the same rows."""
    if len({d.rows for d in found.values()}) > 1:
        raise UserError("two trials of the study were judged on other rows: they cannot be compared")
    draws = np.stack([d.draws for d in found.values()])
    draws = draws[:, np.isfinite(draws).all(0)]
    value = np.array([d.value for d in found.values()])
    off, at = draws - value[:, None], list(found).index(best)
    known = draws.shape[1] >= ROUNDS // 2
    wide = _widest(off[np.argsort(-value)[:FAMILY]]) * (off[at] - off).std(1) if known else np.full(len(value), np.nan)
    both = [(float(value[at] - v), float(w)) for v, w in zip(value, wide, strict=True)]
    every = {n: Interval(gap, gap - w, gap + w) if known else Interval(gap) for n, (gap, w) in zip(found, both, strict=True)}
    return {n: gap for n, gap in every.items() if n != best}


def _widest(off: Array) -> float:
    """Standard errors within which all differences of these trials [trials, rounds] are in 95 % of the rounds."""
    most = np.zeros(off.shape[1])
    for i in range(len(off) - 1):
        apart = off[i] - off[i + 1 :]
        error = apart.std(1, keepdims=True)
        most = np.maximum(most, (np.abs(apart) / np.where(error > 0, error, np.inf)).max(0))
    return float(np.percentile(most, 95))


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
    arrays = read_npz(path, MOST_BYTES)
    found = []
    for i in range(len(arrays) // 3):
        parts = [arrays.get(f"{k}_{i}") for k in ("loss", "constant", "tasks")]
        loss, constant, tasks = parts
        if loss is None or constant is None or tasks is None:
            raise UserError(f"{path} is damaged: fold {i} is not whole")
        sound = loss.shape == constant.shape and loss.ndim == 2 and tasks.shape == loss.shape[1:] and len(loss) <= GROUPS
        if not sound or loss.dtype.kind != "f" or constant.dtype.kind != "f" or tasks.dtype.kind != "U":
            raise UserError(f"{path} is damaged: the arrays of fold {i} do not go together")
        found.append(FoldLosses(tuple(map(str, tasks.tolist())), loss, constant))
    return tuple(found)


@dataclass(frozen=True)
class Ranking:
    """The best finished trial, and how far it is ahead of each other one, paired by customer, all intervals at once."""

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
    found: dict[int, Resampled] = {}
    for trial in done:  # one trial's losses in memory at a time
        losses = load_losses(folder, trial.number)
        if losses is not None:
            found[trial.number] = drawn(losses, aim)
    plain = {t.number: Interval(best.skill.value - t.skill.value) for t in done if t.number != best.number}
    return Ranking(best.number, plain | (ahead(found, best.number) if best.number in found else {}))
