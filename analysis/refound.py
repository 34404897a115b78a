"""Do these rows' labels go with their inputs at all? A fit made on them afresh, where the model finds nothing in them.

A ridge regression, customer by customer, on rows that did not train the model (`ple_model.told`), beside what the same fit
found on as many held-out rows at the end of the training. Only for tasks of which the model predicts less than half of what
its training had found in them, or, where no task at all was learnt, for those that a single column tells most of: a healthy run
is not made to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.labels import ReadRows, labels_of
from analysis.nullable import filled
from analysis.rows_relation import rows_relation
from analysis.stats.labels import Refound, TaskLabels
from analysis.stats.skill import TaskSkill, has_skill
from analysis.stats.training import TrainingStats
from ple_model.interval import Interval
from ple_model.label_profile import TrainedLabels
from ple_model.tasks import TaskSpec
from ple_model.told import FEWEST, RAREST, ROWS, ranked, told

TASKS = 16
FOUND = 0.05
"""Skill from which a training had found something in a task: half of what boosting reaches on the weakest tasks of the bank."""
OLDER = 0.25
"""Share of the skill found at training that the fit tells on 500 rows at least, where a run did not keep it: of eight tasks of
the synthetic bank with a skill of 0.1 and more 0.27 to 1.2."""


def found_at_training(training: TrainingStats | None) -> dict[str, float]:
    """By task, 1 - validation loss / constant's, in the epoch whose weights were kept."""
    if training is None or not len(training):
        return {}
    mean = training.series("valid", "mean_ratio")
    if not np.isfinite(mean).any():
        return {}
    best = int(np.nanargmin(mean))
    return {k: float(1 - v[best]) for k, v in training.table("valid", "ratio").items() if np.isfinite(v[best])}


def in_doubt(skills: Mapping[str, TaskSkill], found: Mapping[str, float], labels: Mapping[str, TaskLabels]) -> list[str]:
    """Tasks that are worth a fit, the most telling first."""
    judged = {
        k: v for k, v in skills.items() if has_skill(v) is not None and v.kind != "contrastive" and _varied(labels.get(k))
    }
    lost = [k for k, v in judged.items() if found.get(k, 0.0) >= FOUND and v.skill.high < found[k] / 2]
    if lost:
        return sorted(lost, key=lambda k: -found[k])[:TASKS]
    if len(judged) < 3 or any(has_skill(v) for v in judged.values()):
        return []
    told = {k: v.giveaway.tells for k, v in labels.items() if k in judged and v.giveaway is not None}
    return sorted(told, key=lambda k: -told[k])[:TASKS]


def _varied(v: TaskLabels | None) -> bool:
    """Amounts, or classes of which others than the commonest have rows enough for a fit."""
    return v is not None and (not v.counts or sum(v.counts) - max(v.counts) >= RAREST)


def refound(
    rows: Path,
    read: ReadRows,
    specs: Mapping[str, TaskSpec],
    tasks: list[str],
    found: Mapping[str, float],
    kept: Mapping[str, TrainedLabels],
) -> dict[str, Refound]:
    """By task; those with too few labels are left out."""
    out: dict[str, Refound] = {}
    with rows_relation(rows) as connection:
        data = connection.execute("SELECT row, split, customer_id FROM rows ORDER BY row").fetchnumpy()
        number = filled(data["row"]).astype(np.int64)
        at = np.searchsorted(number, read.row)
        fresh = np.flatnonzero(filled(data["split"]).astype(str)[at] != "train")
        customer = filled(data["customer_id"]).astype(str)[at]
        columns: dict[bytes, NDArray[np.float32]] = {}
        for task in tasks:
            y = labels_of(connection, task, read.row)
            known = fresh[np.isfinite(y[fresh])][:ROWS]
            if len(known) < FEWEST:
                continue
            mark = known.tobytes()  # most tasks have a label in every row
            if mark not in columns:
                columns[mark] = ranked(read.values[known])
            again = told(specs[task].kind, y[known], columns[mark], customer[known])
            if again is not None:
                skill = found.get(task, float("nan"))
                then, spread = _then(kept.get(task), len(known), skill)
                out[task] = Refound(len(known), skill, Interval(again.value, again.low, again.high), then, spread)
    return out


def _then(kept: TrainedLabels | None, n: int, skill: float) -> tuple[float, float]:
    """What the fit told on as many rows at training, and how far its samples lay from that."""
    if kept is not None and kept.told is not None:
        return kept.told.at(n)
    return (OLDER * skill, OLDER * skill / 3) if n >= 500 and skill >= 2 * FOUND else (float("nan"), float("nan"))
