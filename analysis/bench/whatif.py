"""`ple bench whatif`: one intervention from cached experts against a full forward pass."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor

from analysis.engine.effects import Engine
from analysis.engine.encoded import rows_alone
from ple_model.batch import PLEClusterInput
from ple_model.bench.customers import context, customers
from ple_model.bench.measure import Row, Settings, Target, agree, interleave
from ple_model.bench.registry import Benchmark
from ple_model.config import load_config
from ple_model.intervention import Intervention
from ple_model.model import PLEClusterAdaTT

CHANGE = ("ablate.temporal=mean",)
BATCH = 512


@torch.no_grad()
def encode(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> Engine:
    """An engine over these customers."""
    encoded = rows_alone(model.encode(inputs), slice(None))
    return Engine(model, encoded, dict(inputs.targets or {}), [f"{i}" for i in range(len(inputs))], {})


@torch.no_grad()
def full(model: PLEClusterAdaTT, inputs: PLEClusterInput, change: Intervention) -> dict[str, Tensor]:
    """Predictions under the intervention the plain way: everything again."""
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(inputs), BATCH):
        for task, value in model(inputs.rows(slice(start, start + BATCH)), change).predictions.items():
            found.setdefault(task, []).append(value)
    return {t: torch.cat(v) for t, v in found.items()}


def cached(engine: Engine, change: Intervention) -> dict[str, Tensor]:
    """The same from what the experts said once."""
    found: dict[str, list[Tensor]] = {}
    for output in engine.decode(change):
        for task, value in output.predictions.items():
            found.setdefault(task, []).append(value)
    return {t: torch.cat(v) for t, v in found.items()}


def run(settings: Settings) -> list[Row]:
    n, many = settings.pick(1024, 120), settings.pick(10_000, 240)
    model = PLEClusterAdaTT(load_config("small" if settings.quick else "v3_14"), context()).eval()
    inputs = customers(n, settings.seed)
    engine = encode(model, inputs)
    change = engine.parse(CHANGE)
    difference = agree("whatif", cached(engine, change), full(model, inputs, change), 1e-4)
    times = interleave({"ours": lambda: cached(engine, change), "plain": lambda: full(model, inputs, change)}, settings.rounds)
    rows = [times.speedup("whatif", f"one intervention, {n} customers", target=Target(40), difference=difference)]

    index = torch.arange(many) % n
    targets = {t: v[index] for t, v in engine.targets.items()}
    crowd = Engine(model, engine.encoded.rows(index), targets, [f"{i}" for i in range(many)], {})
    crowd.whatif(CHANGE, bootstrap=200)  # the first answer also computes what was before
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        crowd.whatif(CHANGE, bootstrap=200)
        seconds.append(time.perf_counter() - began)
    value = statistics.median(seconds)
    target = Target(1.0, at_least=False)
    rows.append(Row("whatif", f"whole answer with intervals, {many} customers, seconds", value, target, value, unit="s"))
    return rows


BENCHMARKS = (Benchmark("whatif", "one intervention from cached experts against a full forward pass", run),)
