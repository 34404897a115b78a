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
from scipy.linalg import cho_factor, cho_solve

from analysis.stats.base import Array, Statistic

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Ridge strengths in shares of the mean variance of a direction; the best on held-out customers counts."""
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


def readable(x: NDArray[np.floating], y: Array, half: NDArray[np.bool_], *, alike: bool = False) -> float:
    """Share of the variance of y [n, k] that ridge regressions on x [n, c] explain on the half they were not fitted on.
    `alike`: columns keep their sizes beside each other, so that what a gate makes small is small."""
    return Reader(x, half, alike=alike).readable(y)


class Reader:
    """Ridge regressions on one representation x [n, c], one a strength, from either half of the rows: what they are made of
    does not depend on what is to be read."""

    def __init__(self, x: NDArray[np.floating], half: NDArray[np.bool_], *, alike: bool = False) -> None:
        self.half = half
        self._folds = [_Fold(x[a].astype(np.float64), x[~a].astype(np.float64), alike) for a in (half, ~half)]

    def readable(self, y: Array) -> float:
        """See the function of this name."""
        half = self.half
        best = -np.inf
        folds = [f.told(y[a]) for f, a in zip(self._folds, (half, ~half), strict=True)]
        truth = [y[~half], y[half]]
        base = [y[half].mean(0), y[~half].mean(0)]
        whole = sum(float(((t - b) ** 2).sum()) for t, b in zip(truth, base, strict=True))
        if whole <= 0:
            return float("nan")
        for i in range(len(STRENGTHS)):
            lost = sum(float(((t - f[i]) ** 2).sum()) for t, f in zip(truth, folds, strict=True))
            best = max(best, 1 - lost / whole)
        return float(best)


class _Fold:
    """Of one half x for the other; in the smaller of the two dimensions."""

    def __init__(self, x: Array, other: Array, alike: bool) -> None:
        mean, std = x.mean(0), x.std(0)
        kept = std > 1e-9
        if alike:
            std = np.full_like(std, std.mean())
        a, b = (x[:, kept] - mean[kept]) / std[kept], (other[:, kept] - mean[kept]) / std[kept]
        np.clip(a, -8, 8, out=a)
        np.clip(b, -8, 8, out=b)
        self.others, self.any, self.rows = len(other), bool(kept.any()), len(a)
        if not self.any:
            return
        wide = a.shape[1] > len(a)
        product = a @ a.T if wide else a.T @ a
        self.own = None if wide else a
        self.read = b @ a.T if wide else b
        eye = np.eye(len(product))
        self.factors = [cho_factor(product + s * self.rows * eye, check_finite=False) for s in STRENGTHS]

    def told(self, y: Array) -> list[Array]:
        """Predictions of the other half, one a strength."""
        centre = y.mean(0)
        if not self.any:
            return [np.broadcast_to(centre, (self.others, y.shape[1]))] * len(STRENGTHS)
        wanted = y - centre if self.own is None else self.own.T @ (y - centre)
        return [centre + self.read @ cho_solve(f, wanted, check_finite=False) for f in self.factors]


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
