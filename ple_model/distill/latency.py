"""How large a run's model is and how long it takes to answer, beside others on the same machine at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from ple_model.batch import PLEClusterInput
from ple_model.bench.measure import MIN_ROUNDS, interleave
from ple_model.data.dataset.reader import Dataset
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run

BATCHES = (1, 1024)
"""One customer at a counter, and a part of a nightly scoring."""
ROUNDS = 15
"""Of a single customer; a large batch takes its time, and `MIN_ROUNDS` of it say as much."""


@dataclass(frozen=True)
class ModelSize:
    """Parameters, and bytes of `model.safetensors`; of the parameters those that answering needs, without the onlookers."""

    parameters: int
    serving: int
    bytes: int


def size_of(run: Run, model: PLEClusterAdaTT) -> ModelSize:
    onlookers = sum(p.numel() for m in (model.sae, model.evidential) if m is not None for p in m.parameters())
    total = sum(p.numel() for p in model.parameters())
    return ModelSize(total, total - onlookers, (run.path / "model.safetensors").stat().st_size)


@torch.inference_mode()
def latencies(models: Mapping[str, PLEClusterAdaTT], dataset: Dataset, split: str) -> dict[str, dict[int, float]]:
    """{name: {rows of a batch: median milliseconds of one answer}}, the models in turn. A split of fewer rows
    is repeated: what a batch costs does not depend on who is in it."""
    rows = dataset.load(split, max(BATCHES)).inputs
    found: dict[str, dict[int, float]] = {name: {} for name in models}
    for size in BATCHES:
        batch = rows.rows(torch.arange(size) % len(rows))
        timing = interleave({name: _answer(m, batch) for name, m in models.items()}, ROUNDS if size == 1 else MIN_ROUNDS)
        for name in models:
            found[name][size] = timing.median(name)
    return found


def _answer(model: PLEClusterAdaTT, batch: PLEClusterInput) -> Callable[[], object]:
    there = batch.to(next(model.parameters()).device)
    return partial(_forward, model, there)


def _forward(model: PLEClusterAdaTT, batch: PLEClusterInput) -> float:
    """Until the answer is on the CPU: a GPU has otherwise only been asked."""
    output = model.decode(model.encode(batch), sae=False, evidential=False)
    return float(next(iter(output.predictions.values())).flatten()[0].cpu())
