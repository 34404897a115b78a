"""CGC gates: for each task a softmax over the shared experts (Tang et al., RecSys 2020; reference, "CGC").

`w_k = softmax(W_k h_shared + b_k)` scales block i of shared_concat. The gates never build the scaled [B, tasks, width] tensor:
the basket mixes projected blocks instead, which is the same number (see `basket.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ple_model.errors import UserError, did_you_mean
from ple_model.layers.precision import widen


class CGCGate(nn.Module):
    """All tasks' gates as one linear layer.

    `forward` gives (logits, weights), both [B, tasks, experts]; rows of `weights` sum to 1. `block_scale` [experts] is
    sqrt(mean_dim / dim_i) (v3.3, `dim_normalize`), so that equal weights mean equal norms; ones where it is off.
    """

    block_scale: Tensor
    frozen: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        experts: Sequence[str],
        dims: Sequence[int],
        *,
        dim_normalize: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.experts = list(experts)
        self.temperature = temperature
        self.linear = nn.Linear(sum(dims), len(tasks) * len(experts))
        mean = sum(dims) / len(dims)
        scale = [math.sqrt(mean / d) if dim_normalize else 1.0 for d in dims]
        self.register_buffer("block_scale", torch.tensor(scale), persistent=False)
        self.register_buffer("frozen", torch.tensor(False))

    @torch.no_grad()
    def warm_start(
        self,
        domain_experts: Mapping[str, Sequence[str]],
        bias_high: float,
        bias_low: float,
        own: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """W = 0; b = `bias_high` for a task's domain experts and `bias_low` for the others; `own[task][expert]` wins."""
        self.linear.weight.zero_()
        bias = self.linear.bias.view(len(self.tasks), len(self.experts))
        bias.fill_(bias_low)
        for i, task in enumerate(self.tasks):
            for expert in domain_experts.get(task, ()):
                bias[i, self.experts.index(expert)] = bias_high
            for expert, value in (own or {}).get(task, {}).items():
                bias[i, self.experts.index(expert)] = value

    def freeze(self, on: bool = True) -> None:
        """Stop training the gates. Gradients already there are dropped, so that the optimizer passes the gates over."""
        self.frozen.fill_(on)
        self.sync()

    def sync(self) -> None:
        """Make `requires_grad` follow the `frozen` buffer (after loading a checkpoint)."""
        frozen = bool(self.frozen)
        for p in self.linear.parameters():
            p.requires_grad_(not frozen)
            if frozen:
                p.grad = None

    def forward(
        self,
        shared: Tensor,
        temperature: float | Mapping[str, float] = 1.0,
        pin: Mapping[str, Mapping[str, float]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`temperature` multiplies the configured one (a number, or by task). `pin[task][expert]` sets weights exactly and
        scales the task's other weights to fill 1."""
        n_tasks, n_experts = len(self.tasks), len(self.experts)
        logits = self.linear(shared).view(-1, n_tasks, n_experts)
        logits = widen(logits)
        if isinstance(temperature, Mapping):
            factors = [temperature.get(t, 1.0) for t in self.tasks]
            scaled = logits / (self.temperature * logits.new_tensor(factors)[:, None])
        else:
            scaled = logits / (self.temperature * temperature)
        weights = torch.softmax(scaled, dim=-1)
        for task, pinned in (pin or {}).items():
            weights = self._pin(weights, scaled, task, pinned)
        return logits, weights

    def _pin(self, weights: Tensor, scaled: Tensor, task: str, pinned: Mapping[str, float]) -> Tensor:
        if task not in self.tasks:
            raise UserError(f"pin_gate: no task '{task}'{did_you_mean(task, self.tasks)}")
        for expert in pinned:
            if expert not in self.experts:
                raise UserError(f"pin_gate.{task}: no expert '{expert}'{did_you_mean(expert, self.experts)}")
        total = sum(pinned.values())
        if min(pinned.values(), default=0.0) < 0 or total > 1 + 1e-6:
            raise UserError(
                f"pin_gate.{task}: weights {dict(pinned)} are not valid, each must be at least 0 and their sum at most 1"
            )
        k = self.tasks.index(task)
        fixed = [self.experts.index(e) for e in pinned]
        free = [i for i in range(len(self.experts)) if i not in fixed]
        row = weights[:, k].clone()
        if free:
            # from the logits: weights that have underflowed to 0 could not be scaled up again
            row[:, free] = torch.softmax(scaled[:, k, free], dim=-1) * max(0.0, 1 - total)
        row[:, fixed] = row.new_tensor(list(pinned.values()))
        out = weights.clone()
        out[:, k] = row
        return out


def gate_entropy(weights: Tensor) -> Tensor:
    """Entropy in nats of each row of `weights` [..., experts] -> [...]; uniform over n experts gives ln n."""
    # a clamp, not xlogy: the latter has an infinite slope at a weight that has underflowed to 0
    return -(weights * torch.log(weights.clamp_min(1e-30))).sum(-1)


def entropy_loss(weights: Tensor) -> Tensor:
    """`-(1/|T|) sum_k H(w_k)`, the mean over rows too (v2.3): minimising it keeps the gates from collapsing."""
    return -gate_entropy(weights).mean()
