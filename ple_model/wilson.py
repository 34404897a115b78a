"""Wilson's interval of a share (Wilson 1927): inside [0, 1], honest in small numbers and at 0 and 1, unlike the normal one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def wilson(hits: ArrayLike, n: ArrayLike, z: float = Z95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(low, high) of `hits` in `n`, elementwise; n > 0."""
    k, m = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    p = k / m
    centre = (p + z * z / (2 * m)) / (1 + z * z / m)
    half = z * np.sqrt(p * (1 - p) / m + z * z / (4 * m * m)) / (1 + z * z / m)
    # at 0 and 1 the bound is exact; rounding would put it a hair beside
    return np.where(k == 0, 0.0, np.maximum(centre - half, 0.0)), np.where(k == m, 1.0, np.minimum(centre + half, 1.0))
