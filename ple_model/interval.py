"""A measured value and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval, of resampled customers; the bounds are NaN where there are too few for one."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def among(self, comparisons: int) -> Interval:
        """With bounds that hold for so many comparisons at once (Bonferroni; Dunn 1961), each moved away from the value as far
        as a normal distribution's would be: 400 resamples do not reach the percentiles themselves."""
        normal = NormalDist()
        tail = (1 - LEVEL) / 2
        wider = normal.inv_cdf(1 - tail / max(comparisons, 1)) / normal.inv_cdf(1 - tail)
        return Interval(self.value, self.value - wider * (self.value - self.low), self.value + wider * (self.high - self.value))
