"""One pass of a model over a dataset: statistics, the scalars of every row, a bounded sample of vectors; no hooks.

Memory does not grow with the number of customers: each batch is folded into mergeable statistics and written to Parquet, and
only the sample's vectors (at most 20,000 rows) and the what-if sample (at most 2,000) are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.fingerprint import Fingerprint, Why, fingerprint
from analysis.judging import Judge
from analysis.opening import opened_dataset, opened_run
from analysis.recording.batches import finite_rows
from analysis.recording.columns import RowColumns
from analysis.recording.ending import Ending
from analysis.recording.opened import Opened
from analysis.recording.rows_file import RowsFile
from analysis.recording.samples import ComparedSample, Drawn, EffectSample, VectorSample
from analysis.recording.statistics import batch_statistics
from analysis.relabelled import Agreements
from analysis.results.progress import Progress
from analysis.stats.run import Statistics
from analysis.store import AnalysisStore, StoreWriter, stored, write_statistics
from analysis.written import Said
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.output import PLEClusterOutput
from ple_model.run import Run
from ple_model.safe_arrays import write_npz

BATCH = 512


def record(
    run: Run | Path | str,
    dataset: Dataset | Path | str | None = None,
    *,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    force: bool = False,
    tell: Callable[[Why], None] = lambda why: None,
) -> AnalysisStore:
    """Measure and store, or return what is stored already under the same fingerprint; `tell` hears at once which, and why."""
    opened = opened_run(run)
    data = opened_dataset(opened, dataset)
    if data.manifest.rows == 0:
        raise UserError(f"{data.path} has no rows")
    made_of = fingerprint(opened, data, sample, seed)
    if not force:
        try:
            found = AnalysisStore(opened.path / "analysis" / made_of.name)
        except UserError:
            pass
        else:
            tell("reused")
            return found
    tell("forced" if force else made_of.why(_older(opened.path, data)))
    writer = StoreWriter(opened.path, made_of.name)
    try:
        return Recorder(opened, data, sample, seed, progress).run(writer, made_of, replace=force)
    finally:
        writer.discard()


def _older(run: Path, data: Dataset) -> list[dict[str, str]]:
    """What the stored analyses of the same data were made of."""
    same = (s for s in stored(run) if (s.meta.get("data") or {}).get("fingerprint") == data.manifest.fingerprint)
    return [s.made_of for s in same]


class Recorder:
    """The pass. Order of rows is the dataset's file order."""

    judging: type[Judge] = Judge
    ending: type[Ending] = Ending

    def __init__(self, run: Run, data: Dataset, sample: int | None, seed: int, progress: Progress | None) -> None:
        self.data, self.seed = data, seed
        self.progress: Progress = progress if progress is not None else (lambda share, what: None)
        self.opened = Opened.of(run, data)
        self.judge = self.judging(run, self.opened.model, data, self.opened.calibration)
        self.drawn = Drawn(data.manifest.rows, sample, seed)
        self.vectors, self.effects, self.compared = VectorSample(), EffectSample(), ComparedSample(self.opened.names)
        self.agreements = Agreements(self.opened.facts.kinds, self.opened.judged)

    def run(self, writer: StoreWriter, made_of: Fingerprint, *, replace: bool) -> AnalysisStore:
        """Measure, and publish the folder."""
        statistics = self.measure(writer.folder)
        write_statistics(writer.folder, statistics)
        write_npz(writer.folder / "vectors.npz", self.vectors.arrays(), packed=True)
        extra = {
            "data": {"name": self.data.manifest.name, "fingerprint": self.data.manifest.fingerprint},
            "seed": self.seed,
            "made_of": made_of.to_dict(),
            "judged_split": self.opened.judged,
            "own_sample": self.opened.own,
        }
        store = writer.publish(statistics.n, extra, replace=replace)
        self.progress(1.0, "done")
        return store

    @torch.no_grad()
    def measure(self, folder: Path) -> Statistics:
        """The whole pass, then the interventions on the bounded sample; `folder` gets rows.parquet."""
        opened, path = self.opened, folder / "rows.parquet"
        columns = RowColumns(opened.model, opened.calibration, self.judge)
        added: Statistics | None = None
        said: Said | None = None
        done = 0
        with RowsFile.written(path, self.data) as file:
            for rows, batch in self._batches():
                output = opened.model(batch.inputs)
                part = batch_statistics(opened, batch, output)
                added = part if added is None else added + part
                file.add(columns.of(rows, batch, output), rows, batch.customer_id)
                self._sample(rows, batch, output)
                self.agreements.add(batch, output)
                if done == 0 and rows[-1] == len(rows) - 1 and opened.own:
                    said = Said(batch.inputs, output)
                done += len(batch)
                self.progress(0.85 * done / self.drawn.total, f"{done} of {self.drawn.total} customers")
        if added is None:
            raise UserError(f"{self.data.path} has no rows to measure")
        ending = self.ending(opened, self.judge, self.progress)
        return ending.of(added, path, file.infinite, self.effects.rows(), self.compared, said, self.agreements.found)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """(row numbers in the dataset, batch of the chosen rows)."""
        first = 0
        for batch in self.data.batches(None, BATCH, window_rows=BATCH):  # in file order: nothing to shuffle in a window
            rows = first + np.flatnonzero(self.drawn.measured[first : first + len(batch)])
            local = rows - first
            first += len(batch)
            if not len(rows):
                continue
            if len(rows) < len(batch):
                batch = Batch(
                    batch.inputs.rows(torch.from_numpy(local)), [batch.customer_id[i] for i in local],
                    [batch.cutoff[i] for i in local], [batch.split[i] for i in local],
                )  # fmt: skip
            yield rows, batch

    def _sample(self, rows: NDArray[np.int64], batch: Batch, output: PLEClusterOutput) -> None:
        """Keep what the samples want of a batch; of vectors and interventions only rows whose numbers are all finite."""
        whole = finite_rows(output)
        if len(local := np.flatnonzero(self.drawn.vectors[rows] & whole)):
            self.vectors.add(local, rows, output)
        if len(local := np.flatnonzero(self.drawn.effects[rows] & whole)):
            self.effects.add(local, rows, batch, output)
        if len(local := np.flatnonzero(self.drawn.compared[rows])):
            self.compared.add(local, rows, batch)
