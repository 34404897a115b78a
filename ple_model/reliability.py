"""How often the probabilities of a run came true: of the test split's rows (without any, of the validation split's), by task
and class, counts in bins of the probability as it is shown. A class of several has no calibration map of its own, so this is
what its percentage can be held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.wilson import wilson

if TYPE_CHECKING:
    from ple_model.scoring import Scores

FILE = "reliability.npz"
BINS = 100
"""Of one percent each."""
WIDEST = 64
"""Classes of a task at most."""
ENOUGH, FEWEST = 200, 50
"""Rows that a range of probabilities is widened for, and the fewest that say anything, by judgement: the 95 % interval of a
half is 7 points to either side, and 14."""
REACH = 10
"""Percent to either side of a probability that its range has at most."""
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class CameTrue:
    """Of `n` held-out rows that were given between `low` and `high`: what they were told on average, and the share of which it
    came true with its 95 % interval (Wilson)."""

    n: int
    low: float
    high: float
    told: float
    came: float
    came_low: float
    came_high: float

    @property
    def holds(self) -> bool:
        """Whether what they were told lies within the interval of what came true."""
        return self.came_low <= self.told <= self.came_high


@dataclass(frozen=True, eq=False)
class HeldOutReliability:
    """counts {task: [3, classes, BINS]}: rows, sum of what they were told, those of whom it came true. A task of yes and no
    has one class."""

    counts: Mapping[str, Counts]

    def around(self, task: str, output: int, probability: float) -> CameTrue | None:
        """Rows that were given about as much, in the narrowest range around it that holds enough; None where none does."""
        found = self.counts.get(task)
        if found is None or output >= found.shape[1] or not np.isfinite(probability):
            return None
        rows, told, came = found[:, output]
        middle = _bin(probability)
        for reach in range(REACH + 1):
            where = slice(max(middle - reach, 0), min(middle + reach + 1, BINS))
            if rows[where].sum() >= ENOUGH or reach == REACH:
                break
        n, hits = int(rows[where].sum()), float(came[where].sum())
        if n < FEWEST:
            return None
        low, high = wilson([hits], [n])
        mean = float(told[where].sum()) / n
        return CameTrue(n, where.start / BINS, where.stop / BINS, mean, hits / n, float(low[0]), float(high[0]))

    def save(self, folder: Path) -> None:
        """Write `reliability.npz` (temporary file, then rename)."""
        write_npz(folder / FILE, dict(self.counts), packed=True)

    @staticmethod
    def load(folder: Path) -> HeldOutReliability | None:
        """What `save` wrote; None where a run has none (it is older). `UserError` names a damaged file."""
        path = folder / FILE
        try:
            found = read_npz(path)
        except FileNotFoundError:
            return None
        for name, counts in found.items():
            if counts.ndim != 3 or counts.shape[0] != 3 or counts.shape[2] != BINS or not np.isfinite(counts).all():
                raise UserError(f"{path} is damaged: the array '{name[:80]}' holds no counts of {BINS} bins")
        return HeldOutReliability({k: v.astype(np.float64) for k, v in found.items()})


def _bin(probability: Any) -> Any:
    return np.clip(np.floor(np.asarray(probability) * BINS), 0, BINS - 1).astype(np.int64)


def reliability(scores: Scores) -> HeldOutReliability:
    """Of scored rows, as their probabilities are shown."""
    found: dict[str, Counts] = {}
    for task, rows in scores.tasks.items():
        if not len(rows) or rows.spec.kind not in ("binary", "multiclass") or rows.spec.out_dim > WIDEST:
            continue
        p = rows.prediction.reshape(len(rows), -1)
        y = rows.label[:, None] == (np.arange(p.shape[1]) if p.shape[1] > 1 else 1)
        counts = np.zeros((3, p.shape[1], BINS))
        for c in range(p.shape[1]):
            known = np.isfinite(p[:, c])
            at = _bin(p[known, c])
            for i, weight in enumerate((np.ones(len(at)), p[known, c], y[known, c].astype(np.float64))):
                counts[i, c] = np.bincount(at, weights=weight, minlength=BINS)
        found[task] = counts
    return HeldOutReliability(found)
