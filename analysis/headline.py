"""A run's metrics by task as rows: the headline metric of each kind beside what a constant would reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from analysis.stats.run import SplitPerformance
from ple_model.run import Run
from ple_model.tasks import TASKS

HEADLINE = {"binary": "auc", "multiclass": "accuracy", "regression": "r2", "contrastive": "recall_at_10"}
AMOUNTS = ("r2_amount", "sum_ratio")
"""Of a task whose label is a logarithm, beside the headline metric, which is in logarithms."""
LOGS = ("r2", "mae", "rmse")
"""Metrics that are of logarithms where the label is one; a rank is the same of both."""
NO_RANK = 0.5
"""AUC of any constant."""
Row = dict[str, Any]


def rows(found: SplitPerformance) -> list[Row]:
    """Task, kind, n, headline metric, its value and the constant's, in task order: as measured here."""
    return [row for name, x in found.tasks.items() for row in _headline(name, x.kind, x.n, x.metrics, x.constant)]


def every(found: SplitPerformance) -> list[Row]:
    """The same of all metrics that are measured of a task."""
    return [_row(name, x.kind, x.n, m, x.metrics, x.constant) for name, x in found.tasks.items() for m in x.metrics]


def kept(run: Run, split: str) -> list[Row]:
    """The same of what training wrote down when it ended, of its rows and weights; none before."""
    tasks = run.metrics().get("splits", {}).get(split, {})
    return [
        row for name, x in tasks.items() for row in _headline(name, x["kind"], x["n"], x["metrics"], x.get("constant") or {})
    ]


def kept_splits(run: Run) -> list[str]:
    """The splits that training measured at its end, test first."""
    return sorted(run.metrics().get("splits", {}), key=lambda s: s != "test")


def _headline(name: str, kind: str, n: int, metrics: Mapping[str, Any], constant: Mapping[str, Any]) -> list[Row]:
    first = {**_row(name, kind, n, HEADLINE[kind], metrics, constant), "ece": metrics.get("ece")}
    return [first, *(_row(name, kind, n, m, metrics, constant) for m in AMOUNTS if m in metrics)]


def _row(name: str, kind: str, n: int, metric: str, metrics: Mapping[str, Any], constant: Mapping[str, Any]) -> Row:
    """The constant is that of `ple evaluate`; where it is not known nothing is shown but for the AUC, the same for all."""
    value = metrics.get(metric)
    logs = metric in LOGS and ("r2_amount" in metrics or (name in TASKS and TASKS[name].log_scale))
    return {
        "task": name,
        "group": TASKS[name].group if name in TASKS else "",
        "kind": kind,
        "n": n,
        "metric": metric,
        "called": f"{metric}_log" if logs else metric,
        "value": math.nan if value is None else value,
        "constant": NO_RANK if metric == "auc" else constant.get(metric),
        "ece": None,
    }
