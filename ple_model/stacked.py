"""The same small layer for many tasks at once: one batched product in place of a loop over tasks.

Tensors are task-first, [tasks, B, width]. A layer may be run for some of its tasks (`index`), as the towers of one transfer
level are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StackedLinear(nn.Module):
    """`n` independent linear layers, [n, B, d_in] -> [n, B, d_out], each started as `nn.Linear` starts."""

    def __init__(self, n: int, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(n, d_in, d_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n, 1, d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        weight = self.weight if index is None else self.weight.index_select(0, index)
        bias = self.bias if index is None else self.bias.index_select(0, index)
        return torch.baddbmm(bias, x, weight)


class StackedLayerNorm(nn.Module):
    """`n` independent layer normalisations over the last dimension of [n, B, d]."""

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n, 1, dim))
        self.bias = nn.Parameter(torch.zeros(n, 1, dim))
        self.dim = dim

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        gain = self.gain if index is None else self.gain.index_select(0, index)
        bias = self.bias if index is None else self.bias.index_select(0, index)
        return torch.addcmul(bias, F.layer_norm(x, (self.dim,)), gain)
