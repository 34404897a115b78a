"""Selective state-space scan in the form of Mamba-2 (SSD: Dao and Gu, ICML 2024): one scalar decay a head and step.

    S_t = exp(dt_t * a) S_{t-1} + dt_t B_t x_t^T,   y_t = C_t S_t

`ssd_scan` computes it in chunks as matrix products; `sequential_scan` is the plain recurrence, the reference of the tests
(any dtype). Differences of cumulative log decays would cancel under strong decay, so each within-chunk sum of log decays is
formed directly, as a product with a constant 0/1 matrix: every exponent is a sum of non-positive numbers, so nothing
overflows, forward or backward.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from ple_model.layers.precision import full_precision, widen


def _segments(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[n, n * n] 0/1: column (i, j) sums the log decays of steps j < k <= i. Kept per device: no copy a forward; a tensor of a
    graph that is being exported is no real one and is not kept."""
    return _made_segments(n, device, dtype) if torch.compiler.is_exporting() else _kept_segments(n, device, dtype)


def _made_segments(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    steps = torch.arange(n, device=device)
    k, i, j = torch.meshgrid(steps, steps, steps, indexing="ij")
    return ((j < k) & (k <= i)).reshape(n, n * n).to(dtype)


@cache
def _kept_segments(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # a tensor born in inference mode could not be used in training later
        return _made_segments(n, device, dtype)


def sequential_scan(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The recurrence, step by step. x [B, L, H, P] (already times dt), log_decay [B, L, H] <= 0, b, c [B, L, N] -> [B, L, H,
    P]."""
    state = x.new_zeros(x.shape[0], x.shape[2], b.shape[2], x.shape[3])
    out: list[Tensor] = []
    for t in range(x.shape[1]):
        grown = b[:, t, None, :, None] * x[:, t, :, None, :]
        state = state * log_decay[:, t].exp()[..., None, None] + grown
        out.append(torch.einsum("bn,bhnp->bhp", c[:, t], state))
    return torch.stack(out, dim=1)


def ssd_scan(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, chunk: int = 20) -> Tensor:
    """The same [B, L, H, P] in chunks: exact within a chunk by a masked matrix product, between chunks through their end
    states."""
    batch, length, heads, p = x.shape
    n = b.shape[2]
    pad = -length % chunk
    if pad:  # steps after the end change nothing before them
        x, log_decay = functional.pad(x, (0, 0, 0, 0, 0, pad)), functional.pad(log_decay, (0, 0, 0, pad))
        b, c = functional.pad(b, (0, 0, 0, pad)), functional.pad(c, (0, 0, 0, pad))
    chunks = (length + pad) // chunk
    x = x.reshape(batch, chunks, chunk, heads * p)
    b = b.reshape(batch, chunks, chunk, n)
    c = c.reshape(batch, chunks, chunk, n)
    log_decay = log_decay.reshape(batch, chunks, chunk, heads).transpose(2, 3)  # [B, C, H, Q]

    pairs = _segments(chunk, x.device, x.dtype)
    decay = (log_decay @ pairs).exp().view(batch, chunks, heads, chunk, chunk)
    similarity = (c @ b.transpose(2, 3)).tril()  # [B, C, Q, Q]: only earlier steps are heard
    by_head = x.view(batch, chunks, chunk, heads, p).transpose(2, 3)
    within = (similarity[:, :, None] * decay) @ by_head  # [B, C, H, Q, P]

    # the last row of `decay`, formed anew: the backward of a slice would fill and add a tensor of the whole size
    last = pairs.view(chunk, chunk, chunk)[:, -1]
    to_end = (log_decay @ last).exp().transpose(2, 3)[..., None]  # [B, C, Q, H, 1]
    kept = (x.view(batch, chunks, chunk, heads, p) * to_end).view(batch, chunks, chunk, heads * p)
    states = b.transpose(2, 3) @ kept  # [B, C, N, HP]: what each chunk adds
    from_start = log_decay.cumsum(dim=3).exp()  # [B, C, H, Q]
    total = from_start[..., -1]  # [B, C, H]
    carried: list[Tensor] = []
    state = torch.zeros_like(states[:, 0])
    whole = total.repeat_interleave(p, dim=2)[:, :, None].unbind(dim=1)
    for added, fade in zip(states.unbind(dim=1), whole, strict=True):
        carried.append(state)
        state = state * fade + added
    before = (c @ torch.stack(carried, dim=1)).view(batch, chunks, chunk, heads, p)
    y = within.transpose(2, 3) + before * from_start.transpose(2, 3)[..., None]
    return y.reshape(batch, chunks * chunk, heads, p)[:, :length]


class Mamba2Block(nn.Module):
    """Pre-norm residual Mamba-2 block: causal depthwise convolution, selective scan, gated normalisation."""

    def __init__(self, width: int, state: int, heads: int, kernel: int, chunk: int) -> None:
        super().__init__()
        self.heads, self.state, self.width, self.chunk, self.kernel = heads, state, width, chunk, kernel
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 2 * width + 2 * state + heads)
        mixed = width + 2 * state
        self.taps = nn.Parameter(torch.randn(kernel, mixed) * kernel**-0.5)
        # decays from slow (about 1 step in 32 forgotten) to fast, so that heads start with different memories
        self.log_a = nn.Parameter(torch.linspace(0.0, 1.5, heads))
        self.dt_bias = nn.Parameter(torch.linspace(-3.5, -0.5, heads))
        self.skip = nn.Parameter(torch.ones(heads))
        self.gated_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)

    def _convolve(self, u: Tensor) -> Tensor:
        """Causal depthwise convolution over time, [B, L, D] -> [B, L, D]."""
        # [B, L, D] seen as [B, D, 1, L] is already in channels-last layout: the 2-D kernel runs without a copy, 4 times faster
        images = u.transpose(1, 2)[:, :, None]
        padding = (0, self.kernel - 1)
        out = functional.conv2d(images, self.taps.t()[:, None, None], padding=padding, groups=u.shape[2])
        return out[:, :, 0, : u.shape[1]].transpose(1, 2)

    def forward(self, u: Tensor) -> Tensor:
        """[B, L, width] -> [B, L, width]; step t depends on steps up to t."""
        z, mixed, dt = torch.split(self.project(self.norm(u)), [self.width, self.width + 2 * self.state, self.heads], dim=2)
        with full_precision(u):
            x, b, c = torch.split(functional.silu(self._convolve(widen(mixed))), [self.width, self.state, self.state], dim=2)
            dt = functional.softplus(widen(dt) + self.dt_bias)
            x = x.reshape(*x.shape[:2], self.heads, -1)
            y = ssd_scan(x * dt[..., None], -dt * self.log_a.exp(), b, c, self.chunk)
            y = (y + x * self.skip[:, None]).flatten(2)
        out: Tensor = u + self.out(self.gated_norm(y * functional.silu(widen(z))))
        return out
