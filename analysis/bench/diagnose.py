"""`ple bench diagnose`: the diagnose pass against a bare forward pass over the same rows, and the size of its state."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from analysis.record import BATCH, FOLDED, record
from analysis.stats.base import pack
from analysis.store import AnalysisStore
from ple_model.bench.customers import context, customers
from ple_model.bench.measure import Row, Settings, Target, agree
from ple_model.bench.registry import Benchmark
from ple_model.config import load_config
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run

FIRST = FOLDED * BATCH
"""Rows that are read and recorded at once."""
PASS_SHARE = 0.85
"""Share of `record`'s progress at which the pass is over and the interventions begin."""


class _Over(Exception):
    """The pass has ended."""


def make(folder: Path, settings: Settings, rows: int) -> tuple[Run, Dataset]:
    """A run of one short epoch and a dataset of `rows` rows that it did not see."""
    from ple_model.train import train  # late: the training

    over = ("training.phase1_epochs=1", "training.phase2_epochs=0", "training.batch_size=32")
    config = load_config("small" if settings.quick else "v3_14", overrides=over)
    parts = []
    for i, (split, n) in enumerate((("train", 64), ("validation", 64), ("test", rows))):
        ids = [f"{split} {k}" for k in range(n)]
        parts.append(Batch(customers(n, settings.seed + i), ids, ["2025-01-01"] * n, [split] * n))
    dataset = write_dataset(folder / "data", parts, context=context(), name="bench")
    run = train(dataset, folder / "run", config, preset="small" if settings.quick else "v3_14", device="cpu")
    return run, dataset.extract(folder / "rows", customers=parts[2].customer_id)


def passed(run: Run, data: Dataset) -> float:
    """Milliseconds of the pass of `record` over all rows but the first `FIRST` (before which it opens the run)."""
    ticks: list[float] = []

    def tick(share: float, _what: str) -> None:
        ticks.append(time.perf_counter())
        if share >= PASS_SHARE - 1e-9:
            raise _Over

    with contextlib.suppress(_Over):
        record(run, data, progress=tick, force=True)
    return 1000 * (ticks[-1] - ticks[0])


@torch.no_grad()
def bare(model: PLEClusterAdaTT, data: Dataset, see: Callable[[dict[str, Tensor]], None] | None = None) -> float:
    """Milliseconds of the forward pass over the same rows, read in the same way."""
    ticks: list[float] = []
    for read in data.streamed().batches(None, FIRST, window_rows=FIRST):
        for first in range(0, len(read), BATCH):
            output = model(read.inputs.rows(slice(first, first + BATCH)))
            if see is not None:
                see(dict(output.predictions))
        ticks.append(time.perf_counter())
    return 1000 * (ticks[-1] - ticks[0])


def check(run: Run, model: PLEClusterAdaTT, data: Dataset) -> tuple[float, AnalysisStore]:
    """What the pass stored equals what the bare forward pass says; the store of the pass."""
    store = record(run, data, force=True)
    seen: list[dict[str, Tensor]] = []
    bare(model, data, seen.append)
    multiclass = [t for t, s in model.tasks.items() if s.kind == "multiclass"]
    plain = {t: torch.cat([s[t].max(dim=1).values for s in seen]) for t in multiclass}
    plain |= {
        t: torch.from_numpy(np.asarray(run.calibration[t](torch.cat([s[t] for s in seen]).double().numpy())))
        for t in run.calibration
    }
    table = pq.read_table(store.path / "rows.parquet", columns=[f"p:{t}" for t in plain])
    ours = {t: torch.from_numpy(table.column(f"p:{t}").to_numpy().copy()) for t in plain}
    return agree("diagnose", ours, plain, 1e-4), store


def run(settings: Settings) -> list[Row]:
    rows = settings.pick(3, 2) * FIRST
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        found, data = make(Path(folder), settings, rows)
        model = found.model()
        difference, store = check(found, model, data)
        _, arrays = pack(store.statistics)
        megabytes = sum(a.nbytes for a in arrays.values()) / 1e6
        ours: list[float] = []
        plain: list[float] = []
        for i in range(settings.rounds):
            for measured in (True, False) if i % 2 == 0 else (False, True):
                (ours if measured else plain).append(passed(found, data) if measured else bare(model, data))
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    small = Target(1.05, at_least=False)
    return [
        Row("diagnose", f"pass / bare forward, {rows - FIRST} rows", statistics.median(ratios), small, statistics.median(ours),
            statistics.median(plain), "ms", min(ratios), max(ratios), difference),
        Row("diagnose", "state of the statistics, MB", megabytes, Target(5, at_least=False), megabytes, unit="MB"),
    ]  # fmt: skip


BENCHMARKS = (Benchmark("diagnose", "the diagnose pass against a bare forward pass", run),)
