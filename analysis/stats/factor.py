"""Are these amounts those of before times one number? Then they came in another unit or currency: cents, thousands, won.

Two distributions are held against each other decile by decile, not by their means, which one rich customer moves. A constant
factor leaves every decile as many times what it was; growth, another season or other customers stretch some more than others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.stats.base import Array, Statistic

LEVELS = np.linspace(0.2, 0.8, 7)
"""Levels that are compared: the outermost deciles of a few hundred amounts are too uncertain."""
FEWEST = 3
"""Levels with different values of one sign on both sides that are needed."""


@dataclass(frozen=True, eq=False)
class Factor(Statistic):
    """Amounts over those of before."""

    times: float
    """median over the levels"""
    uneven: float
    """largest distance of a level from it, in powers of ten"""
    levels: int
    n: int
    """amounts at hand"""

    @property
    def power(self) -> float:
        """Powers of ten."""
        return math.log10(self.times)


def factor(now: Array, then: Array, n: int) -> Factor | None:
    """From the values at `LEVELS` [7] of both; `n`: amounts that those of now are drawn from. None where too few levels have
    different values of one sign on both sides."""
    usable = np.isfinite(now) & np.isfinite(then) & (now * then > 0)
    if usable.sum() < FEWEST or min(len(set(now[usable])), len(set(then[usable]))) < FEWEST:
        return None
    ratio = np.log10(now[usable] / then[usable])
    middle = float(np.median(ratio))
    return Factor(10.0**middle, float(np.abs(ratio - middle).max()), int(usable.sum()), n)


def said(times: float) -> str:
    """ "100", "1,300", "0.001": what a reader calls a factor."""
    power = round(math.log10(times))
    if abs(math.log10(times) - power) < 0.08:
        return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
    return f"{float(f'{times:.2g}'):,.0f}" if times >= 10 else f"{times:.2g}"


def unit(times: float) -> str:
    """What such a factor usually is."""
    power = math.log10(times)
    whole = round(power) if abs(power - round(power)) < 0.08 else 0
    return UNITS.get(whole, "Another currency or another unit.")


UNITS = {
    2: "Cents where whole units were.",
    -2: "Whole units where cents were.",
    3: "Whole units where thousands were.",
    -3: "Thousands where whole units were.",
    6: "Whole units where millions were.",
    -6: "Millions where whole units were.",
}
"""By powers of ten."""
