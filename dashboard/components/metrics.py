"""A run's metrics by task as rows: the headline metric of each kind beside what a constant would reach."""

from __future__ import annotations

import math
from typing import Any

from ple_model.run import Run
from ple_model.tasks import TASKS

HEADLINE = {"binary": "auc", "multiclass": "accuracy", "regression": "r2", "contrastive": "recall_at_10"}
CONSTANT = {"auc": 0.5, "r2": 0.0}
"""What a constant prediction reaches; for accuracy and recall it is the base rate."""


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
                "constant": CONSTANT.get(metric, base),
                "ece": found["metrics"].get("ece"),
            }
        )
    return out


def splits(run: Run) -> list[str]:
    """The splits that have metrics, test first."""
    return sorted(run.metrics().get("splits", {}), key=lambda s: s != "test")
