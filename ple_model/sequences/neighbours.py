"""Who moved like this one: nearest series by dynamic time warping (Sakoe and Chiba 1978), in a pool of many.

The distance is `dtaidistance`'s, within a band: a day may be matched with one at most `band` days away. In a large pool an
embedding names a shortlist first; on it the distance is exact, and Keogh's lower bound (Keogh and Ratanamahatana 2005) leaves
out what cannot be among the nearest. `shortlist_recall` says what the shortlist loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError

Array = NDArray[np.float64]
BAND = 7
"""A week: further apart, Monday would meet another week's Monday."""
SHORTLIST = 1000


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest first: positions in the pool [k], distances [k]; how many distances had to be computed."""

    index: NDArray[np.int64]
    distance: Array
    computed: int


def _dtw() -> ModuleType:
    try:
        from dtaidistance import dtw  # late: an optional library
    except ImportError as e:
        raise UserError("neighbours by time warping need the library dtaidistance: pip install 'ple-scope[neighbours]'") from e
    return dtw  # type: ignore[no-any-return]


def standardised(series: NDArray[np.floating]) -> Array:
    """Each row [N, L] at mean 0 and standard deviation 1 (a constant row at 0): what is compared is the shape of the days."""
    x = np.asarray(series, np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    spread = x.std(axis=1, keepdims=True)
    return np.asarray(np.divide(x, spread, out=np.zeros_like(x), where=spread > 1e-12))


def warped_distance(a: Array, b: Array, band: int = BAND) -> float:
    """Square root of the least sum of squared differences over warping paths within the band."""
    return float(_dtw().distance_fast(np.ascontiguousarray(a), np.ascontiguousarray(b), window=band + 1, use_pruning=False))


def warping_path(a: Array, b: Array, band: int = BAND) -> list[tuple[int, int]]:
    """Which step of `a` is matched with which step of `b`, from the first to the last."""
    found = _dtw().warping_path_fast(np.ascontiguousarray(a), np.ascontiguousarray(b), window=band + 1)
    return [(int(i), int(j)) for i, j in found]


def lower_bound(pool: Array, query: Array, band: int = BAND) -> Array:
    """Keogh's bound [N]: how far each series of `pool` [N, L] leaves the query's envelope; never above the distance."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d  # late: scipy's filters

    high = maximum_filter1d(query, 2 * band + 1, mode="nearest")
    low = minimum_filter1d(query, 2 * band + 1, mode="nearest")
    out = np.empty(len(pool))
    for first in range(0, len(pool), 8192):
        x = pool[first : first + 8192]
        out[first : first + 8192] = np.sqrt((np.maximum(x - high, 0.0) ** 2 + np.maximum(low - x, 0.0) ** 2).sum(axis=1))
    return out


def nearest(
    pool: Array, query: Array, k: int = 10, *, band: int = BAND, among: NDArray[np.int64] | None = None, leave_out: int = -1
) -> Neighbours:
    """The `k` series of `pool` [N, L] nearest to `query` [L], exact, in `among` (default: all). `leave_out`: a position that
    does not count, the query's own."""
    candidates = np.arange(len(pool)) if among is None else np.asarray(among, np.int64)
    candidates = candidates[candidates != leave_out]
    bound = lower_bound(pool[candidates], query, band)
    measure = _dtw().distance_fast
    query = np.ascontiguousarray(query)
    best: list[tuple[float, int]] = []
    computed = 0
    for position in np.argsort(bound, kind="stable"):
        if len(best) == k and bound[position] >= best[-1][0]:
            break  # nor can any later one be nearer: bounds ascend
        limit = best[-1][0] if len(best) == k else None
        at = int(candidates[position])
        distance = float(measure(query, np.ascontiguousarray(pool[at]), window=band + 1, max_dist=limit, use_pruning=False))
        computed += 1
        if np.isfinite(distance):
            best = sorted([*best, (distance, at)])[:k]
    return Neighbours(np.array([i for _, i in best], np.int64), np.array([d for d, _ in best]), computed)


def shortlist(embeddings: NDArray[np.floating], query: int, size: int = SHORTLIST) -> NDArray[np.int64]:
    """The positions whose embedding [N, E] is nearest to that of `query`, itself left out."""
    distance = ((embeddings - embeddings[query]) ** 2).sum(axis=1)
    distance[query] = np.inf
    size = min(size, len(embeddings) - 1)
    return np.asarray(np.argpartition(distance, size - 1)[:size], np.int64) if size > 0 else np.zeros(0, np.int64)


def nearest_by_embedding(
    pool: Array, embeddings: NDArray[np.floating], query: int, k: int = 10, *, band: int = BAND, size: int = SHORTLIST
) -> Neighbours:
    """The nearest of series `query` of the pool among those that the embedding puts on the shortlist."""
    return nearest(pool, pool[query], k, band=band, among=shortlist(embeddings, query, size), leave_out=query)


def shortlist_recall(
    pool: Array, embeddings: NDArray[np.floating], queries: Sequence[int], k: int = 10, *, band: int = BAND,
    size: int = SHORTLIST,
) -> float:  # fmt: skip
    """Share of the true `k` nearest of these queries (no shortlist) that the shortlist keeps."""
    kept = []
    for query in queries:
        true = nearest(pool, pool[query], k, band=band, leave_out=query).index
        kept.append(np.isin(true, shortlist(embeddings, query, size)).mean() if len(true) else 1.0)
    return float(np.mean(kept))
