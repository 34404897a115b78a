"""Tasks by name: every module of this package that has `TASKS` (records) adds to them, in the order of the groups."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from ple_model.tasks.record import TaskSpec

GROUP_STRENGTH: dict[str, float] = {"Engagement": 0.8, "Lifecycle": 0.7, "Value": 0.6, "Consumption": 0.7}
"""adaTT intra-group transfer strengths; between groups it is 0.3."""


def discovered() -> dict[str, TaskSpec]:
    """Every record of the package's modules. A name that two give, or a group that is none, is a mistake of the code."""
    found: dict[str, TaskSpec] = {}
    for module in pkgutil.iter_modules(sys.modules[__package__].__path__):
        if module.name == "registry":
            continue
        for spec in getattr(importlib.import_module(f"{__package__}.{module.name}"), "TASKS", ()):
            if spec.name in found:
                raise RuntimeError(f"two tasks are named '{spec.name}'; one is in {__package__}.{module.name}")
            if spec.group not in GROUP_STRENGTH:
                raise RuntimeError(f"task '{spec.name}' is in the group '{spec.group}', none of {list(GROUP_STRENGTH)}")
            if spec.kind == "contrastive" and any(t.kind == "contrastive" for t in found.values()):
                raise RuntimeError(f"task '{spec.name}' is contrastive beside another: a model has one table of brands")
            found[spec.name] = spec
    order = list(GROUP_STRENGTH)
    return dict(sorted(found.items(), key=lambda item: order.index(item[1].group)))


TASKS: dict[str, TaskSpec] = discovered()

LOGIT_TRANSFERS: tuple[tuple[str, str, str], ...] = (
    ("ctr", "cvr", "sequential"),
    ("churn", "retention", "inverse"),
    ("cvr", "ltv", "feature"),
    ("nba", "spending_category", "feature"),
    ("spending_category", "brand_prediction", "feature"),
)
"""Default (source, target, type) edges of the transfer DAG (reference, "Logit Transfer")."""
