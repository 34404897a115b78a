"""Classes numbered otherwise than in training: what LABEL-CLASS says where another order makes the labels fit again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.thresholds import Thresholds
from analysis.stats.labels import Relabelled, TaskLabels

CLASSES = 6
"""That are written out at most."""
ALIKE = 0.9
"""Share of the labels that must have moved alike to call it a step."""


def other_order(r: Relabelled, t: Thresholds) -> bool:
    """Do the labels fit again in another order of the classes, far beyond chance, and hardly as they stand?"""
    wanted = t.join_share * r.found if np.isfinite(r.found) else t.join_found
    return r.deviations >= t.order_deviations and r.again >= max(wanted, t.join_found) and r.again - r.skill >= t.skill_behind


def numbered_otherwise(task: str, v: TaskLabels, r: Relabelled, t: Thresholds) -> Finding:
    there = [k for k, n in enumerate(v.counts) if n]
    moved = [k for k in there if r.order[k] != k]
    by = _one_step(v, r.order)
    sorted_by_name = len(v.names) == len(r.order) and all(v.names[r.order[k]] == sorted(v.names)[k] for k in there)
    pairs = ", ".join(" = ".join((str(k), v.called(r.order[k]))) for k in moved[:CLASSES]) + (
        ", ..." if len(moved) > CLASSES else ""
    )
    return Finding(
        "LABEL-CLASS",
        "error",
        task,
        f"The classes of {task} are numbered otherwise than in training: with {pairs} the labels fit again, with a skill of "
        f"{r.again:.2f}; as they stand {r.skill:.2f}.",
        (
            Evidence("skill with the classes in this order", r.again, t.join_share * r.found, r.n),
            Evidence("skill of the labels as they stand", r.skill, None, r.n),
            Evidence("standard errors between the two", r.deviations, t.order_deviations, v.customers),
            Evidence("skill that the training found", r.found if np.isfinite(r.found) else None, t.join_found),
            Evidence("classes that moved", float(len(moved)), 0.0, len(there)),
        ),
        None,
        "The classes were numbered in the order of their names."
        if sorted_by_name
        else "The classes were numbered from another start: each is one place on."
        if abs(by) == 1
        else "The classes were numbered from another start."
        if by
        else "Their numbers were given anew, in another order: an encoding was fitted again, or two classes were exchanged.",
        Fix("", None, None, "Compare the labels' codes with those of training, and build again."),
    )


def _one_step(v: TaskLabels, order: Sequence[int]) -> int:
    """By how many places all classes moved, round the circle where they had to; 0 where they did not move alike. The first and
    the last may have run into their neighbours."""
    size, total = len(order), sum(v.counts)
    steps = {k: (k - order[k] + size // 2) % size - size // 2 for k, n in enumerate(v.counts) if n}
    common = max(set(steps.values()), key=lambda s: sum(v.counts[k] for k, x in steps.items() if x == s))
    alike = sum(v.counts[k] for k, x in steps.items() if x == common)
    return common if alike >= ALIKE * total else 0
