"""`ple bench adatt`: what adaTT's measurement costs a step, and whether last layers stand for all shared parameters."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor, nn

from ple_model.adatt import AdaTT
from ple_model.batch import PLEClusterInput
from ple_model.bench.customers import context, customers
from ple_model.bench.measure import Row, Settings, Target, agree, interleave
from ple_model.bench.registry import Benchmark
from ple_model.bench.whole import train_step
from ple_model.config import load_config
from ple_model.model import PLEClusterAdaTT


def step(model: PLEClusterAdaTT, inputs: PLEClusterInput, *, measured: bool) -> dict[str, Tensor]:
    """Gradients of a training step, with or without adaTT's measurement before its backward pass."""
    model.zero_grad(set_to_none=True)
    losses = model.losses(model(inputs), inputs.targets or {}, epoch=1)
    if measured:
        model.adatt.measure(losses.raw, model.last_layer_parameters())
    (losses.total + losses.sae_total).backward()  # type: ignore[no-untyped-call]
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def cosines(model: PLEClusterAdaTT, *, batch: int, measurements: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Affinities [pairs] from the last layers and from every parameter of the shared experts, averaged over the same
    measurements, with `steps` training steps between two of them."""
    experts = [p for p in model.experts.parameters() if p.requires_grad]
    last = model.last_layer_parameters()
    narrow, wide = _meter(model, last), _meter(model, experts)
    for i in range(measurements):
        inputs = customers(batch, seed + i)
        model.eval()  # both from one graph; dropout would only add noise to both
        losses = model.losses(model(inputs), inputs.targets or {}, epoch=1)
        narrow.measure(losses.raw, last)
        wide.measure(losses.raw, experts)
        train = train_step(model.train(), inputs)
        for _ in range(steps):
            train()
    pairs = torch.triu_indices(len(model.task_names), len(model.task_names), 1)
    return narrow.affinity[pairs[0], pairs[1]], wide.affinity[pairs[0], pairs[1]]


def _meter(model: PLEClusterAdaTT, parameters: list[nn.Parameter]) -> AdaTT:
    return AdaTT(model.tasks, model.config.adatt, sum(p.numel() for p in parameters))


def run(settings: Settings) -> list[Row]:
    model = PLEClusterAdaTT(load_config("small" if settings.quick else "v3_14"), context())
    few = customers(settings.pick(32, 8), settings.seed)
    model.eval()
    found = [step(model, few, measured=m) for m in (False, True)]
    difference = agree("adatt: the step's gradients with and without a measurement", found[1], found[0], 0.0)

    batch = settings.pick(128, 8)
    inputs = customers(batch, settings.seed)
    model.train()
    times = interleave(
        {"ours": lambda: step(model, inputs, measured=True), "plain": lambda: step(model, inputs, measured=False)},
        settings.rounds,
    )
    every = model.config.adatt.grad_interval
    ratios = [(m + (every - 1)) / every for m in times.ratios("ours", "plain")]
    ratio, plain = statistics.median(ratios), times.median("plain")
    cost = Row(
        "adatt", f"step, one in {every} measured / plain step, batch {batch}", ratio, Target(1.05, at_least=False),
        (times.median("ours") + (every - 1) * plain) / every, plain, "ms", min(ratios), max(ratios), difference,
    )  # fmt: skip

    fresh = PLEClusterAdaTT(model.config, context())
    narrow, wide = cosines(
        fresh, batch=settings.pick(128, 8), measurements=settings.pick(5, 2), steps=settings.pick(3, 1), seed=settings.seed
    )
    correlation = float(torch.corrcoef(torch.stack([narrow, wide]))[0, 1])
    return [cost, Row("adatt", "correlation of last-layer with full-parameter cosines", correlation, Target(0.8))]


BENCHMARKS = (Benchmark("adatt", "cost of adaTT's measurement, and what its last layers see", run),)
