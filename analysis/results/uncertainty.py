"""What one task's uncertainty is worth in one cohort; `analysis.uncertainty` measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CohortUncertainty:
    """One group's distribution: quantiles at 5, 25, 50, 75 and 95 %."""

    name: str
    n: int
    mean: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Equal-width bins that hold rows: mean shown probability, observed share, rows, 95 % Wilson interval of the share.

    Binary: P(y = 1) against the rate; multiclass: top probability against accuracy.
    """

    shown: Array
    observed: Array
    count: NDArray[np.int64]
    low: Array
    high: Array
    ece: float
    adaptive_ece: float
    brier: float
    """Multiclass: of the top class's hit."""
    nll: float


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Mean error among the most certain share of the rows."""

    coverage: Array
    risk: Array
    best: Array
    """With the errors themselves as the ordering."""
    random: float
    aurc: float
    excess: float
    auroc: float
    """Of uncertainty for errors (regression: errors above their median); NaN with too few of either."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Rows by epistemic (x) and aleatoric (y) uncertainty: counts [x, y] on the edges' grid, log10 of variances for
    regression."""

    x_edges: Array
    y_edges: Array
    count: NDArray[np.int64]
    correlation: float
    """Spearman correlation of the two: near 1 the head tells one thing twice."""


@dataclass(frozen=True, eq=False)
class IntervalCalibration:
    """Central intervals of the NIG's predictive Student-t: promised and observed coverage; histogram of PIT values (20
    bins)."""

    nominal: Array
    observed: Array
    pit: NDArray[np.int64]
    error: float
    """Mean |observed - nominal| over the levels."""


@dataclass(frozen=True, eq=False)
class Simplex:
    """A three-class task's rows on the probability simplex, in triangular cells: barycentric centres [m, 3], rows,
    uncertainty."""

    corners: tuple[str, str, str]
    centre: Array
    count: NDArray[np.int64]
    uncertainty: Array


@dataclass(frozen=True)
class Choice:
    """What a fallback threshold costs: a prediction above `threshold` is withheld."""

    threshold: float
    coverage: float
    """Share of all rows that keep their prediction."""
    risk: float
    """Mean error of the labelled rows that keep it; NaN with too few labels."""
    kept: int
    by_segment: dict[str, float]
    """Share of each segment that falls back."""


@dataclass(frozen=True, eq=False)
class TaskUncertainty:
    """One task in one cohort. Parts that cannot be told from these rows are None, and `reason` says why."""

    task: str
    kind: str
    n: int
    labelled: int
    state: Literal["ok", "unknown"]
    reason: str
    cohorts: tuple[CohortUncertainty, ...]
    by_cluster: tuple[CohortUncertainty, ...]
    edges: Array
    histogram: NDArray[np.int64]
    reliability: Reliability | None
    risk: RiskCoverage | None
    decomposition: Decomposition | None
    intervals: IntervalCalibration | None
    simplex: Simplex | None
    choices: tuple[Choice, ...]
