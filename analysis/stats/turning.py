"""When each task turned: its own best epoch by the validation loss, beside the one epoch whose weights were kept for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.base import Array
from analysis.stats.training import TrainingStats


@dataclass(frozen=True)
class Turn:
    """One task of one training; skills are 1 - loss / loss of a constant on the validation rows. NaN: not recorded."""

    task: str
    best_epoch: float
    """Where its own validation loss was lowest."""
    last_epoch: float
    kept_epoch: float
    best: float
    kept: float
    """At the epoch whose weights were kept."""
    last: float
    gap: float
    """Training skill minus validation skill at the kept epoch; the former with dropout, while the weights still moved."""

    level: bool = False
    """The loss is the same in every epoch: the task is its fitted map alone, or learns nothing."""

    @property
    def lost(self) -> float:
        """What it gave up by stopping with the others."""
        return self.best - self.kept

    @property
    def improving(self) -> bool:
        """Its best epoch is the last one: it had not turned."""
        return self.best_epoch == self.last_epoch and not self.level


def turns(stats: TrainingStats) -> tuple[Turn, ...]:
    """Of every task with a validation loss, in the order of the log."""
    kept = [i for i, e in enumerate(stats.epochs) if e.get("best")]
    trained = train_ratio(stats)
    out = []
    for task, ratio in stats.table("valid", "ratio").items():
        known = np.flatnonzero(np.isfinite(ratio))
        if not len(known):
            continue
        best, last = int(known[np.argmin(ratio[known])]), int(known[-1])
        at = kept[-1] if kept else best
        own = trained.get(task)
        gap = float(ratio[at] - own[at]) if own is not None else float("nan")
        epoch = stats.epoch
        skill = 1 - ratio
        out.append(
            Turn(
                task,
                epoch[best],
                epoch[last],
                epoch[at],
                float(skill[best]),
                float(skill[at]),
                float(skill[last]),
                gap,
                len(known) > 1 and bool(np.ptp(ratio[known]) == 0),
            )
        )
    return tuple(out)


def train_ratio(stats: TrainingStats) -> dict[str, Array]:
    """task -> [E] training loss over that of a constant: the log has the losses of both and the validation's ratio."""
    train, valid, ratio = stats.table("train", "tasks"), stats.table("valid", "tasks"), stats.table("valid", "ratio")
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {t: train[t] * ratio[t] / valid[t] for t in ratio if t in train and t in valid}
    return {t: np.where(np.isfinite(x), x, np.nan) for t, x in found.items()}
