"""Frequency branch: amplitude and phase of the strongest frequencies of each channel, joined to its tokens through a gate.

The real FFT is taken of the normalised series with absent steps at zero, which is its mean. Phases count from the last step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ple_model.layers.precision import full_precision, widen


class FrequencyBranch(nn.Module):
    """A vector a channel from its spectrum, and a gate in [0, 1] a channel that says how much of it enters."""

    def __init__(self, length: int, frequencies: int, width: int) -> None:
        super().__init__()
        self.strongest = min(frequencies, length // 2)
        self.embed = nn.Sequential(nn.Linear(4 * self.strongest, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.gate = nn.Linear(2 * width, 1)
        nn.init.constant_(self.gate.bias, -1.0)  # a quarter at the start: the branch has to earn more

    def spectrum(self, values: Tensor) -> Tensor:
        """[B, C, K, 4] of the K strongest frequencies, strongest first: log(1 + amplitude), cosine and sine of the phase at the
        last step, frequency in cycles a step; of values [B, L, C], normalised."""
        with full_precision(values):
            x = widen(values).flip(1).transpose(1, 2)  # the last step is time 0
            found = torch.fft.rfft(x, dim=2)[..., 1:] * (2 / x.shape[2])
            amplitude, place = found.abs().topk(self.strongest, dim=2)
            wave = found.gather(2, place)
            safe = amplitude.clamp(min=1e-12)
            cycles = (place + 1).to(x.dtype) / x.shape[2]
            return torch.stack([amplitude.log1p(), wave.real / safe, wave.imag / safe, cycles], dim=3)

    def forward(self, values: Tensor, summary: Tensor) -> tuple[Tensor, Tensor]:
        """values [B, L, C], summary [B, C, D] of a channel's tokens -> (what is added to them [B, C, D], gate [B, C])."""
        heard = self.embed(self.spectrum(values).flatten(2).to(summary.dtype))
        gate = torch.sigmoid(self.gate(torch.cat([summary, heard], dim=2)))
        return gate * heard, gate[..., 0]


def period(cycles: float) -> float:
    """Steps of one turn at a frequency in cycles a step; infinite at 0."""
    return math.inf if cycles == 0 else 1 / cycles
