"""Ridge regressions that read a label from one stage of the way through a model (`analysis/stats/probes.py`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from analysis.stats.base import Array

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Ridge strengths in shares of the mean variance of a direction; the best on held-out customers counts."""


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
        mean = x.mean(0)
        a = x - mean
        std = np.sqrt(np.square(a).sum(0) / len(x))
        b = other - mean
        kept = std > 1e-9
        if not kept.all():
            a, b = a[:, kept], b[:, kept]
        a /= std.mean() if alike else std[kept]
        b /= std.mean() if alike else std[kept]
        np.clip(a, -8, 8, out=a)
        np.clip(b, -8, 8, out=b)
        self.others, self.any, self.rows = len(other), bool(kept.any()), len(a)
        if not self.any:
            return
        self.wide, self.own, self.other = a.shape[1] > len(a), a, b
        product = a @ a.T if self.wide else a.T @ a
        self.factors = [
            cho_factor(_with_diagonal(product, s * self.rows), overwrite_a=True, check_finite=False) for s in STRENGTHS
        ]

    def told(self, y: Array) -> list[Array]:
        """Predictions of the other half, one a strength."""
        centre = y.mean(0)
        if not self.any:
            return [np.broadcast_to(centre, (self.others, y.shape[1]))] * len(STRENGTHS)
        wanted = y - centre if self.wide else self.own.T @ (y - centre)
        weights = np.concatenate([cho_solve(f, wanted, check_finite=False) for f in self.factors], axis=1)
        if self.wide:  # through the few columns of what is asked: all of `other @ own.T` would cost more than the factors
            weights = self.own.T @ weights
        return [centre + read for read in np.split(self.other @ weights, len(STRENGTHS), axis=1)]


def _with_diagonal(product: Array, more: float) -> Array:
    out = product.T.copy(order="F")
    out[np.diag_indices(len(out))] += more
    return out
