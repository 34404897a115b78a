"""Learning rates over a phase (`training.schedule`).

- `warm_restarts`: the reference's cosine with warm restarts, its periods counted in epochs whatever a phase's length;
- `cosine`: one rise over the first `WARM_UP` of the phase and one cosine down to zero at its end, so that a phase ends where
  its weights have settled (Loshchilov & Hutter 2017 without restarts; rise: Goyal et al. 2017).

In phase 2 every rate is multiplied by `training.phase2_rate`.
"""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from ple_model.config import TrainingConfig

WARM_UP = 0.05
"""Share of a phase over which `cosine` rises."""


class PhaseCosine:
    """Stepped like PyTorch's: `step(epochs done in this phase)` sets the rates of the next step."""

    def __init__(self, optimizer: Optimizer, epochs: int) -> None:
        self.optimizer, self.epochs = optimizer, epochs
        self.base = [float(g["lr"]) for g in optimizer.param_groups]
        self.step(0.0)

    def step(self, done: float) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = base * self.factor(done / self.epochs)

    @staticmethod
    def factor(share: float) -> float:
        """Factor on a rate after this share of the phase. The first step is taken at a hundredth, not at nothing."""
        rise = min(1.0, max(0.01, share / WARM_UP))
        return rise * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))

    def state_dict(self) -> dict[str, Any]:
        return {"base": list(self.base), "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.base, self.epochs = list(state["base"]), int(state["epochs"])


Schedule = CosineAnnealingWarmRestarts | PhaseCosine


def schedule(optimizer: Optimizer, t: TrainingConfig, phase: int) -> Schedule:
    """The schedule of a phase; sets the optimizer's rates to those of its first step."""
    if phase >= 2 and t.phase2_rate != 1.0:
        for group in optimizer.param_groups:
            group["lr"] *= t.phase2_rate
    if t.schedule == "cosine":
        return PhaseCosine(optimizer, t.phase1_epochs if phase == 1 else max(1, t.phase2_epochs))
    return CosineAnnealingWarmRestarts(optimizer, t.scheduler_t0, t.scheduler_t_mult)
