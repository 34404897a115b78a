"""One pass of a model over a dataset: statistics, the scalars of every row, a bounded sample of vectors; no hooks.

Memory does not grow with the number of customers: each batch is folded into mergeable statistics and written to Parquet, and
only the sample's vectors (at most 20,000 rows) and the what-if sample (at most 2,000) are kept. With an engine the rows are
measured in ranges by its processes, and what reads all rows or the samples (`recording.ending`) runs here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from analysis.fingerprint import Fingerprint, Why, fingerprint
from analysis.judging import Judge
from analysis.opening import opened_dataset, opened_run
from analysis.recording.ending import Ending
from analysis.recording.opened import Opened
from analysis.recording.passing import BATCH, FOLDED, Passed, pass_over
from analysis.recording.samples import Drawn
from analysis.recording.shards import record_shards
from analysis.results.progress import Progress
from analysis.stats.run import Statistics
from analysis.store import AnalysisStore, StoreWriter, stored, write_statistics
from ple_model.data.dataset.reader import Dataset
from ple_model.engine import ShardEngine
from ple_model.errors import UserError
from ple_model.parts_folder import parts_of, sweep_parts
from ple_model.run import Run
from ple_model.safe_arrays import write_npz

__all__ = ["BATCH", "FOLDED", "Recorder", "record"]

STORES = "[0-9a-f]*"
"""Names of stored analyses; those of latents begin otherwise."""


def record(
    run: Run | Path | str,
    dataset: Dataset | Path | str | None = None,
    *,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    force: bool = False,
    tell: Callable[[Why], None] = lambda why: None,
    engine: ShardEngine | None = None,
) -> AnalysisStore:
    """Measure and store, or return what is stored already under the same fingerprint; `tell` hears at once which, and why.
    `engine`: the rows are measured by its processes, a range each; None: by this one."""
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
        return Recorder(opened, data, sample, seed, progress, engine).run(writer, made_of, replace=force)
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

    def __init__(
        self,
        run: Run,
        data: Dataset,
        sample: int | None,
        seed: int,
        progress: Progress | None,
        engine: ShardEngine | None = None,
    ) -> None:
        self.data, self.seed, self.engine = data, seed, engine
        self.progress: Progress = progress if progress is not None else (lambda share, what: None)
        self.opened = Opened.of(run, data)
        rows = range(0) if engine is not None else None  # with an engine no row is judged here
        self.judge = self.judging(run, self.opened.model, data, self.opened.calibration, rows)
        self.drawn = Drawn.of(data.manifest.rows, sample, seed)

    def run(self, writer: StoreWriter, made_of: Fingerprint, *, replace: bool) -> AnalysisStore:
        """Measure, and publish the folder."""
        extra = {
            "data": {"name": self.data.manifest.name, "fingerprint": self.data.manifest.fingerprint},
            "seed": self.seed,
            "made_of": made_of.to_dict(),
            "judged_split": self.opened.judged,
            "own_sample": self.opened.own,
        }
        with self._parts(writer.final) as parts:
            found = self._passed(writer.folder, parts)
            statistics = self._ended(found, writer.folder)
            write_statistics(writer.folder, statistics)
            write_npz(writer.folder / "vectors.npz", found.vectors.arrays(), packed=True)
            store = writer.publish(statistics.n, extra, replace=replace)
            if parts is not None:
                shutil.rmtree(parts, ignore_errors=True)
        self.progress(1.0, "done")
        return store

    def _parts(self, result: Path) -> AbstractContextManager[Path | None]:
        """Where shards leave what they found. What was left of a measurement that is not gone on with now is swept: it may be
        of a run or of data that have changed since."""
        if self.engine is None:
            sweep_parts(result.parent, STORES)
            return nullcontext()
        return parts_of(result, "another process measures the same", outdated=STORES)

    def measure(self, folder: Path) -> Statistics:
        """The whole pass, then the interventions on the bounded sample; `folder` gets rows.parquet."""
        return self._ended(self._passed(folder, None), folder)

    def _passed(self, folder: Path, parts: Path | None) -> Passed:
        """`parts`: where shards leave what they found."""
        path, total = folder / "rows.parquet", self.drawn.total
        if self.engine is not None and parts is not None:
            return record_shards(self.opened, self.drawn, parts, path, self.engine, self.progress)
        tick = self.progress
        return pass_over(
            self.opened, self.judge, self.drawn, path, lambda done: tick(0.85 * done / total, f"{done} of {total} customers")
        )

    @torch.no_grad()
    def _ended(self, found: Passed, folder: Path) -> Statistics:
        if found.added is None:
            raise UserError(f"{self.data.path} has no rows to measure")
        ending = self.ending(self.opened, self.judge, self.progress)
        return ending.of(
            found.added, folder / "rows.parquet", found.infinite, found.effects.rows(), found.compared, found.said,
            found.agreements.found,
        )  # fmt: skip
