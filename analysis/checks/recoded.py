"""Check of the codes of the customers' segments: do they mean what they meant in training?

What a segment is shows in what its customers have: the anonymous have no sequences, the warm have all. So the inputs that the
rows of each code have are held against those of training, in every order of the codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import JUDGEMENT, Limit, Thresholds
from analysis.stats.base import Array
from analysis.stats.drift import DriftStats
from analysis.stats.run import Statistics
from ple_model.fields import SEGMENTS
from ple_model.profile import DORMANT, UNKNOWN

FIELD = "customer_segment"
ROWS = tuple(i for i in range(DORMANT + 1) if i != UNKNOWN)
"""Where each code's rows are counted."""
NEARER = Limit(
    "segment_nearer", 4.0, "Times nearer to training another order of the segments' codes must be than the codes as they are.",
    JUDGEMENT + "; of healthy rows none is nearer, of codes moved on by one 200 times",
)  # fmt: skip

APART = Limit(
    "segment_apart", 0.1, "Mean difference of the inputs' presence from which the codes as they stand are others.",
    JUDGEMENT + "; of healthy rows 0.004 to 0.02, of codes moved on by one 0.3 and more",
)  # fmt: skip


def other_order(now: DriftStats, then: DriftStats) -> tuple[tuple[int, ...], float, float]:
    """(code of training that each code's rows are most like, mean difference of the shares of rows that have each input in that
    order, and as the codes stand); a code that training had not differs wholly."""
    keys = [k for k in now.present if k in then.present]
    here, before = (_shares(s, keys) for s in (now, then))
    weight = np.array([now.segments[r] if r < len(now.segments) else 0.0 for r in ROWS])
    weight = weight / max(weight.sum(), 1e-9)

    def apart(order: tuple[int, ...]) -> float:
        gaps = np.abs(here - before[:, list(order)])
        return float((weight * np.nan_to_num(gaps, nan=1.0).mean(0)).sum())

    used = np.flatnonzero(weight > 0)
    orders = sorted(permutations(range(len(ROWS))), key=lambda o: (apart(o), sum(o[i] != i for i in used), o))
    return orders[0], apart(orders[0]), apart(tuple(range(len(ROWS))))


def _shares(s: DriftStats, keys: list[str]) -> Array:
    """[keys, codes] share of the code's rows that have each input; NaN of a code without rows."""
    out = np.full((len(keys), len(ROWS)), np.nan)
    for c, row in enumerate(ROWS):
        if row < len(s.segments) and s.segments[row]:
            out[:, c] = [s.present[k][row] / s.segments[row] for k in keys]
    return out


@check(
    "INPUT-CODES", "The codes of the customers' segments mean what they meant in training.", "data.drift",
    limits=(NEARER, APART),
)  # fmt: skip
def codes(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The newest rows outside training, against the training rows."""
    group = None if s.unseen is None else s.unseen.judged(t.min_rows)
    if s.trained is None or group is None:
        raise NotMeasured("There are too few rows outside training, or it is not known what training had.")
    split, cutoff, rows = group
    if FIELD not in rows.classes or FIELD not in s.trained.classes or not set(rows.present) & set(s.trained.present):
        raise NotMeasured("The rows have no segments.")
    order, apart, as_they_are = other_order(rows, s.trained)
    there = [i for i, r in enumerate(ROWS) if r < len(rows.segments) and rows.segments[r]]
    moved = [i for i in there if order[i] != i]
    if not moved or apart * t[NEARER] > as_they_are or as_they_are < t[APART]:
        return
    yield Finding(
        "INPUT-CODES",
        "error",
        FIELD,
        f"The codes of `{FIELD}` are numbered otherwise than in training: with "
        f"{', '.join(f'{i} = {SEGMENTS[order[i]]}' for i in moved)} each has the inputs that it had.",
        (
            Evidence("mean difference of the inputs' presence, as the codes stand", as_they_are, t[NEARER] * apart, rows.n),
            Evidence("the same in that order", apart, None, rows.n, f"{split} {cutoff}"),
        ),
        "data.drift",
        "The categories were numbered anew: an encoding was fitted again, or counts from another start.",
        Fix("", None, None, "Write the codes of training, by name, and build anew."),
    )
