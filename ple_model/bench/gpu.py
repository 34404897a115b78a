"""`ple bench gpu`: training steps of the reference's whole model on a GPU, at a large batch and in mixed precision.

Beside the samples a second stands the floor that memory sets: what a step must write and read again, the tensors that it saves
for its backward pass, at the rate at which this device copies. A step that takes little more than that is bound by memory; one
that takes many times it waits for something else (launches, the program, small kernels).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ple_model.batch import PLEClusterInput
from ple_model.bench.customers import context, customers
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.config import load_config
from ple_model.device import Precision
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT

BATCH, QUICK_BATCH = 16_384, 32
SAMPLES, FLOORS = 150_000.0, 3.0
COPIED = 1 << 28
"""Bytes of the copy that tells the device's rate."""


def training_step(model: PLEClusterAdaTT, inputs: PLEClusterInput, precision: Precision) -> Callable[[], None]:
    """A step as a training takes it: autocast, loss scaling, clipping, fused AdamW; nothing is read back."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    scaler = precision.scaler()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast():
            losses = model.losses(model(inputs), inputs.targets or {}, epoch=1)
        scaler.scale(losses.total + losses.sae_total).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        for _, parameters, limit in model.clip_groups():
            torch.nn.utils.clip_grad_norm_(parameters, limit)
        scaler.step(optimizer)
        scaler.update()
        model.project()

    return step


def saved_bytes(model: PLEClusterAdaTT, inputs: PLEClusterInput, precision: Precision) -> int:
    """Bytes that a forward pass keeps for its backward pass, each storage once, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), precision.autocast():
        losses = model.losses(model(inputs), inputs.targets or {}, epoch=1)
        total = losses.total + losses.sae_total
    del total, losses
    return sum(kept.values())


def copy_rate(device: torch.device, size: int = COPIED) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    source = torch.zeros(size // 4, device=device)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), device, 5)
    return 2 * size / statistics.median(seconds)


def timed(work: Callable[[], object], device: torch.device, rounds: int) -> list[float]:
    """Seconds of each of `rounds` rounds, after one to warm up; the device has done all of it."""
    out = []
    for i in range(rounds + 1):
        _settle(device)
        start = time.perf_counter()
        work()
        _settle(device)
        if i:
            out.append(time.perf_counter() - start)
    return out


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(device: torch.device, amp: str, batch: int, rounds: int, preset: str = "v3_14") -> list[Row]:
    precision = Precision(device, amp)  # type: ignore[arg-type]
    model = PLEClusterAdaTT(load_config(preset), context()).to(device).train()
    inputs = customers(batch, 0).to(device)
    held = saved_bytes(model, inputs, precision)
    seconds = timed(training_step(model, inputs, precision), device, rounds)
    rates = [batch / s for s in seconds]
    floor = 2 * held / copy_rate(device)
    multiples = [s / floor for s in seconds]
    what = f"{preset}, batch {batch:,}, {amp}"
    return [
        Row("gpu", f"{what}: samples a second", statistics.median(rates), Target(SAMPLES), statistics.median(rates),
            unit="", low=min(rates), high=max(rates)),
        Row("gpu", f"{what}: step over the floor of {2 * held / 1e9:.1f} GB written and read",
            statistics.median(multiples), Target(FLOORS, at_least=False), 1000 * statistics.median(seconds), 1000 * floor,
            low=min(multiples), high=max(multiples)),
    ]  # fmt: skip


def run(settings: Settings) -> list[Row]:
    if not torch.cuda.is_available():
        raise UserError("ple bench gpu needs a GPU, and this machine has none that torch can use")
    return measure(torch.device("cuda"), "fp16", settings.pick(BATCH, QUICK_BATCH), settings.rounds)


BENCHMARKS = (Benchmark("gpu", "a training step of v3_14 on a GPU, batch 16,384, mixed precision", run, True),)
