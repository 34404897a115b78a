"""How a training went as one curve: loss over the constant predictor's, of the training rows and of the validation rows.

Task losses live on different scales; over the loss of the best constant each is 1 for a model that knows nothing, and their
mean is what a training stops by. The training figure is a mean over the steps of an epoch, with dropout, while the model still
changes: it lags behind the validation figure, which is taken at the epoch's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array
from analysis.stats.training import TrainingStats


@dataclass(frozen=True, eq=False)
class Course:
    """By epoch [E]; NaN where an epoch did not record it."""

    epoch: Array
    phase: Array
    steps: Array
    rate: Array
    """learning rate at the end of the epoch"""
    train: Array
    """mean over tasks of training loss / constant's"""
    valid: Array
    """the same of the validation rows, at the epoch's end"""
    tasks: Array
    """[E, T] the same of the validation rows, task by task"""
    size: Array
    """how far one step moves the weights, in shares of their own size: median over the model's blocks"""
    growth: Array
    """size of the weights over that at the start: median over the model's blocks"""

    def __len__(self) -> int:
        return len(self.epoch)

    @property
    def gap(self) -> Array:
        """[E] training skill minus validation skill."""
        return np.asarray(self.valid - self.train)

    @property
    def reach(self) -> float:
        """An upper bound of how far all steps together moved the weights, in shares of their size; NaN without record."""
        known = np.isfinite(self.size)
        return float((self.size * self.steps)[known].sum()) if known.any() else float("nan")

    def most(self, holds: Array) -> bool:
        """Whether at least half of the tasks are among `holds` [T] (bool) of those with a figure; where no task has one, it is
        taken to be so."""
        known = np.isfinite(self.tasks).any(0)
        return bool(holds[known].mean() >= 0.5) if known.any() else True

    def best(self) -> int | None:
        """The epoch whose weights are kept, as an index; None where no validation was recorded."""
        return int(np.nanargmin(self.valid)) if np.isfinite(self.valid).any() else None

    def phases(self) -> list[NDArray[np.int64]]:
        """Indices of the epochs of each phase that have a validation figure."""
        known = np.flatnonzero(np.isfinite(self.valid))
        return [known[self.phase[known] == p] for p in np.unique(self.phase[known])]


def course(h: TrainingStats) -> Course:
    """From the epoch lines; the training figure of lines without one comes from the losses and the validation's own ratios."""
    began = _part(next(iter(h.event("start")), {}), "weight_norm")
    return Course(
        h.epoch,
        h.phase(),
        h.series("steps"),
        h.series("lr"),
        np.array([_train(e) for e in h.epochs], dtype=np.float64),
        h.series("valid", "mean_ratio"),
        np.array(list(h.table("valid", "ratio").values()), dtype=np.float64).reshape(-1, len(h.epochs)).T,
        np.array([_size(e) for e in h.epochs], dtype=np.float64),
        np.array([_growth(e, began) for e in h.epochs], dtype=np.float64),
    )


def _train(line: Mapping[str, Any]) -> float:
    train, valid = _part(line, "train"), _part(line, "valid")
    if isinstance(train.get("mean_ratio"), (int, float)):
        return float(train["mean_ratio"])
    losses, there, ratio = _part(train, "tasks"), _part(valid, "tasks"), _part(valid, "ratio")
    found = [
        losses[k] * ratio[k] / there[k] for k in ratio if _positive(there.get(k)) and isinstance(losses.get(k), (int, float))
    ]
    return float(np.mean(found)) if found else float("nan")


def _size(line: Mapping[str, Any]) -> float:
    """A frozen block does not move, and says nothing of the rate."""
    found = [v for v in _part(line, "step_size").values() if _positive(v)]
    return float(np.median(found)) if found else float("nan")


def _growth(line: Mapping[str, Any], began: Mapping[str, Any]) -> float:
    now = _part(line, "weight_norm")
    found = [now[k] / began[k] for k in now if _positive(now[k]) and _positive(began.get(k))]
    return float(np.median(found)) if found else float("nan")


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _part(line: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = line.get(name)
    return found if isinstance(found, Mapping) else {}
