"""Where on the way through a model the information of a task is lost: linear probes of what each part hands on (Alain & Bengio
2016).

A ridge regression reads the label from each representation, fitted on half of the customers and measured on the other half, and
the other way round; classes are read as one-hot columns. What it explains is in shares of the labels' variance around their
mean (a Brier skill for classes), the same for every stage, and for the model's own prediction without any fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic

WAY = ("inputs", "experts", "gate", "encoder", "task_layer", "prediction")
"""The stages in the order of the way."""
LOST_AT = dict(zip(WAY[1:], ("expert", "gate", "encoder", "task_layer", "head"), strict=True))
TOLD = 0.02
"""Share of the labels' variance that must be readable somewhere, or there is nothing to lose."""
HALF = 0.5
"""Share of what is lost altogether that must go at one stage for it to be named."""


@dataclass(frozen=True, eq=False)
class TaskProbe(Statistic):
    """`stages`: explained share by stage of `WAY`; `experts`: by expert alone; `lost`: where most is lost, or ""."""

    rows: int
    stages: dict[str, float]
    experts: dict[str, float] = field(default_factory=dict)
    lost: str = ""


def target(kind: str, label: Array) -> Array:
    """[n, k] what a probe reads: one column, or one a class that occurs."""
    if kind == "multiclass":
        return np.asarray(label[:, None] == np.unique(label)[None, :], dtype=np.float64)
    return np.asarray(label[:, None], dtype=np.float64)


def explained(y: Array, p: Array) -> float:
    """Share of the variance of y [n, k] that predictions p [n, k] explain as they are."""
    whole = float(((y - y.mean(0)) ** 2).sum())
    return 1 - float(((y - p) ** 2).sum()) / whole if whole > 0 else float("nan")


def halves(customers: Sequence[str], seed: int = 0) -> NDArray[np.bool_]:
    """[n] one half of the customers, with all their rows."""
    ids, index = np.unique(np.asarray(customers, dtype=str), return_inverse=True)
    return np.asarray((np.random.default_rng(seed).permutation(len(ids)) < len(ids) / 2)[index])


def where_lost(stages: Mapping[str, float]) -> str:
    """The stage at which more than half of what is lost between the inputs and the prediction goes; "" where none, or where
    nothing is lost. A later stage may only make up for an earlier loss: what counts is the best that any later stage reads."""
    there = [(s, stages[s]) for s in WAY if np.isfinite(stages.get(s, np.nan))]
    if len(there) < 2 or there[0][0] != "inputs":
        return ""
    values = np.array([v for _, v in there])
    # what a stage hands on is at least what any later one still holds
    held = np.maximum.accumulate(values[::-1])[::-1]
    drops = held[:-1] - held[1:]
    total = held[0] - held[-1]
    at = int(np.argmax(drops))
    return LOST_AT[there[at + 1][0]] if held[0] >= TOLD and drops[at] > HALF * total > 0 else ""
