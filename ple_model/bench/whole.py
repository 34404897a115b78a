"""`ple bench train-step` and `ple bench forward`: the whole model against its plain form.

Two references: the plain form of the same mathematics (one decay a head, patches of six days), and the plain form that a
reader of the reference would write first, whose Transformer reads one token a day. The second is checked against our model
with patches of one day, the same mathematics.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.bench.customers import customers
from ple_model.bench.head import pair
from ple_model.bench.measure import Row, Settings, Target, agree, interleave
from ple_model.bench.plain import PlainModel, results
from ple_model.bench.registry import Benchmark
from ple_model.config import load_config
from ple_model.model import PLEClusterAdaTT

TOLERANCE = 1e-3
"""Of predictions and other results, both sides in float32 through the whole model."""
GRADIENT_TOLERANCE = 1e-2
DAILY = ("shared_experts.temporal.patch=1",)


def models(settings: Settings) -> tuple[PLEClusterAdaTT, PlainModel, PlainModel, float]:
    """Ours, its plain form, the plain form with one token a day, and the largest difference found between forms."""
    preset = "small" if settings.quick else "v3_14"
    inputs = customers(settings.pick(16, 6), settings.seed)
    ours, same = pair(load_config(preset))
    fast_daily, daily = pair(load_config(preset, overrides=DAILY))
    difference = max(check(a, b, inputs) for a, b in ((ours, same), (fast_daily, daily)))
    return ours, same, daily, difference


def check(ours: PLEClusterAdaTT, plain: PlainModel, inputs: PLEClusterInput) -> float:
    """Results and gradients of one batch without dropout; `Disagreement` if they differ."""
    found = []
    for model in (ours.eval(), plain.eval()):
        model.zero_grad(set_to_none=True)
        output = model(inputs)
        losses = model.losses(output, inputs.targets or {}, epoch=1)
        losses.total.backward()  # type: ignore[no-untyped-call]
        gradients = {n: p.grad.norm() for n, p in model.named_parameters() if p.grad is not None}
        found.append((results(output), {"total": losses.total, **{f"gradient of {n}": g for n, g in gradients.items()}}))
    agree("model", found[0][1], found[1][1], GRADIENT_TOLERANCE)
    return agree("model", found[0][0], found[1][0], TOLERANCE)


def train_step(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> Callable[[], Tensor]:
    """A function that trains one step: forward, losses, backward, clipping, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        losses = model.losses(model(inputs), inputs.targets or {}, epoch=1)
        (losses.total + losses.sae_total).backward()  # type: ignore[no-untyped-call]
        for _, parameters, limit in model.clip_groups():
            torch.nn.utils.clip_grad_norm_(parameters, limit)
        optimizer.step()
        model.project()
        return losses.total.detach()

    return step


def run_train(settings: Settings) -> list[Row]:
    batch = settings.pick(64, 8)
    ours, same, daily, difference = models(settings)
    inputs = customers(batch, settings.seed)
    forms = {"ours": ours, "plain": same, "daily": daily}
    times = interleave({n: train_step(m.train(), inputs) for n, m in forms.items()}, settings.rounds)
    what = f"batch {batch}, float32"
    return [
        times.speedup("train-step", f"{what}: same mathematics", target=Target(2.5), difference=difference),
        times.speedup("train-step", f"{what}: one token a day", "daily", target=Target(4), difference=difference),
    ]


def run_forward(settings: Settings) -> list[Row]:
    batch = settings.pick(128, 8)
    ours, same, daily, difference = models(settings)
    inputs = customers(batch, settings.seed)

    def forward(model: PLEClusterAdaTT) -> Callable[[], object]:
        def once() -> object:
            with torch.no_grad():
                return model(inputs)

        return once

    forms = {"ours": ours, "plain": same, "daily": daily}
    times = interleave({n: forward(m.eval()) for n, m in forms.items()}, settings.rounds)
    what = f"batch {batch}, float32"
    return [
        times.speedup("forward", f"{what}: same mathematics", target=Target(1.8), difference=difference),
        times.speedup("forward", f"{what}: one token a day", "daily", target=Target(2.3), difference=difference),
    ]


BENCHMARKS = (
    Benchmark("train-step", "a training step of the whole model against its plain form", run_train),
    Benchmark("forward", "a forward pass of the whole model against its plain form", run_forward),
)
