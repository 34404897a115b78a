"""Sparse autoencoder: sparsity, fraction of variance explained and latent density.

FVE = 1 - E||x - x_hat||^2 / (E||x||^2 - ||E x||^2), so that the mean predictor scores 0 (older tools leave the mean in and
score it 0.97). Density and dead or dense latents follow Bricken et al. 2023 and Gao et al. 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, finite_rows, ratio
from ple_model.profile import column_counts


@dataclass(frozen=True, eq=False)
class SaeStats(Statistic):
    """Z latents over inputs of width W (standardised, as the autoencoder sees them)."""

    n: int
    active: Array
    """[Z] rows where the latent is above zero."""
    input_sum: Array
    """[W]"""
    input_sq: float
    """sum of ||x||^2"""
    residual_sq: float
    """sum of ||x - x_hat||^2"""

    @property
    def l0(self) -> float:
        """Mean number of active latents a row."""
        return float(ratio(self.active.sum(), self.n))

    @property
    def density(self) -> Array:
        """[Z] share of rows where the latent is active."""
        return np.asarray(ratio(self.active, np.full_like(self.active, self.n)))

    @property
    def fve(self) -> float:
        """Fraction of variance explained; NaN where the input does not vary."""
        if self.n == 0:
            return float("nan")
        variance = self.input_sq / self.n - float(np.square(self.input_sum / self.n).sum())
        return 1 - (self.residual_sq / self.n) / variance if variance > 1e-12 else float("nan")

    @property
    def mse(self) -> float:
        """Mean squared error an input dimension."""
        return float(ratio(self.residual_sq, self.n * len(self.input_sum)))

    @property
    def dead_share(self) -> float:
        return float(np.mean(self.active == 0)) if self.n else float("nan")

    def dense_share(self, above: float = 0.1) -> float:
        """Share of latents that are active in more than `above` of the rows."""
        return float(np.mean(self.density > above)) if self.n else float("nan")


def measure(latent: NDArray[np.floating], x: NDArray[np.floating], reconstruction: NDArray[np.floating]) -> SaeStats:
    """latent: [B, Z] >= 0; x and reconstruction: [B, W]. Rows that are no numbers are left out: a latent that is NaN is not
    one that never fires, and a share of variance that is NaN is no verdict."""
    z, h, r = latent, np.asarray(x, dtype=np.float64), np.asarray(reconstruction, dtype=np.float64)
    known = finite_rows(z) & finite_rows(h) & finite_rows(r)
    if not known.all():
        z, h, r = z[known], h[known], r[known]
    return SaeStats(
        n=len(z),
        active=column_counts(z > 0),
        input_sum=h.sum(0),
        input_sq=float(np.vdot(h, h)),
        residual_sq=float(np.vdot(gap := h - r, gap)),
    )
