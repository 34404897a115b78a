"""How often something is recommended in each group of customers, and how far the groups are apart. Numpy alone.

Selection rate, demographic parity difference (largest minus smallest rate) and ratio (smallest over largest), and the true
positive rate and its difference (equal opportunity; Hardt, Price and Srebro 2016), as fairness libraries define them. They
describe, and judge nothing: groups may differ for good reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ple_model.interval import Interval

Array = NDArray[np.float64]
LEAST = 20
"""Customers of a group below which its rate takes no part in the differences: a rate of twenty is known to about 20 points."""
Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class GroupRate:
    """One group. `rate`: share of its customers who are recommended it, with a Wilson interval (Wilson 1927); `hit`: share of
    those who turned out so among its customers who did, NaN where none did or nothing is known; `bore_out`: how many did."""

    group: str
    n: int
    rate: Interval
    hit: float
    bore_out: int
    outcome: float
    """Share of its customers with a known outcome who did; NaN where none is known."""


@dataclass(frozen=True)
class GroupRates:
    """All groups, the largest first. Differences are among groups of `LEAST` customers or more; NaN with fewer than two."""

    groups: tuple[GroupRate, ...]
    difference: float
    ratio: float
    hit_difference: float


def group_rates(group: Sequence[str], chosen: NDArray[np.bool_], outcome: Array) -> GroupRates:
    """`chosen` [n]: recommended; `outcome` [n]: 1 did, 0 did not, NaN unknown; `group` [n] by name."""
    names, index = np.unique(np.asarray(group, dtype=str), return_inverse=True)

    def counted(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(index[rows], minlength=len(names))

    did, known = outcome == 1, np.isfinite(outcome)
    n, picked, turned, right, judged = map(counted, (known | ~known, chosen, did, chosen & did, known))
    found = [
        GroupRate(
            str(name),
            int(n[i]),
            wilson(int(picked[i]), int(n[i])),
            float(right[i] / turned[i]) if turned[i] else float("nan"),
            int(turned[i]),
            float(turned[i] / judged[i]) if judged[i] else float("nan"),
        )
        for i, name in enumerate(names)
    ]
    found.sort(key=lambda g: (-g.n, g.group))
    rates = np.array([g.rate.value for g in found if g.n >= LEAST])
    hits = np.array([g.hit for g in found if g.bore_out >= LEAST])
    if len(rates) < 2:
        return GroupRates(tuple(found), float("nan"), float("nan"), float("nan"))
    ratio = float(rates.min() / rates.max()) if rates.max() > 0 else float("nan")
    apart = float(np.ptp(hits)) if len(hits) > 1 else float("nan")
    return GroupRates(tuple(found), float(np.ptp(rates)), ratio, apart)


def wilson(successes: int, n: int) -> Interval:
    """A share with its 95 % interval, which stays within 0 and 1 for any n."""
    if n == 0:
        return Interval(float("nan"))
    p, z2 = successes / n, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Interval(p, float(middle - half), float(middle + half))
