"""A study's trials as what is drawn of them: history, slices, parallel coordinates. The figures calculate nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ple_model.tuning.dimension import Dimension, Value, text_of
from ple_model.tuning.record import TrialRecord

Array = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """Finished trials in the order of their numbers: the objective with its interval, and the best so far."""

    number: tuple[int, ...]
    value: Array
    low: Array
    high: Array
    best: Array
    level: tuple[bool, ...]
    """Whether the trial cannot be told from the best one."""
    stage: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """One key's values [trials] as places on an axis, and how the places are called."""

    key: str
    place: Array
    ticks: tuple[float, ...]
    names: tuple[str, ...]
    log: bool
    """The places are powers of ten."""


def finished(trials: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Those that were measured."""
    return tuple(t for t in trials if t.state == "finished" and math.isfinite(t.skill.value))


def history(trials: Sequence[TrialRecord], level: Sequence[int]) -> History:
    done = finished(trials)
    value = np.array([t.skill.value for t in done], dtype=np.float64)
    return History(
        tuple(t.number for t in done), value, np.array([t.skill.low for t in done]), np.array([t.skill.high for t in done]),
        np.maximum.accumulate(value) if len(value) else value, tuple(t.number in level for t in done),
        tuple(t.stage for t in done),
    )  # fmt: skip


def axes(trials: Sequence[TrialRecord], space: Sequence[Dimension]) -> tuple[Axis, ...]:
    """An axis a key that more than one value of was tried; of a logarithmic range in powers of ten, of choices their places."""
    done = finished(trials)
    found = [_axis(d, [t.params[d.key] for t in done]) for d in space if all(d.key in t.params for t in done)]
    return tuple(a for a in found if len(np.unique(a.place)) > 1)


def _axis(one: Dimension, values: Sequence[Value]) -> Axis:
    if one.kind == "choice":
        place = np.array([one.choices.index(str(v)) if str(v) in one.choices else np.nan for v in values], dtype=np.float64)
        names = tuple(c.strip('"') for c in one.choices)
        return Axis(one.key, place, tuple(map(float, range(len(names)))), names, False)
    plain = np.array([float(v) for v in values], dtype=np.float64)
    if one.log:
        with np.errstate(invalid="ignore", divide="ignore"):
            place = np.log10(plain)
        ends = np.linspace(math.log10(one.low), math.log10(one.high), 5)
        return Axis(one.key, place, tuple(map(float, ends)), tuple(f"{10**e:.2g}" for e in ends), True)
    ends = np.linspace(one.low, one.high, 5)
    return Axis(one.key, plain, tuple(map(float, ends)), tuple(text_of(float(f"{e:.3g}")) for e in ends), False)
