"""What a training shows of itself while it runs, at the epoch it happens: a gate that gives itself to one expert, an expert
that no task uses, an expert that learns nothing. From the epoch lines alone, by the limits of the checks (`checks.thresholds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.checks.thresholds import Thresholds
from analysis.stats.base import Array
from analysis.stats.training import TrainingStats

Kind = Literal["gate", "unused", "still"]


@dataclass(frozen=True)
class Notice:
    """`gate`: `task` gives `expert` the weight `value`; `unused`: `value` is the largest weight any task gives `expert`;
    `still`: no gradient reached `expert`. It holds now, and has since epoch `since`."""

    kind: Kind
    expert: str
    since: int
    value: float
    task: str = ""


def notices(stats: TrainingStats, experts: Sequence[str], limits: Thresholds | None = None) -> tuple[Notice, ...]:
    """What holds at the last epoch that is told; `experts` in the order of the gates, empty of an older run, whose first line
    says them."""
    if not len(stats):
        return ()
    experts = experts or next((e.get("experts") or () for e in stats.event("start")), ())
    t = limits or Thresholds()
    gates = {task: w for task in _tasks(stats) if (w := stats.gates(task)).shape[1] == len(experts)}
    out = []
    for task, weights in gates.items():
        for i in np.flatnonzero(weights[-1] >= t.gate_collapse).tolist():
            out.append(Notice("gate", experts[i], _since(stats, weights[:, i] >= t.gate_collapse), float(weights[-1, i]), task))
    if gates:
        most = np.max(np.stack(list(gates.values())), axis=0)  # [E, N] the largest weight over tasks
        for i in np.flatnonzero(most[-1] < t.dead_importance).tolist():
            out.append(Notice("unused", experts[i], _since(stats, most[:, i] < t.dead_importance), float(most[-1, i])))
    norms, moving = stats.table("grad_norm"), ~stats.frozen("shared")
    for expert in experts:
        norm = norms.get(expert)
        if norm is not None and moving.any() and (norm[moving] == 0)[-1]:
            still = (norm == 0) | ~moving  # an epoch in which the experts are frozen says nothing either way
            out.append(Notice("still", expert, _since(stats, still), 0.0))
    return tuple(out)


def _tasks(stats: TrainingStats) -> list[str]:
    return list(stats.last().get("gates") or {})


def _since(stats: TrainingStats, holds: Array | np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """The first epoch of the last unbroken run of true."""
    broken = np.flatnonzero(~holds.astype(bool))
    return int(stats.epoch[broken[-1] + 1 if len(broken) else 0])
