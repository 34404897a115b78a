"""Rows with numbers that are no numbers: in which inputs and labels they are, and which experts and predictions they reach.

Every other statistic leaves such rows out, so that its verdict is about the rest; this one counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Statistic, ratio

Flags = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class FiniteStats(Statistic):
    """Rows with a NaN or Inf by place; places without any are left out."""

    n: int
    inputs: dict[str, float]
    """Input field, `features:<part>`, or `label <task>`."""
    experts: dict[str, float]
    tasks: dict[str, float]
    """Predictions."""
    heads: dict[str, float]
    """Evidential uncertainty."""
    reached: dict[str, dict[str, float]]
    """input -> expert or task -> rows where both are no numbers."""

    def share(self, rows: float) -> float:
        return float(ratio(rows, self.n))


def measure(n: int, inputs: Flags, experts: Flags, tasks: Flags, heads: Flags) -> FiniteStats:
    """Each: name -> [B] bool, rows that hold a NaN or Inf."""

    def counts(flags: Flags) -> dict[str, float]:
        return {k: float(v.sum()) for k, v in flags.items() if v.any()}

    reached = {
        key: counts({name: bad & there for name, there in {**experts, **tasks}.items()})
        for key, bad in inputs.items()
        if bad.any()
    }
    return FiniteStats(n, counts(inputs), counts(experts), counts(tasks), counts(heads), reached)
