"""A new study from what was asked for, checked whole before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ple_model.config import load_config
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.tuning.dimension import Dimension
from ple_model.tuning.finder import RateCurve
from ple_model.tuning.folds import overlap_days, plan
from ple_model.tuning.record import MAX_TRIALS, STARTS, Pruner, Sampler, Strategy, StudySpec, is_study
from ple_model.tuning.space import chosen_space
from ple_model.tuning.trial import check_objective, now

RATE = "training.learning_rate"
BEFORE = {"finder.json", STARTS}
"""What a folder may hold before its study: the curve of `--find-rate`, and the start that it fitted."""
LEAST_STAGED = 8
"""Trials of a staged study: four random ones give a best three to go on from, and as many are left to do so."""


@dataclass(frozen=True)
class Asked:
    """What `ple tune` was asked for."""

    preset: str
    config: Path | None = None
    settings: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    only: bool = False
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    strategy: Strategy = "plain"
    objective: str = "mean"
    folds: int = 0
    seed: int = 0
    trials: int = 0
    minutes: float | None = None
    device: str = "auto"


def planned(dataset: Dataset, folder: Path, asked: Asked) -> StudySpec:
    """The study that was asked for; nothing is written. `UserError` for anything that cannot be."""
    if is_study(folder):
        raise UserError(f"{folder} already holds a study; --resume goes on with it, or choose another folder")
    if folder.exists() and {p.name for p in folder.iterdir()} - BEFORE:
        raise UserError(f"{folder} is not empty and holds no study; choose another folder")
    config = load_config(asked.preset, asked.config, asked.settings)
    space = chosen_space(config, asked.keys, only=asked.only)
    for split in ("train", "validation"):
        if not dataset.rows(split):
            raise UserError(f"{dataset.path} has no rows in its {split} split; tuning needs them")
    check_objective(asked.objective, config, dataset)
    if asked.folds:
        plan(dataset, asked.folds)
    if not asked.trials and asked.minutes is None:
        raise UserError("a study needs an end: give --trials N or --minutes M")
    if asked.trials > MAX_TRIALS:
        raise UserError(f"--trials: {asked.trials} is not valid, it must be at most {MAX_TRIALS}")
    if asked.strategy == "staged":
        _staged(asked)
    return StudySpec(
        dataset.path.resolve(), dataset.manifest.fingerprint, asked.preset, asked.settings, config.to_dict(), space,
        asked.sampler, asked.pruner, asked.strategy, asked.objective, asked.folds, asked.seed, asked.trials, asked.device,
        now(), "" if asked.config is None else asked.config.name,
    )  # fmt: skip


def _staged(asked: Asked) -> None:
    if asked.sampler not in ("tpe", "gp"):
        raise UserError(f"--sampler {asked.sampler}: the second stage of --strategy staged is Bayesian; valid: gp, tpe")
    if asked.trials < LEAST_STAGED:
        raise UserError(f"--trials: {asked.trials} is not valid, --strategy staged divides its trials and needs {LEAST_STAGED}")


def notes(dataset: Dataset, spec: StudySpec) -> list[str]:
    """What a reader of the study has to know of its rows."""
    if not spec.folds:
        return []
    found = []
    for fold in plan(dataset, spec.folds):
        days = overlap_days(dataset, fold)
        said = f"fold {fold.number}: learns from {', '.join(fold.learns)}, judged on {fold.judged}"
        found.append(f"{said}; labels overlap by {days} days, of other customers" if days else said)
    return found


def around(space: Sequence[Dimension], found: RateCurve) -> tuple[Dimension, ...]:
    """The space with the learning rate from a tenth of what the finder suggests to where its loss is lowest, within the range
    that was declared or given: rates far below learn nothing in the epochs there are, those above diverge. The configuration's
    own rate stays in it, unless the test diverged there: a schedule that rises slowly bears more than a test of few steps."""
    if found.suggestion is None or found.lowest is None:
        return tuple(space)
    most = max(found.lowest, found.current if found.current < (found.diverged or math.inf) else 0.0)
    out = []
    for one in space:
        if one.key == RATE and one.kind == "float":
            low, high = max(one.low, found.suggestion / 10), min(one.high, most)
            out.append(replace(one, low=low, high=high) if low < high else one)
        else:
            out.append(one)
    return tuple(out)
