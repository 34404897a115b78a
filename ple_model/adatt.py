"""adaTT: tasks are reweighted by how far the other tasks' gradients agree with theirs (reference, "adaTT"; Yu et al. 2020;
Fifty et al. 2021).

The reference's transfer `g_j + alpha_ij proj(g_i, g_j)` is g_j rescaled, hence a factor on task j's loss. Measured, not
trained: as a parameter the losses that it multiplies would drive it to zero.

1. `g_i` = gradient of L_i at the last layer of each shared expert, concatenated; an exponential average of the **vectors**
   (a single step's cosine is noise); affinity `A_ij = cos(ema_i, ema_j)`.
2. `T_ij = strength(group_i, group_j) * max(A_ij, 0)`; a pair below `negative_transfer_threshold` is flagged as conflicting.
3. `c_j = 1 + sum_i T_ij / sum_i strength_ij`, between 1 and 2.

Noise band: the standard error of A_ij by the delta method. One measurement g_t moves A_ij by
`w_t * [(g_t,i / |e_i|) . (u_j - A_ij u_i) + (g_t,j / |e_j|) . (u_i - A_ij u_j)]` (u = e / |e|, w_t its weight in the average),
so that the sum of these squared, taking measurements as independent, estimates the variance of A_ij. `band` is two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ple_model.config import AdattConfig
from ple_model.tasks import TaskSpec


class AdaTT(nn.Module):
    """Buffers only; all are part of the checkpoint. `n_parameters` is the length of a gradient vector."""

    ema: Tensor
    measured: Tensor
    square: Tensor
    affinity: Tensor
    transfer: Tensor
    coefficients: Tensor
    frozen: Tensor
    strength: Tensor

    def __init__(self, tasks: Mapping[str, TaskSpec], config: AdattConfig, n_parameters: int) -> None:
        super().__init__()
        self.config = config
        self.tasks = list(tasks)
        n = len(self.tasks)
        groups = [t.group for t in tasks.values()]
        strength = [
            [0.0 if i == j else config.intra_strength.get(a, config.inter_strength) if a == b else config.inter_strength
             for j, b in enumerate(groups)] for i, a in enumerate(groups)
        ]  # fmt: skip
        self.register_buffer("strength", torch.tensor(strength), persistent=False)
        self.register_buffer("ema", torch.zeros(n, n_parameters))
        self.register_buffer("measured", torch.zeros(n))
        self.register_buffer("square", torch.zeros(n, n))
        self.register_buffer("affinity", torch.eye(n))
        self.register_buffer("transfer", torch.zeros(n, n))
        self.register_buffer("coefficients", torch.ones(n))
        self.register_buffer("frozen", torch.tensor(False))

    def interval(self, steps_per_epoch: int) -> int:
        """Steps between measurements: `grad_interval`, but at least four measurements an epoch."""
        return max(1, min(self.config.grad_interval, steps_per_epoch // 4))

    def c(self, epoch: int) -> Tensor:
        """[tasks] factors on the weighted losses in this epoch (epochs count from 1): 1 until the warm-up is over."""
        active = self.config.enabled and epoch > self.config.warmup_epochs
        return self.coefficients if active else torch.ones_like(self.coefficients)

    @property
    def band(self) -> Tensor:
        """[tasks, tasks] two standard errors of the affinity; NaN for a pair with fewer than two measurements."""
        few = torch.minimum(self.measured[:, None], self.measured[None, :]) < 2
        weight = self._debias(self.measured)
        band = 2 * torch.sqrt(self.square) / torch.minimum(weight[:, None], weight[None, :])
        return torch.where(few, torch.full_like(band, float("nan")), band).fill_diagonal_(0.0)

    def _debias(self, count: Tensor) -> Tensor:
        """Sum of the weights of `count` measurements in an average that starts at zero."""
        return (1 - self.config.ema_decay**count).clamp_min(1e-12)

    def measure(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], scale: Tensor | float = 1.0,
        whole: Callable[[Tensor], Tensor] = lambda gradients: gradients,
    ) -> None:  # fmt: skip
        """Take the gradient of each task's mean loss at `parameters` and fold it in; before the step's own backward, for
        which the graph is kept. `scale` is the loss scale of fp16, which keeps small gradients above its floor. Tasks
        without labels (no gradient at all) are left as they were. Does nothing once frozen. `whole`: the gradients of a batch
        from those of the rows at hand."""
        if bool(self.frozen):
            return
        rows: list[Tensor] = []
        for task in self.tasks:
            grads: Sequence[Tensor | None] = [None] * len(parameters)
            if losses[task].requires_grad:
                grads = torch.autograd.grad(losses[task] * scale, parameters, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters, strict=True)]
            rows.append(torch.cat([f.reshape(-1).float() for f in flat]) / scale)
        gradients = whole(torch.stack(rows))
        self.update(gradients, (gradients != 0).any(1))

    @torch.no_grad()
    def update(self, gradients: Tensor, has_labels: Tensor) -> None:
        """Fold one measurement in: gradients [tasks, n_parameters], has_labels [tasks] bool."""
        if bool(self.frozen):
            return
        ok = has_labels & torch.isfinite(gradients).all(1)
        gradients = torch.where(ok[:, None], gradients, torch.zeros_like(gradients))
        decay = self.config.ema_decay
        self.ema.copy_(torch.where(ok[:, None], decay * self.ema + (1 - decay) * gradients, self.ema))
        self.measured.add_(ok.to(self.measured))

        norm = self.ema.norm(dim=1).clamp_min(1e-30)
        unit = self.ema / norm[:, None]
        a = (unit @ unit.T).clamp(-1, 1)
        known = (self.measured > 0) & (self.ema != 0).any(1)
        a = torch.where(known[:, None] & known[None, :], a, torch.zeros_like(a)).fill_diagonal_(1.0)
        self.affinity.copy_(a)
        self._update_band(gradients, unit, norm, a, ok)

        allowed = a >= self.config.negative_transfer_threshold
        self.transfer.copy_(torch.where(allowed, self.strength * a.clamp_min(0), torch.zeros_like(a)))
        self.coefficients.copy_(1 + self.transfer.sum(0) / self.strength.sum(0).clamp_min(1e-12))

    def _update_band(self, gradients: Tensor, unit: Tensor, norm: Tensor, a: Tensor, ok: Tensor) -> None:
        """The module docstring's noise band: squared influence of this measurement, weighted as the average weights it."""
        decay = self.config.ema_decay
        # relative to the debiased average, whose norm does not grow with the number of measurements
        scale = (norm / self._debias(self.measured))[:, None]
        onto = gradients @ unit.T / scale  # [i, j]: g_t,i . u_j / |e_i|
        influence = onto - a * onto.diagonal()[:, None] + onto.T - a * onto.diagonal()[None, :]
        touched = ok[:, None] | ok[None, :]
        self.square.copy_(torch.where(touched, decay**2 * self.square + ((1 - decay) * influence) ** 2, self.square))

    def freeze(self) -> None:
        """From now on the coefficients are constants (at the end of `freeze_epoch`)."""
        self.frozen.fill_(True)

    @property
    def conflicts(self) -> Tensor:
        """[tasks, tasks] bool: pairs whose affinity is below the negative transfer threshold."""
        return self.affinity < self.config.negative_transfer_threshold

    def report(self) -> dict[str, Any]:
        """For the log: tasks, A, band, T, c by task, conflict_share (of all pairs), measured. A pair without a band has
        None."""
        n = len(self.tasks)
        band = [[None if x != x else round(x, 6) for x in row] for row in self.band.tolist()]
        return {
            "tasks": self.tasks,
            "A": [[round(x, 6) for x in row] for row in self.affinity.tolist()],
            "band": band,
            "T": [[round(x, 6) for x in row] for row in self.transfer.tolist()],
            "c": dict(zip(self.tasks, self.coefficients.tolist(), strict=True)),
            "conflict_share": float(self.conflicts.sum()) / max(1, n * (n - 1)),
            "measured": dict(zip(self.tasks, (int(x) for x in self.measured.tolist()), strict=True)),
        }
