"""Does a planted fault do harm? A check that is silent about one that does none misses nothing.

Harm is what a reader or a customer would get wrong: predictions that are no numbers, or a task whose loss on the held-out rows
is another than that of the healthy run. Losses are those of `ple_model.row_loss` in units of the constant's; for
faults in inputs, weights and training the labels are the true ones, for faults in labels those that arrived. The interval
resamples customers, the same for both sides, at 95 % over all tasks together (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ple_model.data.dataset.reader import Dataset
from ple_model.finish import calibrated
from ple_model.row_loss import Yardstick, of_own
from ple_model.run import Run
from ple_model.scoring import Scores, TaskRows, score
from ple_model.skill import stored
from ple_model.yardsticks import of_run

Array = NDArray[np.float64]
LEAST = 0.01
"""In units of the constant's loss: what counts as level with another model (docs/learning.md)."""
ROUNDS = 2000
SPLIT = "test"


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
    constant: dict[str, float]
    """mean loss of the constant predictor on the same rows"""


def scored(run: Run, dataset: Dataset) -> Scores:
    """Calibrated predictions of a run's model for the labelled rows that nobody learned from."""
    with np.errstate(all="ignore"):
        return calibrated(score(run.model(finite=False), dataset, SPLIT), run.calibration)


def yardsticks(run: Run) -> dict[str, Yardstick]:
    """By which the predictions of a healthy run, and of those with a fault, are judged."""
    sample = run.sample()
    found = stored(sample)
    judges = {t: of_run(run, sample, spec, found) for t, spec in run.model().tasks.items()}
    return {t: judge for t, judge in judges.items() if judge is not None}


def losses(scores: Scores, judges: Mapping[str, Yardstick]) -> Losses:
    """Of those rows, by task and customer, in units of the constant's mean loss on the same rows."""
    found: dict[str, dict[str, tuple[float, int]]] = {}
    constant: dict[str, float] = {}
    lost = total = 0
    for task, rows in scores.tasks.items():
        bad = ~np.isfinite(rows.prediction.reshape(len(rows), -1)).all(1)
        lost, total = lost + int(bad.sum()), total + len(rows)
        judge = judges.get(task)
        there = np.zeros(len(rows), dtype=bool) if judge is None else judge.known(rows.label)
        if judge is None or not there.any():
            continue
        constant[task] = float(judge.of_constant(rows.label[there]).mean())
        found[task] = by_customer(np.array(scores.customers(task))[there], row_loss(rows, judge)[there])
    return Losses(found, lost / total if total else 0.0, constant)


def by_customer(customers: NDArray[np.str_], value: Array) -> dict[str, tuple[float, int]]:
    """(summed loss, rows) by customer."""
    names, index = np.unique(customers, return_inverse=True)
    total, n = np.bincount(index, value), np.bincount(index)
    return {str(c): (float(x), int(k)) for c, x, k in zip(names, total, n, strict=True)}


def row_loss(rows: TaskRows, judge: Yardstick) -> Array:
    """[n] loss of each row; a prediction that is no number is a miss."""
    if rows.own is not None:
        return of_own(rows.own)
    if rows.spec.kind == "regression":
        return judge.of_amounts(rows.label, rows.prediction)
    return judge.of_probabilities(rows.label, rows.prediction)


def harm(healthy: Losses, faulty: Losses, seed: int = 0) -> Harm:
    """The task whose loss is surest another, in units of what a constant loses on the healthy rows."""
    scale = healthy.constant
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


@lru_cache(maxsize=16)
def _drawn(customers: int, seed: int) -> Array:
    """[rounds, n] how often each is drawn: the same for all tasks and faults with so many customers."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(customers, np.full(customers, 1 / customers), size=ROUNDS).astype(np.float64)


def _change(
    before: dict[str, tuple[float, int]], after: dict[str, tuple[float, int]], tests: int, seed: int
) -> tuple[float, float, float]:
    """(change of the mean loss, low, high), customers resampled together on both sides."""
    names = sorted(before.keys() | after.keys())
    table = np.array([(*before.get(c, (0.0, 0)), *after.get(c, (0.0, 0))) for c in names], dtype=np.float64)
    sums = _drawn(len(names), seed) @ table
    with np.errstate(all="ignore"):
        drawn = sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1]
    tail = 2.5 / tests
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, [tail, 100 - tail]) if len(known) else (np.nan, np.nan)
    total = table.sum(0)
    return float(total[2] / total[3] - total[0] / total[1]), float(low), float(high)
