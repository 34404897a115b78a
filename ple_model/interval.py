"""A measured value and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval, of resampled customers; the bounds are NaN where there are too few for one."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
