"""The chunked scan against the recurrence in float64, and the Mamba-2 block's causality."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ple_model.layers.selective_scan import Mamba2Block, sequential_scan, ssd_scan


def problem(length: int, strength: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, log decay, b, c in float64; `strength` is the mean log decay a step."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(3, length, 2, 5, generator=g, dtype=torch.float64)
    log_decay = -strength * 2 * torch.rand(3, length, 2, generator=g, dtype=torch.float64)
    b = torch.randn(3, length, 4, generator=g, dtype=torch.float64)
    c = torch.randn(3, length, 4, generator=g, dtype=torch.float64)
    return x, log_decay, b, c


def relative_error(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("strength", [0.001, 0.1, 2.0, 50.0])
@pytest.mark.parametrize(("length", "chunk"), [(180, 20), (90, 20), (47, 15), (5, 20), (1, 1)])
def test_chunked_scan_in_float32_agrees_with_the_float64_recurrence(length: int, chunk: int, strength: float) -> None:
    exact = problem(length, strength)
    fast = ssd_scan(*(t.float() for t in exact), chunk=chunk)
    assert fast.shape == exact[0].shape
    assert relative_error(fast, sequential_scan(*exact)) < 1e-5


def test_chunked_scan_agrees_when_strong_and_weak_decay_alternate() -> None:
    """A cumulative sum of log decays would cancel here: -2000 a step beside -0.001."""
    x, log_decay, b, c = problem(120, 1.0)
    log_decay = torch.where(torch.arange(120)[None, :, None] % 3 == 0, -2000.0, -1e-3).double().expand_as(log_decay)
    fast = ssd_scan(*(t.float() for t in (x, log_decay, b, c)), chunk=20)
    assert relative_error(fast, sequential_scan(x, log_decay, b, c)) < 1e-5


@pytest.mark.parametrize("strength", [0.01, 1.0, 500.0])
def test_gradients_agree_with_the_recurrence_and_stay_finite_under_strong_decay(strength: float) -> None:
    exact = [t.requires_grad_() for t in problem(60, strength)]
    weights = torch.randn(exact[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    wanted = torch.autograd.grad((sequential_scan(*exact) * weights).sum(), exact)
    single = [t.detach().float().requires_grad_() for t in exact]
    got = torch.autograd.grad((ssd_scan(*single) * weights.float()).sum(), single)
    for name, a, b in zip(("x", "log_decay", "b", "c"), got, wanted, strict=True):
        assert torch.isfinite(a).all(), name
        assert relative_error(a, b) < 1e-5 or float(b.abs().max()) < 1e-12, name


def test_block_is_causal() -> None:
    torch.manual_seed(0)
    block = Mamba2Block(width=8, state=4, heads=2, kernel=4, chunk=6)
    u = torch.randn(2, 20, 8)
    later = u.clone()
    later[:, 13:] += 1.0
    before, after = block(u), block(later)
    torch.testing.assert_close(after[:, :13], before[:, :13])
    assert (after[:, 13:] - before[:, 13:]).abs().amax(dim=(0, 2)).min() > 1e-3


def test_block_agrees_with_itself_written_as_a_loop() -> None:
    """Convolution tap by tap, the plain recurrence, in float64."""
    torch.manual_seed(0)
    block = Mamba2Block(width=8, state=3, heads=2, kernel=4, chunk=6).double()
    u = torch.randn(2, 15, 8, dtype=torch.float64)
    z, mixed, dt = torch.split(block.project(block.norm(u)), [8, 14, 2], dim=2)
    convolved = torch.zeros_like(mixed)
    for t in range(15):
        for lag in range(4):
            if t >= lag:
                convolved[:, t] += mixed[:, t - lag] * block.taps[3 - lag]
    x, b, c = torch.split(torch.nn.functional.silu(convolved), [8, 3, 3], dim=2)
    dt = torch.nn.functional.softplus(dt + block.dt_bias)
    x = x.reshape(2, 15, 2, 4)
    y = sequential_scan(x * dt[..., None], -dt * block.log_a.exp(), b, c) + x * block.skip[:, None]
    wanted = u + block.out(block.gated_norm(y.flatten(2) * torch.nn.functional.silu(z)))
    torch.testing.assert_close(block(u), wanted)


def test_a_sequence_shorter_than_the_convolution_works() -> None:
    block = Mamba2Block(width=8, state=4, heads=2, kernel=4, chunk=6)
    assert torch.isfinite(block(torch.randn(2, 2, 8))).all()
