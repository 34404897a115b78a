"""Sequences that fall silent: the newest or oldest steps in which hardly a row has an event."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.consistency.judge import FEWEST
from analysis.stats.consistency import Silence
from ple_model.input_columns import Array

QUIET = 0.1
"""Share of the usual events a step below which it is silent."""


def silences(events: Mapping[tuple[str, str], tuple[int, Array]], then: Mapping[str, Array]) -> tuple[Silence, ...]:
    """Of each sequence at the newest cut-off that has enough rows: how many of its newest steps have hardly an event. `events`:
    rows and those of them with an event in each step, by sequence and cut-off; `then`: shares at training."""
    found = []
    for key in sorted({k for k, _ in events}):
        dates = [d for k, d in events if k == key and events[k, d][0] >= FEWEST]
        if not dates:
            continue
        rows, count = events[key, max(dates)]
        steps, usual = _silent(count / rows)
        before = _silent(then[key])[0] if key in then else None
        first, first_then = _silent((count / rows)[::-1])[0], _silent(then[key][::-1])[0] if key in then else None
        found.append(Silence(key, max(dates), steps, len(count), usual, rows, before, first, first_then))
    return tuple(found)


def _silent(share: Array) -> tuple[int, float]:
    """(newest steps with less than a tenth of what the others usually have, what these usually have)."""
    newest = share[::-1]
    for steps in range(len(share)):
        usual = float(np.median(newest[steps:]))
        if newest[steps] >= QUIET * usual:
            return (steps, usual) if usual > 0 else (0, 0.0)
    return 0, 0.0
