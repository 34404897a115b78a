"""Skill: how much better than a constant a run predicts each task, beside what simpler answers reach on the same rows.

`1 - mean loss / mean loss of the constant` by the row losses of `ple_model.skill`; 0 is a constant, below 0 is worse than one.
Intervals resample customers, and pair what is compared (`ple_model.skill`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analysis.stats.base import MIN_ROWS
from ple_model.interval import Interval

ROUNDING = 1e-5
"""A skill within this of 0 is that of the constant: a task that takes nothing of what the network says of brands is it."""
MIN_EVENTS = 10
"""Rows of the rarer label below which a binary task's skill is not judged: of nine and fewer the number itself is a third
uncertain, and resampled customers never show a label that is not there."""
SPLITS = ("test", "validation", "train")
"""In the order in which they tell most: a model has seen the last."""
PAIRED = ("linear", "boosting", "reachable")
"""What a model is held against row by row."""
SIMPLER = ("linear", "boosting")


@dataclass(frozen=True, eq=False)
class TaskSkill:
    """One task on the labelled rows of one split."""

    task: str
    kind: str
    loss: str
    """log_loss, huber, squared_error or brand_log_loss."""
    rows: int
    customers: int
    losses: dict[str, float]
    """Mean loss on these rows: constant, recency, prior_spend, linear, boosting, reachable, model; absent: not known."""
    skill: Interval
    """The model's."""
    baseline_skill: dict[str, float]
    """1 - loss / loss of the constant, of the others."""
    behind: dict[str, Interval]
    """(model's loss - other's loss) / constant's loss, paired by row, of `PAIRED`; above 0: the model is behind."""
    trained_on: int = 0
    """Labelled training rows that the baselines were fitted on; 0: there are none but the constant."""
    events: int | None = None
    """Of a binary task, the rows of the rarer label; None: of another task."""


class Measured(Protocol):
    """`Statistics`, which knows this module."""

    @property
    def skill(self) -> dict[str, dict[str, TaskSkill]]: ...


def judged_skill(statistics: Measured) -> dict[str, TaskSkill]:
    """By task, on the split that tells most: test, else validation, else train."""
    return best_split(statistics.skill)


def best_split(skill: Mapping[str, Mapping[str, TaskSkill]]) -> dict[str, TaskSkill]:
    """The same from skill by split."""
    found: dict[str, TaskSkill] = {}
    for split in SPLITS:
        for task, one in skill.get(split, {}).items():
            found.setdefault(task, one)
    return found


def has_skill(one: TaskSkill) -> bool | None:
    """Whether the whole interval lies above 0; None where there are too few rows, or of one label too few, to say."""
    if one.rows < MIN_ROWS or not np.isfinite(one.skill.low) or (one.events is not None and one.events < MIN_EVENTS):
        return None
    return one.skill.low > ROUNDING


def behind_simpler(one: TaskSkill) -> float | None:
    """How far, of the constant's loss, the model is behind a simpler one with the whole interval; 0: behind none; None: there
    is none to be held against."""
    known = [one.behind[k] for k in SIMPLER if k in one.behind]
    return max((v.value for v in known if v.low > 0), default=0.0) if known else None
