"""What a training of this very configuration on this very dataset will take, by a few real steps of it.

The steps are those of a training (data, model, adaTT's measurement, clipping, optimizer), in a run folder that is thrown away;
so are the fit of the linear map and the end of an epoch, both of the first rows only and scaled by all of them. What comes
after the last epoch is reckoned as while it trains (`remaining`).
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from ple_model.batch import PLEClusterInput
from ple_model.config import Config
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.device import memory_mb
from ple_model.fitted_start import CHUNK, MAX_ROWS, start_as_fitted, wants_fit
from ple_model.linear_start import READ
from ple_model.new_run import create_run
from ple_model.run import load_run
from ple_model.training.remaining import END
from ple_model.training.session import Options
from ple_model.training.trainer import Trainer

STEPS = 5
"""Of each kind that are timed; their median counts."""
MOST_SECONDS = 20.0
"""A kind is timed no longer than this, of however few steps; the fit of the map neither."""
FIT_ROWS = 2 * CHUNK
VALIDATION_ROWS = 2_048
"""Rows that the fit (whole chunks of what it reads) and the end of an epoch are timed on: the time of both grows with them."""


@dataclass(frozen=True)
class TrainingEstimate:
    """Seconds and memory of a whole training, without early stopping."""

    seconds: float
    rss_mb: float
    device_mem_mb: float | None
    parameters: int
    steps_per_epoch: int
    epochs: tuple[int, int]
    step_seconds: tuple[float, float]
    """A step of phase 1 (with its share of adaTT's measurement) and of phase 2."""
    timed: int
    """Steps that were taken for it."""


def estimate(
    dataset: Dataset, config: Config, *, preset: str = "custom", device: str = "auto", steps: int = STEPS,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingEstimate:  # fmt: skip
    """Take a few steps of each phase. `UserError` where a training would be refused."""
    with tempfile.TemporaryDirectory(prefix="ple-estimate-") as place, torch.random.fork_rng():
        folder = Path(place) / "run"
        create_run(dataset, folder, config, preset=preset, device=device)
        trainer = Trainer(load_run(folder), dataset, Options(device=device), None, None)
        try:
            return _timed(trainer, steps, clock)
        finally:
            trainer.log.close()


def _timed(trainer: Trainer, steps: int, clock: Callable[[], float]) -> TrainingEstimate:
    session, t = trainer.session, trainer.config.training
    batches, every, taken = endless(trainer), trainer.steps.measure_every, 0

    def pace(at: int) -> float:
        """Median seconds of steps at this place of an epoch."""
        nonlocal taken
        found: list[float] = []
        while len(found) < steps and (not found or sum(found) < MOST_SECONDS):
            trainer.position.step = at
            began = clock()
            trainer.steps.take(next(batches), trainer.log)
            if session.device.type == "cuda":
                torch.cuda.synchronize(session.device)
            found.append(clock() - began)
            taken += 1
        return statistics.median(found)

    fit = _fit(trainer, clock)
    trainer.model.train()
    plain = 1 if every > 1 else 0
    trainer.steps.take(next(batches), trainer.log)  # the first step of a process warms up
    one = pace(plain)
    if plain and trainer.config.adatt.enabled:
        one += (pace(0) - one) / every
    two = one
    if t.phase2_epochs:
        trainer.position.phase = 2
        trainer.steps.begin_phase()
        two = pace(plain)
    epochs = (min(t.phase1_epochs, t.max_epochs), min(t.phase2_epochs, max(t.max_epochs - t.phase1_epochs, 0)))
    aside = _aside(trainer, clock)
    resident, gpu = memory_mb(session.device)
    return TrainingEstimate(
        seconds=fit + session.steps * (one * epochs[0] + two * epochs[1]) + aside * (sum(epochs) + END),
        rss_mb=resident, device_mem_mb=gpu, parameters=session.run.manifest.parameters or 0, steps_per_epoch=session.steps,
        epochs=epochs, step_seconds=(one, two), timed=taken,
    )  # fmt: skip


class _First(Dataset):
    """The first rows of every pass over a dataset, in whole batches. What is read of it whatever is asked for, checksums and
    columns of keys, is read before anybody looks at the clock."""

    def __init__(self, whole: Dataset, split: str, rows: int) -> None:
        super().__init__(whole.path, whole.manifest, 1024, None)
        self._most, self._split, self._taken = rows, split, 0
        self._keys = super().table(["customer_id"], split) if whole.rows(split) else None

    def rows(self, split: str | None = None) -> int:
        found = super().rows(split)
        return min(found, self._most) if split == self._split else found

    def table(self, columns: Sequence[str] | None = None, split: str | None = None) -> pa.Table:
        known = self._keys is not None and split == self._split and columns is not None and [*columns] == ["customer_id"]
        return self._keys if known else super().table(columns, split)

    def batches(self, *given: Any, **named: Any) -> Iterator[Batch]:
        self._taken = 0
        for batch in super().batches(*given, **named):
            self._taken += len(batch)
            yield batch
            if self._taken >= self._most:
                return

    def scale(self, rows: int) -> float:
        """So many rows by those of the last pass."""
        return rows / max(self._taken, 1)


class _Enough(Exception):
    pass


def _fit(trainer: Trainer, clock: Callable[[], float]) -> float:
    """Seconds that the fit of the linear map takes: all rows are read, at most `MAX_ROWS` fitted."""
    if not wants_fit(trainer.model):
        return 0.0
    rows, total = _First(trainer.dataset, "train", FIT_ROWS), trainer.dataset.rows("train")
    began = read = clock()
    done = 0.0

    def tell(share: float, what: str) -> None:
        nonlocal read, done
        read, done = (clock() if not done else read), share
        if done and clock() - began > MOST_SECONDS:
            raise _Enough

    with contextlib.suppress(_Enough):
        start_as_fitted(trainer.model, rows, tell)
    fitted = (clock() - read) / max(done - READ, 1e-3) * (1 - READ)
    return (read - began) * rows.scale(total) + fitted * rows.scale(min(total, MAX_ROWS))


def _aside(trainer: Trainer, clock: Callable[[], float]) -> float:
    """Seconds of an epoch beside its steps."""
    rows = _First(trainer.dataset, "validation", VALIDATION_ROWS)
    began = clock()
    trainer.judge(rows)
    return (clock() - began) * rows.scale(trainer.dataset.rows("validation"))


def endless(trainer: Trainer) -> Iterator[PLEClusterInput]:
    """Training batches of full size, again and again: the last one of an epoch may be short."""
    s = trainer.session
    whole = max(s.steps - 1, 1)
    for epoch in chain.from_iterable(repeat((1, 2, 3))):
        batches = trainer.dataset.batches("train", s.batch_size, shuffle=True, seed=0, epoch=epoch, start=0)
        for number, batch in enumerate(batches):
            if number < whole:
                yield batch.inputs.to(s.device)
