"""Closed-form continuous-time cell (CfC: Hasani et al., Nature Machine Intelligence 2022), a liquid network without a solver.

    h_t = sigmoid(-f) * g + (1 - sigmoid(-f)) * k,   f = time_a * elapsed + time_b

with g, k = tanh heads and time_a, time_b linear heads over [x_t, h_{t-1}]. `elapsed` is the time since the last event, so that
a silence of ten days differs from ten busy days. The input half of all four heads is one product over the whole sequence; the
recurrence is nonlinear in its state and has no exact parallel form: it stays a loop.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def elapsed_steps(sequence: Tensor, limit: float = 30.0) -> Tensor:
    """[B, L, 1] steps since the last non-empty step before each one (1 after a busy step), at most `limit`; [B, L, F] ->
    float."""
    busy = (sequence != 0).any(dim=2)
    steps = torch.arange(1, sequence.shape[1] + 1, device=sequence.device)
    last = torch.cummax(torch.where(busy, steps, 0), dim=1).values
    before = torch.cat([torch.zeros_like(last[:, :1]), last[:, :-1]], dim=1)
    return (steps - before).clamp(max=limit).to(sequence.dtype)[..., None]


class CfC(nn.Module):
    """A CfC layer over a sequence."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.from_input = nn.Linear(inputs, 4 * width)
        self.from_state = nn.Linear(width, 4 * width, bias=False)

    def forward(self, x: Tensor, elapsed: Tensor) -> Tensor:
        """x [B, L, F], elapsed [B, L, 1] -> states [B, L, width]."""
        n = self.width
        # time first, so that each step is a contiguous block
        driven = self.from_input(x.transpose(0, 1))
        weight = self.from_state.weight.t()
        state = driven.new_zeros(x.shape[0], n)
        states: list[Tensor] = []
        for now, gap in zip(driven.unbind(0), elapsed.transpose(0, 1).to(driven.dtype).unbind(0), strict=True):
            heads = torch.addmm(now, state, weight)
            both = torch.tanh(heads[:, : 2 * n])
            clock = torch.sigmoid(torch.addcmul(heads[:, 3 * n :], heads[:, 2 * n : 3 * n], gap))
            state = torch.lerp(both[:, :n], both[:, n:], clock)
            states.append(state)
        return torch.stack(states, dim=1)
