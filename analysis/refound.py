"""Do these rows' labels go with their inputs at all? A boosting fitted on them afresh, where the model finds nothing in them.

Cross-validated over two halves of the customers, on rows that did not train the model. Only for a few tasks of which the model
predicts less than half of what its training had found in them, or, where no task at all was learnt, for those that a single
column tells most of: a healthy run is not made to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np

from analysis.labels import ReadRows, labels_of
from analysis.nullable import filled
from analysis.stats.base import Array
from analysis.stats.labels import Refound, TaskLabels
from analysis.stats.probes import halves
from analysis.stats.skill import Interval, TaskSkill, has_skill
from analysis.stats.training import TrainingStats
from ple_model.baselines import fit_boosting
from ple_model.skill import skill
from ple_model.sql_paths import to_read
from ple_model.tasks import TaskSpec

TASKS = 4
ROWS = 4_000
"""Rows of a fit at most."""
FEWEST = 200
"""Rows below which a fit on half of them says nothing."""
FOUND = 0.05
"""Skill from which a training had found something in a task: half of what boosting reaches on the weakest tasks of the bank."""
RAREST = 20
"""Rows outside the commonest class below which a fit says nothing."""
SMALLEST = 1e-7


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
    rows: Path, read: ReadRows, specs: Mapping[str, TaskSpec], tasks: list[str], found: Mapping[str, float]
) -> dict[str, Refound]:
    """By task; those with too few labels are left out."""
    out = {}
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({to_read(rows)})")
        data = connection.execute("SELECT row, split, customer_id FROM rows ORDER BY row").fetchnumpy()
        number = filled(data["row"]).astype(np.int64)
        at = np.searchsorted(number, read.row)
        split, customer = filled(data["split"]).astype(str)[at], filled(data["customer_id"]).astype(str)[at]
        fresh = split != "train"
        for task in tasks:
            y = labels_of(connection, task, read.row)
            if task in specs and specs[task].log_scale:
                y = np.log1p(y)
            known = np.flatnonzero(np.isfinite(y) & fresh)[:ROWS]
            if len(known) < FEWEST:
                continue
            again = _fitted(specs[task], read.values[known], y[known], customer[known])
            if again is not None:
                out[task] = Refound(len(known), found.get(task, float("nan")), again)
    return out


def _fitted(spec: TaskSpec, x: np.ndarray, y: Array, customers: np.ndarray) -> Interval | None:
    half = halves(customers.tolist())
    loss, base = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for a in (half, ~half):
        predict = fit_boosting(spec, x[a], y[a], 0, customers[a].astype(object))
        if predict is None:
            return None
        p = predict(x[~a])
        if spec.kind == "regression":
            loss[~a], base[~a] = (p - y[~a]) ** 2, (y[a].mean() - y[~a]) ** 2
            continue
        classes = 2 if spec.kind == "binary" else spec.out_dim
        share = np.bincount(y[a].astype(np.int64), minlength=classes) / int(a.sum())
        index = y[~a].astype(np.int64)
        own = np.where(index == 1, p, 1 - p) if spec.kind == "binary" else p[np.arange(len(p)), index]
        # a class that the other half does not have costs both the same
        unseen = share[index] == 0
        loss[~a] = -np.log(np.where(unseen, 1.0, np.clip(own, SMALLEST, 1)))
        base[~a] = -np.log(np.where(unseen, 1.0, np.clip(share[index], SMALLEST, 1)))
    found = skill(loss, base, customers)
    return Interval(found.value, found.low, found.high)
