"""Task towers: from a task expert's output to a prediction (reference, "Task Tower").

Each hidden step is Linear, LayerNorm, SiLU, Dropout. All towers are stacked; the tasks of one transfer level run together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.layers.precision import widen
from ple_model.stacked import StackedLayerNorm, StackedLinear
from ple_model.tasks import TaskSpec


class TaskTowers(nn.Module):
    """Raw tower outputs [B, out_dim] by task. Output layers differ in width: they are rows of one flat matrix."""

    def __init__(self, tasks: Mapping[str, TaskSpec], input_dim: int, hidden_dims: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.dropout = dropout
        widths = [input_dim, *hidden_dims]
        self.hidden = nn.ModuleList(StackedLinear(len(tasks), a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(StackedLayerNorm(len(tasks), b) for b in hidden_dims)
        self.slices: dict[str, slice] = {}
        start = 0
        for name, t in tasks.items():
            self.slices[name] = slice(start, start + t.out_dim)
            start += t.out_dim
        bound = 1 / math.sqrt(widths[-1])
        self.out_weight = nn.Parameter(torch.empty(start, widths[-1]).uniform_(-bound, bound))
        self.out_bias = nn.Parameter(torch.empty(start).uniform_(-bound, bound))

    @torch.no_grad()
    def clear_bias(self, names: Iterable[str]) -> None:
        """Start these towers without an offset of their own, where what they add to has one."""
        for name in names:
            self.out_bias[self.slices[name]] = 0.0

    def forward(self, x: Tensor, names: Sequence[str], index: Tensor | None = None) -> dict[str, Tensor]:
        """x [len(names), B, input_dim] for the towers `names`, whose positions are `index` (None: all, in config order)."""
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            x = F.dropout(F.silu(norm(linear(x, index), index)), self.dropout, self.training)
        out: dict[str, Tensor] = {}
        for i, name in enumerate(names):
            rows = self.slices[name]
            out[name] = F.linear(x[i], self.out_weight[rows], self.out_bias[rows])
        return out


def predict(spec: TaskSpec, logits: Tensor) -> Tensor:
    """A prediction from a tower's raw output [B, out_dim], in float32 (float64 for a float64 model): binary p [B]; multiclass
    probabilities [B, K]; regression in standard deviations of the label [B] ([B, out_dim] if wider than 1); contrastive
    L2-normalised query [B, 128]."""
    logits = widen(logits)
    if spec.kind == "binary":
        return torch.sigmoid(logits[:, 0])
    if spec.kind == "multiclass":
        return torch.softmax(logits, dim=-1)
    if spec.kind == "contrastive":
        return F.normalize(logits, dim=-1)
    return logits[:, 0] if spec.out_dim == 1 else logits
