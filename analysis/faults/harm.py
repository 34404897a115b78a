"""Does a planted fault do harm? A check that is silent about one that does none misses nothing.

Harm is what a reader or a customer would get wrong: predictions that are no numbers, or a task whose loss on the held-out rows
is another than that of the healthy run. Losses are those of the calibrated prediction in units of the constant predictor's; for
faults in inputs, weights and training the labels are the true ones, for faults in labels those that arrived. The interval
resamples customers, the same for both sides, at 95 % over all tasks together (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ple_model.baselines import training_labels
from ple_model.data.dataset.reader import Dataset
from ple_model.finish import calibrated
from ple_model.run import Run
from ple_model.scoring import Scores, TaskRows, score

Array = NDArray[np.float64]
LEAST = 0.01
"""In units of the constant's loss: what counts as level with another model (docs/learning.md)."""
ROUNDS = 2000
SPLIT = "test"
EPS = 1e-7
LAST = 1000.0
"""Rank of a brand whose score is no number."""


@dataclass(frozen=True)
class Harm:
    """The task that is changed most. `change`, `low`, `high`: its loss minus the healthy one, over the constant's."""

    harmful: bool
    task: str = ""
    change: float | None = None
    low: float | None = None
    high: float | None = None
    lost: float = 0.0
    """share of predictions that are no numbers"""

    def __str__(self) -> str:
        if self.lost:
            return f"{self.lost:.1%} of the predictions are no numbers"
        if self.change is None:
            return "no run" if self.harmful else "none"
        return f"{self.task} {self.change:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


STOPPED = Harm(True)
"""A fault that stops a run."""


@dataclass(frozen=True)
class Losses:
    """By task: summed loss and number of labelled rows of each customer, and the share of predictions that are no numbers."""

    customers: dict[str, dict[str, tuple[float, int]]]
    lost: float


def scored(run: Run, dataset: Dataset) -> Scores:
    """Calibrated predictions of a run's model for the labelled rows that nobody learned from."""
    with np.errstate(all="ignore"):
        return calibrated(score(run.model(finite=False), dataset, SPLIT), run.calibration)


def losses(scores: Scores) -> Losses:
    """Of those rows, by task and customer."""
    found: dict[str, dict[str, tuple[float, int]]] = {}
    lost = total = 0
    for task, rows in scores.tasks.items():
        value = row_loss(rows)
        bad = ~np.isfinite(rows.prediction.reshape(len(rows), -1)).all(1)
        lost, total = lost + int(bad.sum()), total + len(rows)
        found[task] = by_customer(scores, task, value)
    return Losses(found, lost / total if total else 0.0)


def by_customer(scores: Scores, task: str, value: Array) -> dict[str, tuple[float, int]]:
    out: dict[str, tuple[float, int]] = {}
    for customer, x in zip(scores.customers(task), value.tolist(), strict=True):
        total, n = out.get(customer, (0.0, 0))
        out[customer] = (total + x, n + 1)
    return out


def row_loss(rows: TaskRows) -> Array:
    """[n] loss of each row; a prediction that is no number counts as certain and wrong."""
    y, p = rows.label, rows.prediction
    if rows.spec.kind == "binary":
        q = np.clip(np.where(np.isfinite(p), p, 1 - y), EPS, 1 - EPS)
        return np.asarray(-np.log(np.where(y == 1, q, 1 - q)))
    if rows.spec.kind == "multiclass":
        own = p[np.arange(len(y)), y.astype(int)]
        return np.asarray(-np.log(np.clip(np.where(np.isfinite(own), own, 0.0), EPS, 1)))
    if rows.spec.kind == "contrastive":
        own = np.where(np.isfinite(p), np.maximum(p, 1), LAST)  # p: rank of the true brand
        return np.asarray(np.log(own))
    gap = np.abs(np.where(np.isfinite(p), p, 0.0) - y)
    return np.asarray(gap.reshape(len(y), -1).mean(1))


def harm(healthy: Losses, faulty: Losses, scale: dict[str, float], seed: int = 0) -> Harm:
    """The task whose loss is surest another; `scale`: the constant predictor's loss by task."""
    worst: Harm | None = None
    tasks = [t for t in healthy.customers if t in faulty.customers and scale.get(t)]
    for task in tasks:
        change, low, high = _change(healthy.customers[task], faulty.customers[task], len(tasks), seed)
        at = Harm(False, task, change / scale[task], low / scale[task], high / scale[task])
        if worst is None or _sure(at) > _sure(worst):
            worst = at
    lost = faulty.lost if faulty.lost > healthy.lost else 0.0
    gone = sorted(set(healthy.customers) - set(faulty.customers))
    if worst is None:
        return Harm(bool(lost or gone), gone[0] if gone else "", lost=lost)
    harmful = bool(lost or gone) or _sure(worst) >= LEAST
    return Harm(harmful, worst.task, worst.change, worst.low, worst.high, lost)


def _sure(h: Harm) -> float:
    """How far the interval lies from no change."""
    assert h.low is not None
    assert h.high is not None
    return max(h.low, -h.high, 0.0)


def _change(
    before: dict[str, tuple[float, int]], after: dict[str, tuple[float, int]], tests: int, seed: int
) -> tuple[float, float, float]:
    """(change of the mean loss, low, high), customers resampled together on both sides."""
    names = sorted(before.keys() | after.keys())
    table = np.array([(*before.get(c, (0.0, 0)), *after.get(c, (0.0, 0))) for c in names], dtype=np.float64)
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=ROUNDS).astype(np.float64)
    sums = weight @ table
    with np.errstate(all="ignore"):
        drawn = sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1]
    tail = 2.5 / tests
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, [tail, 100 - tail]) if len(known) else (np.nan, np.nan)
    total = table.sum(0)
    return float(total[2] / total[3] - total[0] / total[1]), float(low), float(high)


def constant_losses(trained: Dataset, scored: Scores) -> dict[str, float]:
    """Mean loss of the best constant of the training rows, by task; a task without one is measured in units of the model's."""
    known = training_labels(trained)
    found: dict[str, float] = {}
    for task, rows in scored.tasks.items():
        if not len(rows):
            continue
        if not len(known.get(task, ())):
            found[task] = float(row_loss(rows).mean())
            continue
        found[task] = float(row_loss(replace(rows, prediction=_constant(rows, np.asarray(known[task])))).mean())
    return found


def _constant(rows: TaskRows, trained: Array) -> Array:
    n, y = len(rows), rows.label
    if rows.spec.kind in ("binary", "regression"):
        return np.full(y.shape, trained.mean())
    classes = rows.spec.out_dim if rows.spec.kind == "multiclass" else int(max(trained.max(), y.max())) + 1
    counts = np.bincount(trained.astype(np.int64), minlength=classes).astype(np.float64)
    if rows.spec.kind == "multiclass":
        return np.broadcast_to(counts / counts.sum(), (n, classes))
    order = np.empty(classes)
    order[np.argsort(-counts)] = np.arange(1, classes + 1)
    return np.asarray(order[y.astype(np.int64)])
