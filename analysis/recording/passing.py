"""One pass of a run's model over rows that follow each other in a dataset: what adds up, what is kept of them, and their file.

Each batch is folded into mergeable statistics and written to Parquet; beside them only the bounded samples are held, so memory
does not grow with the rows. What two passes found of neighbouring rows is joined by `Passed.follow`, in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.engine.encoded import joined, recorded_alone
from analysis.judging import Judge
from analysis.recording.batches import finite_rows
from analysis.recording.columns import RowColumns
from analysis.recording.opened import Opened
from analysis.recording.rows_file import RowsFile
from analysis.recording.samples import ComparedSample, Drawn, EffectSample, VectorSample, places
from analysis.recording.statistics import batch_statistics
from analysis.relabelled import Agreements
from analysis.stats.run import Statistics
from analysis.written import Said
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput

BATCH = 512
"""Rows of a forward pass."""
FOLDED = 4
"""Batches that are recorded together: of one alone most of the time goes into the calls."""


@dataclass
class Passed:
    """What was found of some rows; begin with `nothing`."""

    vectors: VectorSample
    effects: EffectSample
    compared: ComparedSample
    agreements: Agreements
    added: Statistics | None = None
    """The sum over all batches."""
    infinite: dict[str, float] = field(default_factory=dict)
    """Rows by human-readable column that hold an infinite number."""
    said: Said | None = None
    """What the model says of the first rows of the run's own sample."""

    @staticmethod
    def nothing(opened: Opened) -> Passed:
        kinds = opened.facts.kinds
        return Passed(VectorSample(), EffectSample(), ComparedSample(opened.names), Agreements(kinds, opened.judged))

    def follow(self, later: Passed) -> None:
        """What was found of the rows that come next."""
        self.vectors.follow(later.vectors.arrays())
        self.effects.follow(later.effects.rows())
        self.compared.follow(later.compared)
        for task, part in later.agreements.found.items():
            self.agreements.join(task, part)
        self.add(later.added)
        for name, n in later.infinite.items():
            self.infinite[name] = self.infinite.get(name, 0.0) + n

    def add(self, part: Statistics | None) -> None:
        """More of the sum."""
        if part is not None:
            self.added = part if self.added is None else self.added + part

    def keep(self, drawn: Drawn, rows: NDArray[np.int64], batch: Batch, output: PLEClusterOutput) -> None:
        """What the samples want of a batch; of vectors and interventions only rows whose numbers are all finite."""
        whole = finite_rows(output)
        if len(local := _of(places(rows, drawn.vectors), whole)):
            self.vectors.add(local, rows, output)
        if len(local := _of(places(rows, drawn.effects), whole)):
            self.effects.add(local, rows, batch, output)
        if len(local := places(rows, drawn.compared)):
            self.compared.add(local, rows, batch)


def _of(local: NDArray[np.int64], whole: NDArray[np.bool_]) -> NDArray[np.int64]:
    return local[whole[local]]


@torch.no_grad()
def pass_over(opened: Opened, judge: Judge, drawn: Drawn, path: Path, told: Callable[[int], None]) -> Passed:
    """The rows of `drawn`, measured and written to `path` (no file where there are none); `told` hears how many are done.
    Begins at a multiple of `BATCH`."""
    days = opened.days
    columns = RowColumns(opened.model, opened.calibration, judge, None if isinstance(days, str) else days)
    found = Passed.nothing(opened)
    done = 0
    with RowsFile.written(path, opened.data) as file:
        for rows, batch in _batches(opened.data, drawn):
            first, output = _asked(opened.model, rows, batch)
            found.add(batch_statistics(opened, batch, output))
            file.add(columns.of(rows, batch, output), rows, batch.customer_id)
            found.keep(drawn, rows, batch, output)
            found.agreements.add(batch, output)
            if done == 0 and rows[len(first.inputs) - 1] == len(first.inputs) - 1 and opened.own:
                found.said = first
            done += len(batch)
            told(done)
    found.infinite = dict(file.infinite)
    return found


def _asked(model: PLEClusterAdaTT, rows: NDArray[np.int64], batch: Batch) -> tuple[Said, PLEClusterOutput]:
    """(what the model says of the first batch, what is recorded of all); `batch` is of `FOLDED`."""
    ends = [*(np.flatnonzero(np.diff(rows // BATCH)) + 1).tolist(), len(rows)]
    first: Said | None = None
    outputs = []
    for begin, end in pairwise((0, *ends)):
        inputs = batch.inputs if end - begin == len(rows) else batch.inputs.rows(slice(begin, end))
        output = model(inputs)
        first = first or Said(inputs, output)
        outputs.append(recorded_alone(output))
    assert first is not None
    return first, joined(outputs)


def _batches(data: Dataset, drawn: Drawn) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """(row numbers in the dataset, `FOLDED` batches of the chosen rows as one), in file order."""
    size = FOLDED * BATCH
    start, count = drawn.first // size, -(-drawn.last // size) - drawn.first // size
    read = data.streamed().batches(None, size, window_rows=size, start=start)  # nothing to shuffle in a window
    for i, batch in enumerate(islice(read, count), start):
        first = max(i * size, drawn.first)
        rows = drawn.measured(first, i * size + len(batch) - first)
        local = rows - i * size
        if not len(rows):
            continue
        if len(rows) < len(batch):
            batch = Batch(
                batch.inputs.rows(torch.from_numpy(local)), [batch.customer_id[i] for i in local],
                [batch.cutoff[i] for i in local], [batch.split[i] for i in local],
            )  # fmt: skip
        yield rows, batch
