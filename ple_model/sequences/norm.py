"""Reversible instance normalisation (RevIN: Kim et al., ICLR 2022): each series and channel is seen in its own units.

What is taken out is kept, and the inverse is exact: the learned gain is an exponential and never zero. The deviation has a
floor, so that a constant channel gives zeros and a quiet one does not turn a small event into a huge one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ple_model.layers.precision import full_precision, widen

ROUNDING = 1e-4
"""Of a mean: some hundred float32 roundings, which must not pass for a deviation."""


class InstanceNorm(nn.Module):
    """`revin`, `last` or `none` (see `EncoderConfig.norm`)."""

    def __init__(self, kind: str, channels: int, min_scale: float) -> None:
        super().__init__()
        self.kind, self.min_scale = kind, min_scale
        learned = kind == "revin"
        self.log_gain = nn.Parameter(torch.zeros(channels)) if learned else None
        self.shift = nn.Parameter(torch.zeros(channels)) if learned else None

    def measure(self, values: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """(center, scale) [B, 1, C] of the steps that are `given` [B, L, C]; 0 and the floor where there is none."""
        with full_precision(values):
            x = torch.where(given, widen(values), 0.0)
            if self.kind == "none":
                return torch.zeros_like(x[:, :1]), torch.ones_like(x[:, :1])
            if self.kind == "last":
                steps = torch.arange(x.shape[1], device=x.device)[None, :, None]
                last = torch.where(given, steps, 0).amax(dim=1, keepdim=True)
                return x.gather(1, last), torch.ones_like(x[:, :1])
            count = given.sum(dim=1, keepdim=True).clamp(min=1).to(x.dtype)
            center = x.sum(dim=1, keepdim=True) / count
            spread = torch.where(given, (x - center).square(), 0.0).sum(dim=1, keepdim=True) / count
            floor = self.min_scale**2 + (ROUNDING * center).square()
            return center, (spread + floor).sqrt()

    def forward(self, values: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """values [B, L, C] in the units of the series."""
        with full_precision(values):
            x = (widen(values) - center) / scale
            return x if self.log_gain is None or self.shift is None else x * self.log_gain.exp() + self.shift

    def inverse(self, x: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """The exact inverse of `forward`; x may have any number of steps."""
        with full_precision(x):
            x = widen(x)
            if self.log_gain is not None and self.shift is not None:
                x = (x - self.shift) * (-self.log_gain).exp()
            return x * scale + center
