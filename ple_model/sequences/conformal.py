"""Intervals of a forecast from what it missed on series that it did not learn from (split conformal prediction: Vovk et al.
2005; Lei et al. 2018).

A step's half-width is that residual of the validation series which all but a share of them stay below, step by step of the
horizon and channel by channel, in the deviations of each series where these are given: then a quiet customer's band is
narrow. If new series are exchangeable with those of the validation part, the band holds a new value with the asked
probability; series whose habits change over time are not, so the share that was really covered is measured and shown beside
it (`coverage`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ForecastBand:
    """Half-widths [H, C] at this probability; infinite where there were too few residuals to say."""

    half: Array
    probability: float
    n: int
    """Residuals a step and channel."""

    def around(self, forecast: Array, scale: Array | None = None) -> tuple[Array, Array]:
        """(low, high) [N, H, C] around forecasts; `scale` [N, 1, C] where residuals were measured in it."""
        half = self.half if scale is None else self.half * scale
        return forecast - half, forecast + half


def fit_band(
    forecast: Array, truth: Array, seen: NDArray[np.bool_], *, probability: float = 0.9, scale: Array | None = None
) -> ForecastBand:
    """From forecasts and truths [N, H, C] of validation series; `seen` [N, H]: steps that do not count are left out."""
    if not 0.0 < probability < 1.0:
        raise UserError(f"probability: {probability} is not valid, it must be between 0 and 1")
    missed = np.abs(truth - forecast) if scale is None else np.abs(truth - forecast) / scale
    missed = np.where(seen[:, :, None], missed, np.inf)
    missed = np.sort(missed, axis=0)
    n = seen.sum(axis=0)  # [H]
    rank = np.array([math.ceil(probability * (k + 1)) for k in n.tolist()])
    half = np.full(missed.shape[1:], np.inf)
    for step in np.flatnonzero(rank <= n):
        half[step] = missed[rank[step] - 1, step]
    return ForecastBand(half, probability, int(n.min()) if len(n) else 0)


def coverage(band: ForecastBand, forecast: Array, truth: Array, seen: NDArray[np.bool_], scale: Array | None = None) -> float:
    """Share of the seen values that lie within the band."""
    low, high = band.around(forecast, scale)
    inside = (truth >= low) & (truth <= high)
    return float(inside[seen].mean()) if seen.any() else math.nan
