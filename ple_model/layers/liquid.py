"""Closed-form continuous-time cell (CfC: Hasani et al., Nature Machine Intelligence 2022), a liquid network without a solver.

    h_t = sigmoid(-f) * g + (1 - sigmoid(-f)) * k,   f = time_a * elapsed + time_b

with g, k = tanh heads and time_a, time_b linear heads over [x_t, h_{t-1}]. `elapsed` is the time since the last event, so that
a silence of ten days differs from ten busy days. The input half of all four heads is one product over the whole sequence; the
recurrence is nonlinear in its state and has no exact parallel form: it stays a loop, whose backward is written out: what does
not depend on the arriving gradient is computed for all steps at once, and the weights' gradient is one product at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def running_max(values: Tensor) -> Tensor:
    """[B, L] -> the largest so far; values are not below 0. ONNX knows no running maximum: a graph takes it over a triangle."""
    if not torch.compiler.is_exporting():
        return torch.cummax(values, dim=1).values
    length = values.shape[1]
    before = torch.ones(length, length, dtype=values.dtype, device=values.device).tril()
    return (values[:, None] * before).amax(dim=2)


def elapsed_steps(sequence: Tensor, limit: float = 30.0) -> Tensor:
    """[B, L, 1] steps since the last non-empty step before each one (1 after a busy step), at most `limit`; [B, L, F] ->
    float."""
    busy = (sequence != 0).any(dim=2)
    steps = torch.arange(1, sequence.shape[1] + 1, device=sequence.device)
    last = running_max(torch.where(busy, steps, 0))
    before = torch.cat([torch.zeros_like(last[:, :1]), last[:, :-1]], dim=1)
    return (steps - before).clamp(max=limit).to(sequence.dtype)[..., None]


class _Recurrence(torch.autograd.Function):
    """driven [L, B, 4n] (heads g, k, time_a, time_b from the input), elapsed [L, B, 1], weight [4n, n] -> states [L, B, n]."""

    @staticmethod
    def forward(ctx: Any, driven: Tensor, elapsed: Tensor, weight: Tensor) -> Tensor:
        length, batch, width = driven.shape
        n = width // 4
        heads = torch.empty_like(driven)  # g, k, time_a and, over time_b, the clock sigmoid(f)
        states = driven.new_zeros(length + 1, batch, n)
        from_state = weight.t()
        bounded, g, k, time_a, clock = (heads[:, :, i * n : j * n] for i, j in ((0, 2), (0, 1), (1, 2), (2, 3), (3, 4)))
        views = (driven, elapsed, heads, states[:-1], states[1:], bounded, g, k, time_a, clock)  # of each step, made at once
        for x, gap, head, state, new, both, g_t, k_t, a_t, clock_t in zip(*(v.unbind(0) for v in views), strict=True):
            torch.addmm(x, state, from_state, out=head)
            both.tanh_()
            torch.addcmul(clock_t, a_t, gap, out=clock_t)
            clock_t.sigmoid_()
            torch.lerp(g_t, k_t, clock_t, out=new)
        ctx.save_for_backward(heads, states, elapsed, weight)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        saved, states, elapsed, weight = ctx.saved_tensors
        length, batch, n = states[1:].shape
        g, k, time_a, clock = torch.split(saved, n, dim=2)
        d_f = (k - g) * clock * (1 - clock)
        heads = torch.stack([(1 - clock) * (1 - g * g), clock * (1 - k * k), d_f * elapsed, d_f], dim=2)  # [L, B, 4, n]
        d_driven = heads.view(length, batch, 4 * n)
        arriving = torch.zeros_like(states[0])
        for head, flat, here in zip(*(reversed(v.unbind(0)) for v in (heads, d_driven, grad)), strict=True):
            head *= (arriving + here)[:, None]
            arriving = flat @ weight
        d_elapsed = (heads[:, :, 3] * time_a).sum(dim=2, keepdim=True) if ctx.needs_input_grad[1] else None
        d_weight = d_driven.view(-1, 4 * n).t() @ states[:-1].reshape(-1, n)
        return d_driven, d_elapsed, d_weight


class CfC(nn.Module):
    """A CfC layer over a sequence."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.from_input = nn.Linear(inputs, 4 * width)
        self.from_state = nn.Linear(width, 4 * width, bias=False)

    def forward(self, x: Tensor, elapsed: Tensor) -> Tensor:
        """x [B, L, F], elapsed [B, L, 1] -> states [B, L, width]."""
        driven = self.from_input(x.transpose(0, 1))  # time first: each step is a contiguous block
        gaps = elapsed.transpose(0, 1).to(driven.dtype)
        if torch.compiler.is_exporting():
            return self._plain(driven, gaps).transpose(0, 1)
        states: Tensor = _Recurrence.apply(driven, gaps, self.from_state.weight)  # type: ignore[no-untyped-call]
        return states.transpose(0, 1)

    def _plain(self, driven: Tensor, gaps: Tensor) -> Tensor:
        """The same steps without a backward of their own and without writing in place: what a graph is exported from."""
        state = torch.zeros_like(driven[0, :, : self.width])
        found: list[Tensor] = []
        for step, gap in zip(driven.unbind(0), gaps.unbind(0), strict=True):
            g, k, time_a, time_b = (step + self.from_state(state)).chunk(4, dim=1)
            g, k = torch.tanh(g), torch.tanh(k)
            clock = torch.sigmoid(time_b + time_a * gap)
            state = g + clock * (k - g)
            found.append(state)
        return torch.stack(found)
