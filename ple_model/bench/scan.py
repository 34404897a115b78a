"""`ple bench scan`: the chunked scan against the recurrence step by step, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ple_model.bench import plain
from ple_model.bench.measure import Row, Settings, Target, agree, interleave
from ple_model.bench.registry import Benchmark
from ple_model.layers.selective_scan import sequential_scan, ssd_scan

LENGTH, WIDTH, STATE, HEADS, CHUNK = 180, 64, 16, 4, 20
TOLERANCE = 1e-4
"""Of results and gradients, in float32 on both sides."""


def problem(batch: int, length: int, seed: int) -> dict[str, Tensor]:
    """x [B, L, D], steps [B, L, heads] > 0, rates [heads] < 0, b and c [B, L, N]: random, all trained."""
    g = torch.Generator().manual_seed(seed)
    found = {
        "x": torch.randn(batch, length, WIDTH, generator=g),
        "steps": 0.02 + 0.5 * torch.rand(batch, length, HEADS, generator=g),
        "rates": -torch.linspace(1.0, 4.0, HEADS),
        "b": torch.randn(batch, length, STATE, generator=g),
        "c": torch.randn(batch, length, STATE, generator=g),
    }
    return {k: v.requires_grad_() for k, v in found.items()}


def chunked(p: dict[str, Tensor]) -> Tensor:
    x = p["x"].view(*p["x"].shape[:2], HEADS, -1) * p["steps"][..., None]
    return ssd_scan(x, p["steps"] * p["rates"], p["b"], p["c"], CHUNK).flatten(2)


def by_head(p: dict[str, Tensor]) -> Tensor:
    x = p["x"].view(*p["x"].shape[:2], HEADS, -1) * p["steps"][..., None]
    return sequential_scan(x, p["steps"] * p["rates"], p["b"], p["c"]).flatten(2)


def by_channel(p: dict[str, Tensor]) -> Tensor:
    channels = WIDTH // HEADS
    rates = p["rates"].repeat_interleave(channels)[:, None].expand(-1, STATE)
    return plain.scan(p["x"], p["steps"].repeat_interleave(channels, dim=2), rates, p["b"], p["c"])


def step(form: Callable[[dict[str, Tensor]], Tensor], p: dict[str, Tensor]) -> dict[str, Tensor]:
    """Result and gradients of a weighted sum."""
    y = form(p)
    weight = torch.linspace(-1.0, 1.0, y.shape[2])
    gradients = torch.autograd.grad((y * weight).sum(), list(p.values()))
    return {"y": y, **{f"gradient of {k}": g for k, g in zip(p, gradients, strict=True)}}


def run(settings: Settings) -> list[Row]:
    batch, length = settings.pick(512, 4), settings.pick(LENGTH, 40)
    small = problem(min(batch, 16), length, settings.seed)
    ours = step(chunked, small)
    difference = max(agree("scan", ours, step(form, small), TOLERANCE) for form in (by_channel, by_head))
    p = problem(batch, length, settings.seed)
    times = interleave(
        {
            "ours": lambda: step(chunked, p),
            "plain": lambda: step(by_channel, p),
            "by head": lambda: step(by_head, p),
        },
        settings.rounds,
    )
    shape = f"[{batch}, {length}, {WIDTH}], state {STATE}, forward + backward"
    return [
        times.speedup("scan", f"{shape}: loop, decays by channel", target=Target(12), difference=difference),
        times.speedup("scan", f"{shape}: loop, decays by head", "by head", difference=difference),
    ]


BENCHMARKS = (Benchmark("scan", "selective scan: chunks against one step after another", run),)
