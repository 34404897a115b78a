"""A run's metrics by task as rows: the headline metric of each kind beside what a constant would reach."""

from __future__ import annotations

import math
from typing import Any

from ple_model.run import Run
from ple_model.tasks import TASKS

HEADLINE = {"binary": "auc", "multiclass": "accuracy", "regression": "r2", "contrastive": "recall_at_10"}
AMOUNTS = ("r2_amount", "sum_ratio")
"""Of a task whose label is a logarithm, beside the headline metric, which is in logarithms."""
NO_RANK = 0.5
"""AUC of any constant."""


def rows(run: Run, split: str) -> list[dict[str, Any]]:
    """Task, kind, n, base rate, headline metric, its value and the constant's, in task order; none before training ended."""
    tasks = run.metrics().get("splits", {}).get(split, {})
    out = []
    for name, found in tasks.items():
        metric = HEADLINE[found["kind"]]
        value = found["metrics"].get(metric)
        base = found.get("base_rate")
        out.append(
            {
                "task": name,
                "group": TASKS[name].group if name in TASKS else "",
                "kind": found["kind"],
                "n": found["n"],
                "base_rate": base,
                "metric": metric,
                "value": math.nan if value is None else value,
                "constant": _constant(found, metric),
                "ece": found["metrics"].get("ece"),
            }
        )
        out += [_amount(out[-1], found, m) for m in AMOUNTS if m in found["metrics"]]
    return out


def _amount(row: dict[str, Any], found: dict[str, Any], metric: str) -> dict[str, Any]:
    """The line of a metric in money or days beside that of the logarithm."""
    value = found["metrics"][metric]
    constant = (found.get("constant") or {}).get(metric)
    return {**row, "metric": metric, "value": math.nan if value is None else value, "constant": constant, "ece": None}


def _constant(found: dict[str, Any], metric: str) -> float | None:
    """What the constant of the training labels reaches on these rows, as in `ple evaluate`. Older runs did not keep it: nothing
    is shown but for the AUC, which is the same for all constants."""
    known = found.get("constant") or {}
    return NO_RANK if metric == "auc" else known.get(metric)


def splits(run: Run) -> list[str]:
    """The splits that have metrics, test first."""
    return sorted(run.metrics().get("splits", {}), key=lambda s: s != "test")
