"""`ple evaluate`: how good a run's predictions are, next to what simpler things reach on the same rows.

The baselines are those of `baselines.py`, fitted on the training split alone and measured on the same labelled rows.
Intervals are 95% percentile bootstraps that resample customers, not rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ple_model.amounts import AmountMap, amount_metrics
from ple_model.baselines import Baselines
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.finish import base_rate
from ple_model.metrics import BY_KIND, Metrics, bootstrap
from ple_model.run import Run
from ple_model.scoring import Scores, TaskRows, score

HEADLINE = {"binary": "auc", "multiclass": "accuracy", "regression": "spearman", "contrastive": "recall_at_10"}


@dataclass(frozen=True)
class TaskEvaluation:
    """One task on one split. `metrics` holds each metric, and its interval as `<name>_low`, `<name>_high`."""

    task: str
    kind: str
    n: int
    metrics: Metrics
    base_rate: float | None
    baselines: dict[str, Metrics] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What `ple evaluate` prints."""

    run: str
    split: str
    dataset: str
    tasks: tuple[TaskEvaluation, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        tasks = [
            {"task": t.task, "kind": t.kind, "n": t.n, "metrics": t.metrics, "base_rate": t.base_rate, "baselines": t.baselines}
            for t in self.tasks
        ]
        return {"run": self.run, "split": self.split, "dataset": self.dataset, "tasks": tasks, "notes": list(self.notes)}

    def table(self) -> str:
        """One line a task: its headline metric with interval, and the same metric of the baselines."""
        names = list(dict.fromkeys(b for t in self.tasks for b in t.baselines))
        head = f"{'task':<20}{'n':>7}{'base':>8}  {'metric':<14}{'model':>8} {'95% interval':<17}"
        lines = [f"{self.run}, {self.split} split of {self.dataset}", "", head + "".join(f"{n:>19}" for n in names)]
        for t in self.tasks:
            metric = HEADLINE[t.kind]
            low, high = t.metrics.get(f"{metric}_low"), t.metrics.get(f"{metric}_high")
            interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
            lines.append(
                f"{t.task:<20}{t.n:>7}{_number(t.base_rate):>8}  {metric:<14}{_number(t.metrics.get(metric)):>8} {interval:<17}"
                + "".join(f"{_number(t.baselines.get(n, {}).get(metric)):>19}" for n in names)
            )
        for t in (t for t in self.tasks if "sum_ratio" in t.metrics):
            m = t.metrics
            lines.append(
                f"{t.task} in its own unit: R2 {_number(m['r2_amount'])} (of logs {_number(m['r2'])}), predicted means add up"
                f" to {_number(m['sum_ratio'])} of what was"
            )
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])

    def __str__(self) -> str:
        return self.table()


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}"


def evaluate(
    run: Run, dataset: Dataset | None = None, split: str = "test", *, bootstrap_rounds: int = 200, boosting: bool = True,
    device: str = "cpu",
) -> Evaluation:  # fmt: skip
    """Metrics by task of `run` on `split` of `dataset` (default: the dataset it was trained on, else the run's own sample)."""
    notes: list[str] = []
    if dataset is None:
        dataset = run.dataset()
        if dataset is None:
            dataset = run.sample()
            notes.append("the training dataset is not at hand: these are the customers stored with the run")
    elif dataset.manifest.fingerprint != run.manifest.data.fingerprint:
        notes.append(f"the run was trained on other data ('{run.manifest.data.name}')")
    if dataset.rows(split) == 0:
        raise UserError(f"{dataset.path} has no rows in its {split} split")
    scores = score(run.model(device), dataset, split, calibration=run.calibration)
    scores.tally.raise_if_any()
    baselines = Baselines(dataset, split, boosting=boosting, seed=run.manifest.seed)
    found: list[TaskEvaluation] = []
    for name, rows in scores.tasks.items():
        if not len(rows):
            notes.append(f"task '{name}' has no labels in the {split} split")
            continue
        found.append(_evaluate_task(name, rows, scores, baselines, bootstrap_rounds, run.amounts.get(name)))
    return Evaluation(run.name, split, dataset.manifest.name, tuple(found), (*notes, *baselines.notes))


def _evaluate_task(
    name: str, rows: TaskRows, scores: Scores, baselines: Baselines, rounds: int, amounts: AmountMap | None
) -> TaskEvaluation:
    metric = BY_KIND[rows.spec.kind]
    values = dict(metric(rows.label, rows.prediction, None))
    if rounds:
        found = bootstrap(metric, rows.label, rows.prediction, scores.customers(name), rounds=rounds)
        for key, (low, high) in found.items():
            values[f"{key}_low"], values[f"{key}_high"] = low, high
    if amounts is not None:
        paid, mean = np.expm1(rows.label), amounts(rows.prediction)
        values |= amount_metrics(paid, mean)
        found = bootstrap(amount_metrics, paid, mean, scores.customers(name), rounds=rounds) if rounds else {}
        for key, (low, high) in found.items():
            values[f"{key}_low"], values[f"{key}_high"] = low, high
    return TaskEvaluation(name, rows.spec.kind, len(rows), values, base_rate(rows), baselines.measure(rows))
