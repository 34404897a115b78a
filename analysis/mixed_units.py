"""Columns of which some rows are in another unit: are these the training's amounts, mixed with the same times a number?

The training distribution G of a column's amounts is read off its deciles and extremes, between them and beyond as a normal
distribution of the logarithm would run. Of amounts at hand with distribution F, for every factor the share s is found for which
(1 - s) G(x) + s G(x / factor) comes nearest to F (least squares). A second unit is told where this fits closely, G alone is far
off, and amounts lie beyond those of training about as often as the mixture says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from analysis.stats.base import Array
from ple_model.profile import Profile

FEWEST = 100
"""Amounts at hand and levels of training that are needed: below, a distribution is too uncertain."""
LEVELS = np.linspace(0.025, 0.975, 39)
POWERS = np.concatenate([np.arange(-6.0, -1.6, 0.05), np.arange(1.7, 6.05, 0.05)])
"""Powers of ten that are tried: no unit is less than fifty times another."""
WHOLE = 0.97
"""Share from which it is no mixture any more."""
FAR = 0.001
"""Share of the training amounts below and above which one counts as beyond them."""
NORMAL = float(ndtri(1 - 1e-4))
Inverse = Callable[[NDArray[np.floating]], NDArray[np.float64]]


@dataclass(frozen=True)
class Mixture:
    power: float
    share: float
    alone: float
    """largest distance of the training's distribution from that at hand"""
    mixed: float
    """of the mixture from it"""
    n: int


@dataclass(frozen=True, eq=False)
class Amounts:
    """A column's training distribution: normal quantiles `z` of the logarithms `at` of its amounts."""

    at: Array
    z: Array

    def below(self, x: Array) -> Array:
        """Share of the training amounts below 10 ** x; beyond the ends at the mean slope."""
        slope = (self.z[-1] - self.z[0]) / (self.at[-1] - self.at[0])
        inside = np.interp(x, self.at, self.z)
        return np.asarray(ndtr(inside + slope * (np.minimum(x - self.at[0], 0) + np.maximum(x - self.at[-1], 0))))

    def ends(self) -> tuple[float, float]:
        """Logarithms between which all but `FAR` of the training amounts on either side lie."""
        slope = (self.z[-1] - self.z[0]) / (self.at[-1] - self.at[0])
        reach = float(ndtri(1 - FAR))
        low = self.at[0] - max(self.z[0] + reach, 0) / slope
        return float(low), float(self.at[-1] + max(reach - self.z[-1], 0) / slope)


def amounts_of(profile: Profile, inverse: Inverse) -> list[Amounts | None]:
    """By feature column, of the values of the sign that most have; None where they are too few or take too few values."""
    cuts = np.where(np.isfinite(profile.edges), profile.edges, np.nan).astype(np.float64)
    own = inverse(cuts.T).T
    total = profile.counts.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = profile.counts.cumsum(1)[:, :-1] / total[:, None]
    extremes = None if profile.extremes is None else inverse(profile.extremes.astype(np.float64).T).T
    return [_amounts(own[j], below[j], None if extremes is None else extremes[j]) for j in range(len(own))]


def _amounts(cuts: Array, below: Array, extremes: Array | None) -> Amounts | None:
    there = np.isfinite(cuts) & np.isfinite(below)
    positive = there & (cuts > 0)
    if positive.sum() < 5 or (there & (cuts < 0)).sum() > positive.sum():
        return None
    cut, share = cuts[positive], below[positive]
    none = float(share[0]) if cut[0] < 1e-6 or (there & (cuts <= 0)).any() else 0.0  # of zeros, and of what is below
    keep = share > none
    cut, share = cut[keep], (share[keep] - none) / (1 - none)
    if extremes is not None and np.isfinite(extremes[1]) and len(cut) and extremes[1] > cut[-1]:
        cut, share = np.append(cut, extremes[1]), np.append(share, 0.9995)
    at = np.log10(cut)
    use = np.concatenate([[True], np.diff(at) > 1e-6]) & (share > 0) & (share < 1)
    at, share = at[use], share[use]
    if len(at) < 5 or at[-1] - at[0] < 1e-3:
        return None
    return Amounts(at, np.asarray(ndtri(share)))


def mixture(values: Array, then: Amounts) -> Mixture | None:
    """Of a column's values [n] in its own units, those that are no numbers left out; None where no second unit is told."""
    x = np.sort(np.log10(values[values > 1e-9]))
    if len(x) < FEWEST:
        return None
    low, high = then.ends()
    beyond = np.array([(x < low).mean(), (x > high).mean()])
    if beyond.max() < 2 * FAR:  # all are amounts that training had: nothing to look at
        return None
    at = np.quantile(x, LEVELS)
    alone = then.below(at)
    gap = LEVELS - alone
    chance = NORMAL / np.sqrt(2 * len(x))
    if np.abs(gap).max() < max(0.05, chance):
        return None
    moved = np.stack([then.below(at - p) for p in POWERS]) - alone
    share = np.clip((moved @ gap) / np.maximum((moved * moved).sum(1), 1e-12), 0.0, 1.0)
    left = np.abs(gap[None] - share[:, None] * moved)
    best = int((left**2).sum(1).argmin())
    power, s = float(POWERS[best]), float(share[best])
    if s > WHOLE:
        return None  # all of them: that is asked elsewhere
    side = int(power > 0)
    outside = s * float(1 - then.below(np.array([high - power]))[0] if side else then.below(np.array([low - power]))[0])
    if beyond[side] < outside / 2 or beyond[side] < 2 * beyond[1 - side]:
        return None
    return Mixture(power, s, float(np.abs(gap).max()), float(left[best].max()), len(x))
