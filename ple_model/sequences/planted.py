"""Anomalies planted on purpose in a series, each with the steps it touches, to measure what an anomaly score finds.

Five that happen to a customer's days (or a meter's hours): one value far out (`spike`), days on which nothing arrives (`gap`),
a level that creeps away (`drift`), one value that stands still (`frozen`), and days in another order (`swapped`), which leaves
every value as it was and so is invisible to anything that looks at values alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Rng = np.random.Generator


@dataclass(frozen=True)
class PlantSettings:
    """How large the anomalies are."""

    last: int = 14
    """The steps at the end of a series in which they begin and end."""
    size: float = 4.0
    """Standard deviations of a channel by which a spike or the end of a drift is off."""
    days: int = 7
    """Steps that a gap, a frozen value and a swap take; a drift takes all of the last steps."""
    channels: float = 0.5
    """Share of the channels that a spike or a drift touches, at least one."""


@dataclass(frozen=True, eq=False)
class PlantedSeries:
    """Series [N, L, C] with one anomaly each, and the steps it touched [N, L]."""

    values: Floats
    touched: Bools


def plant(kind: str, values: Floats, settings: PlantSettings, seed: int = 0) -> PlantedSeries:
    """One anomaly of this kind in every series of `values` [N, L, C], which stay as they are. A gap is zeros: of a customer's
    days that is a day on which nothing arrived."""
    rng = np.random.default_rng(seed)
    spread = values.std(axis=1)
    out, touched = values.copy(), np.zeros(values.shape[:2], bool)
    for i in range(len(values)):
        rows = KINDS[kind](out[i], np.where(spread[i] > 0, spread[i], 1.0), settings, rng)
        touched[i, rows] = True
    return PlantedSeries(out, touched)


def _start(length: int, steps: int, settings: PlantSettings, rng: Rng) -> int:
    """A first step so that the anomaly lies within the last steps."""
    last = min(settings.last, length)
    return length - last + int(rng.integers(0, max(1, last - min(steps, last) + 1)))


def _chosen(channels: int, settings: PlantSettings, rng: Rng) -> NDArray[np.int64]:
    return rng.permutation(channels)[: max(1, round(settings.channels * channels))]


def _spike(x: Floats, spread: Floats, settings: PlantSettings, rng: Rng) -> NDArray[np.int64]:
    step = _start(len(x), 1, settings, rng)
    which = _chosen(x.shape[1], settings, rng)
    x[step, which] += rng.choice((-1.0, 1.0), len(which)) * settings.size * spread[which]
    return np.array([step])


def _gap(x: Floats, spread: Floats, settings: PlantSettings, rng: Rng) -> NDArray[np.int64]:
    first = _start(len(x), settings.days, settings, rng)
    rows = np.arange(first, min(first + settings.days, len(x)))
    x[rows] = 0.0
    return rows


def _drift(x: Floats, spread: Floats, settings: PlantSettings, rng: Rng) -> NDArray[np.int64]:
    rows = np.arange(max(0, len(x) - settings.last), len(x))
    which = _chosen(x.shape[1], settings, rng)
    ramp = np.arange(1, len(rows) + 1)[:, None] / len(rows)
    x[np.ix_(rows, which)] += (ramp * rng.choice((-1.0, 1.0)) * settings.size * spread[which]).astype(x.dtype)
    return rows


def _frozen(x: Floats, spread: Floats, settings: PlantSettings, rng: Rng) -> NDArray[np.int64]:
    first = _start(len(x), settings.days, settings, rng)
    rows = np.arange(first, min(first + settings.days, len(x)))
    x[rows] = x[first]
    return rows


def _swapped(x: Floats, spread: Floats, settings: PlantSettings, rng: Rng) -> NDArray[np.int64]:
    first = _start(len(x), settings.days, settings, rng)
    rows = np.arange(first, min(first + settings.days, len(x)))
    x[rows] = x[rng.permutation(rows)]
    return rows


KINDS: dict[str, Callable[[Floats, Floats, PlantSettings, Rng], NDArray[np.int64]]] = {
    "spike": _spike, "gap": _gap, "drift": _drift, "frozen": _frozen, "swapped": _swapped,
}  # fmt: skip
