"""Persistent homology of how activity moves: diagrams by GUDHI, their summaries, and the phase-transition numbers.

* Short (90 days, H0 and H1): log of what is done on an active day (purchases, and events in the app) over the last 7 days,
  standardised per customer, delay embedding in 3 dimensions with lag 7 (76 points): a customer with a cycle of two to six
  weeks draws a loop. It is a mean over active days, so that neither the rhythm of visits nor a holiday hides the cycle.
* Long (12 months, H0 to H2): log weekly spend of the last 50 weeks, standardised, 3 dimensions with lag 1 (48 points). H2 is
  taken of 28 landmarks (farthest-point sampling): it costs 6.6 ms at 50 points and seconds at 363.
* Phase: four windows of 13 weeks of log spend in 3-day bins, 2 dimensions with lag 1, H0 and H1.

Points are (birth, death, homology index); infinite points are left out, the most persistent are kept where a diagram is too
long. A row with fewer than `MIN_ACTIVE` active days (weeks) is absent. Summaries follow the schema parts `tda_short`,
`tda_long` and `phase_transition` (12 numbers a homology, 10 phase numbers). Global statistics: 6 a homology, see `GLOBAL`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from ple_model.threads import one_thread_each, take_back

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
SHORT_POINTS, LONG_POINTS = 200, 150
SHORT_DIMS, LONG_DIMS = (0, 1), (0, 1, 2)
MIN_ACTIVE = 10
H2_POINTS = 28
GRID = np.linspace(0.0, 6.0, 50)
"""Scales of the persistence landscape, in standard deviations of the series."""
GLOBAL = ("points", "share_of_lifetime", "longest_over_mean", "middle_birth", "spread_of_birth", "normalised_entropy")
N_STATS = 12
PHASE_WINDOWS, PHASE_DAYS, PHASE_BIN = 4, 91, 3


@dataclass(frozen=True)
class Topology:
    """Outputs for n rows; absent rows are zero. short_stats [n, 24], long_stats [n, 36], phase [n, 10], global_stats [n,
    30]."""

    short_diagrams: FloatArray
    short_mask: NDArray[np.bool_]
    long_diagrams: FloatArray
    long_mask: NDArray[np.bool_]
    short_stats: FloatArray
    long_stats: FloatArray
    phase: FloatArray
    global_stats: FloatArray
    p_tda_short_diagrams: NDArray[np.bool_]
    p_tda_long_diagrams: NDArray[np.bool_]


def delay_embedding(series: Float64, dimension: int, lag: int) -> Float64:
    """[n, steps] -> [n, steps - (dimension - 1) lag, dimension]."""
    points = series.shape[1] - (dimension - 1) * lag
    return np.stack([series[:, k * lag : k * lag + points] for k in range(dimension)], axis=2)


def standardised(x: Float64) -> Float64:
    """Each row with mean 0 and standard deviation 1; a constant row becomes 0."""
    centred = x - x.mean(axis=1, keepdims=True)
    std = x.std(axis=1, keepdims=True)
    return np.asarray(centred / np.where(std > 1e-9, std, 1.0) * (std > 1e-9))


def diagrams(clouds: Float64, dims: Sequence[int], points: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Persistence diagrams [n, points, 3] and mask [n, points] of point clouds [n, p, d], most persistent first in each
    homology. Points that lie on one another are taken once: only features without a lifetime tell the difference."""
    out = np.zeros((len(clouds), points, 3), np.float32)
    mask = np.zeros((len(clouds), points), np.bool_)
    squared = (clouds**2).sum(axis=2)
    gram = clouds @ clouds.transpose(0, 2, 1)
    distances = np.sqrt(np.maximum(squared[:, :, None] + squared[:, None, :] - 2 * gram, 0.0))
    distances[:, np.arange(clouds.shape[1]), np.arange(clouds.shape[1])] = 0.0
    first = first_alike(clouds)
    found = _persistence([m[np.ix_(p, p)] for m, p in zip(distances, map(np.unique, first), strict=True)], min(1, max(dims)))
    if max(dims) >= 2:
        chosen = [np.unique(f[m]) for f, m in zip(first, landmarks(distances, H2_POINTS), strict=True)]
        voids = _persistence([m[np.ix_(p, p)] for m, p in zip(distances, chosen, strict=True)], 2)
        found = [[*two, three[2]] for two, three in zip(found, voids, strict=True)]
    sizes = [[len(pairs) for pairs in by_homology] for by_homology in found]
    cloud = np.repeat(np.arange(len(found)), [sum(n) for n in sizes])
    homology = np.concatenate([np.repeat(np.arange(len(n)), n) for n in sizes])
    births, deaths = np.concatenate([pairs for by_homology in found for pairs in by_homology]).T
    life = deaths - births
    real = np.flatnonzero(np.isfinite(life) & (life > 1e-6))
    order, place = _ordered(cloud[real], -life[real])
    kept = np.sort(real[order[place < points]])
    order, place = _ordered(cloud[kept], -life[kept], homology[kept])
    kept = kept[order]
    out[cloud[kept], place] = np.stack([births[kept], deaths[kept], homology[kept]], axis=1)
    mask[cloud[kept], place] = True
    return out, mask


def _ordered(group: NDArray[np.int64], *keys: Float64 | NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order by group and `keys` (the last one first), and the place of each in its group, in that order."""
    order = np.lexsort((*keys, group))
    return order, np.arange(len(group)) - np.searchsorted(group[order], group[order])


def first_alike(clouds: Float64) -> NDArray[np.int64]:
    """[n, p]: of each point of [n, p, d] the first of its cloud that has the same coordinates."""
    same = np.ones((len(clouds), clouds.shape[1], clouds.shape[1]), np.bool_)
    for x in np.moveaxis(clouds, 2, 0):
        same &= x[:, :, None] == x[:, None, :]
    return np.asarray(same.argmax(axis=2))


def _persistence(distances: Sequence[Float64], dimension: int) -> list[list[Float64]]:
    """By matrix, and by homology up to `dimension`: [k, 2] births and deaths (over the field of two elements)."""
    from gudhi.sklearn.rips_persistence import RipsPersistence  # late: gudhi brings scikit-learn

    rips = RipsPersistence(list(range(dimension + 1)), input_type="full distance matrix", homology_coeff_field=2)
    return [[np.asarray(pairs) for pairs in found] for found in rips.fit_transform(distances)]


def landmarks(distances: Float64, count: int) -> NDArray[np.int64]:
    """[n, count] farthest-point samples of [n, p, p] distances, from point 0 on; all points where there are no more than
    `count`."""
    n, p, _ = distances.shape
    if p <= count:
        return np.broadcast_to(np.arange(p), (n, p))
    chosen = np.zeros((n, count), np.int64)
    nearest = distances[:, 0].copy()
    for j in range(1, count):
        chosen[:, j] = nearest.argmax(axis=1)
        nearest = np.minimum(nearest, distances[np.arange(n), chosen[:, j]])
    return chosen


def summaries(diagram: FloatArray, mask: NDArray[np.bool_], dims: Sequence[int]) -> Float64:
    """[n, 12 * len(dims)]: by homology count, total, largest, second, mean, standard deviation and 0.9 quantile of lifetimes,
    their entropy, mean birth, mean death, L2 norm of the first landscape, root of the sum of squared lifetimes."""
    blocks = []
    for k in dims:
        mine = mask & (diagram[:, :, 2] == k)
        birth, death = diagram[:, :, 0].astype(np.float64), diagram[:, :, 1].astype(np.float64)
        life = np.where(mine, death - birth, 0.0)
        count = mine.sum(axis=1)
        n = np.maximum(count, 1)
        ordered = -np.sort(-life, axis=1)
        total, mean = life.sum(axis=1), life.sum(axis=1) / n
        variance = np.where(mine, (life - mean[:, None]) ** 2, 0).sum(axis=1) / n
        p90 = np.take_along_axis(ordered, np.floor(0.1 * (n - 1)).astype(np.int64)[:, None], axis=1)[:, 0]
        share = life / np.where(total > 0, total, 1)[:, None]
        entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
        blocks.append(
            np.stack(
                [
                    count, total, ordered[:, 0], ordered[:, 1], mean, np.sqrt(variance), p90, entropy,
                    (birth * mine).sum(axis=1) / n, (death * mine).sum(axis=1) / n,
                    np.sqrt((landscape(diagram, mine) ** 2).sum(axis=1) * (GRID[1] - GRID[0])),
                    np.sqrt((life**2).sum(axis=1)),
                ],
                axis=1,
            )
        )  # fmt: skip
    return np.concatenate(blocks, axis=1)


def landscape(diagram: FloatArray, mask: NDArray[np.bool_]) -> Float64:
    """First persistence landscape on `GRID`, [n, 50]: the largest of min(t - birth, death - t) over the points of the mask."""
    used = int(np.flatnonzero(mask.any(axis=0)).max(initial=-1)) + 1
    birth, death, mask = diagram[:, :used, 0], diagram[:, :used, 1], mask[:, :used]
    out = np.zeros((len(diagram), len(GRID)))
    for j, t in enumerate(GRID):
        out[:, j] = np.where(mask, np.minimum(t - birth, death - t), 0.0).max(axis=1, initial=0.0)
    return out


def global_stats(diagram: FloatArray, mask: NDArray[np.bool_], dims: Sequence[int], stats: Float64) -> Float64:
    """[n, 6 * len(dims)]: `GLOBAL` by homology (log count, share of all lifetime, longest over mean, middle birth, spread,
    entropy)."""
    by_dim = stats.reshape(len(stats), len(dims), N_STATS)
    everything = by_dim[:, :, 1].sum(axis=1)
    blocks = []
    for i, k in enumerate(dims):
        s = by_dim[:, i]
        mine = mask & (diagram[:, :, 2] == k)
        births = np.where(mine, diagram[:, :, 0], np.nan)
        births[~mine.any(axis=1)] = 0.0
        blocks.append(
            np.stack(
                [
                    np.log1p(s[:, 0]), s[:, 1] / np.where(everything > 0, everything, 1),
                    s[:, 2] / np.where(s[:, 4] > 0, s[:, 4], 1),
                    np.nanmedian(births, axis=1), np.nanstd(births, axis=1), s[:, 7] / np.log(np.maximum(s[:, 0], 2)),
                ],
                axis=1,
            )
        )  # fmt: skip
    return np.concatenate(blocks, axis=1)


def phase_numbers(daily_log_spend: Float64, weekly: Float64) -> Float64:
    """[n, 10] of the schema part `phase_transition`, from [n, 364] standardised daily log spend and [n, 52] log weekly
    spend."""
    n = len(weekly)
    lands, h0, h1 = [], [], []
    for w in range(PHASE_WINDOWS):
        window = daily_log_spend[:, w * PHASE_DAYS : (w + 1) * PHASE_DAYS]
        binned = window[:, : PHASE_DAYS // PHASE_BIN * PHASE_BIN].reshape(n, -1, PHASE_BIN).mean(axis=2)
        diagram, mask = diagrams(delay_embedding(binned, 2, 1), (0, 1), 60)
        lands.append(np.concatenate([landscape(diagram, mask & (diagram[:, :, 2] == k)) for k in (0, 1)], axis=1))
        life = np.where(mask, diagram[:, :, 1] - diagram[:, :, 0], 0)
        h0.append((life * (diagram[:, :, 2] == 0)).sum(axis=1))
        h1.append((life * (diagram[:, :, 2] == 1)).sum(axis=1))
    moved = np.stack([np.sqrt(((lands[w + 1] - lands[w]) ** 2).sum(axis=1) * (GRID[1] - GRID[0])) for w in range(3)], axis=1)
    recent, before = weekly[:, -13:].var(axis=1), weekly[:, -26:-13].var(axis=1)
    ratio = np.log((recent + 1e-3) / (before + 1e-3))
    slowing = _autocorrelation(weekly[:, -26:]) - _autocorrelation(weekly[:, :26])
    score = 1 / (1 + np.exp(-(moved[:, -1] - moved.mean(axis=1) + ratio + slowing) / 3))
    since = PHASE_DAYS * (PHASE_WINDOWS - 1 - moved.argmax(axis=1)).astype(np.float64)
    return np.stack(
        [moved[:, -1], moved.mean(axis=1), moved.max(axis=1), moved[:, -1] - moved[:, 0], since, h0[-1] - h0[-2],
         h1[-1] - h1[-2], ratio, slowing, score],
        axis=1,
    )  # fmt: skip


def _autocorrelation(x: Float64) -> Float64:
    z = standardised(x)
    return np.asarray((z[:, 1:] * z[:, :-1]).mean(axis=1))


def busyness(actions: Float64, active: NDArray[np.bool_], days: int, window: int = 7) -> Float64:
    """[n, days] log of actions an active day over the last `window` days, at each of the last `days` days; the last value is
    carried over days without an active one behind them. actions, active: [n, at least days + window]."""
    padded = ((0, 0), (1, 0))
    done, on = np.cumsum(np.pad(actions, padded), axis=1), np.cumsum(np.pad(active, padded), axis=1)
    count: NDArray[np.int64] = on[:, window:] - on[:, :-window]
    mean = (done[:, window:] - done[:, :-window]) / np.maximum(count, 1)
    last = np.maximum.accumulate(np.where(count > 0, np.arange(count.shape[1]), 0), axis=1)
    return np.asarray(np.log1p(np.take_along_axis(mean, last, axis=1)[:, -days:]))


def _block(daily: FloatArray, app_events: FloatArray) -> Topology:
    """Topology of one block of rows: daily [n, 365, 4] (spend, purchases, sessions, deposits in), app_events [n, 365]."""
    n = len(daily)
    spend = daily[:, 1:, 0].astype(np.float64)
    activity = (daily[:, :, 1] + daily[:, :, 2]).astype(np.float64)
    weekly = np.log1p(spend.reshape(n, 52, 7).sum(axis=2))
    short = (activity[:, -90:] > 0).sum(axis=1) >= MIN_ACTIVE
    long = (weekly > 0).sum(axis=1) >= MIN_ACTIVE
    moving = busyness(daily[:, :, 1].astype(np.float64) + app_events, activity > 0, 90)
    out = Topology(
        np.zeros((n, SHORT_POINTS, 3), np.float32), np.zeros((n, SHORT_POINTS), np.bool_),
        np.zeros((n, LONG_POINTS, 3), np.float32), np.zeros((n, LONG_POINTS), np.bool_),
        np.zeros((n, 24), np.float32), np.zeros((n, 36), np.float32),
        np.zeros((n, 10), np.float32), np.zeros((n, 30), np.float32), short, long,
    )  # fmt: skip
    if short.any():
        diagram, mask = diagrams(delay_embedding(standardised(moving[short]), 3, 7), SHORT_DIMS, SHORT_POINTS)
        stats = summaries(diagram, mask, SHORT_DIMS)
        out.short_diagrams[short], out.short_mask[short], out.short_stats[short] = diagram, mask, stats
        out.global_stats[short, :12] = global_stats(diagram, mask, SHORT_DIMS, stats)
    if long.any():
        diagram, mask = diagrams(delay_embedding(standardised(weekly[long, -50:]), 3, 1), LONG_DIMS, LONG_POINTS)
        stats = summaries(diagram, mask, LONG_DIMS)
        out.long_diagrams[long], out.long_mask[long], out.long_stats[long] = diagram, mask, stats
        out.global_stats[long, 12:] = global_stats(diagram, mask, LONG_DIMS, stats)
        out.phase[long] = phase_numbers(standardised(np.log1p(spend[long])), weekly[long])
    return out


def compute_topology(daily: FloatArray, app_events: FloatArray, *, workers: int = 1, block_rows: int = 512) -> Topology:
    """Topology of [n, 365, 4] daily sums and [n, 365] events in the app. Rows are independent: any number of workers gives the
    same numbers."""
    starts = range(0, len(daily), block_rows)
    blocks = [(daily[i : i + block_rows], app_events[i : i + block_rows]) for i in starts]
    if workers > 1 and len(blocks) > 1:
        context = get_context("spawn")
        with one_thread_each(), ProcessPoolExecutor(workers, mp_context=context, initializer=take_back) as pool:
            done = list(pool.map(_block, *zip(*blocks, strict=True)))
    else:
        done = [_block(*b) for b in blocks]
    return Topology(*(np.concatenate([getattr(t, f) for t in done]) for f in Topology.__dataclass_fields__))
