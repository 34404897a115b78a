"""A score file: rows streamed into it, what was counted on the way, and what to know of the scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ple_model.data.build.steps import Progress
from ple_model.data.dataset.reader import Dataset
from ple_model.fields import NO_CUTOFF
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.score_rows import OFFER_TASK
from ple_model.sequences.scoring import UNUSUAL
from ple_model.staging import staged_file

ROW_GROUP = 16_384


@dataclass(frozen=True)
class ScoreFile:
    """What was written: rows, customers and cut-offs, the uncertainty above which each task's row is marked, and how often."""

    path: Path
    rows: int
    customers: int
    cutoffs: tuple[str, ...]
    tasks: tuple[str, ...]
    thresholds: dict[str, float]
    thresholds_from: str
    """Where the thresholds come from, in words."""
    fallback: dict[str, float | None]
    """Share of the scored rows that are marked, by task; None where none is scored."""
    scored: dict[str, int]
    """Rows with a score, by task that has a threshold."""
    calibrated: tuple[str, ...]
    unusual: float | None = None
    """Share of the rows whose last days are above the 99th percentile of the reference; None where nobody is ranked."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}

    def __str__(self) -> str:
        dates = "" if self.cutoffs == (NO_CUTOFF,) else f" at {', '.join(self.cutoffs)}"
        lines = [f"{self.customers:,} customers, {self.rows:,} rows{dates} -> {self.path}", f"  {self.thresholds_from}"]
        for t, v in self.thresholds.items():
            share = self.fallback[t]
            said = "no row is scored" if share is None else f"{share:.1%} of {self.scored[t]:,} scored rows"
            lines.append(f"  {t:<20} marked above {v:.4g}: {said}")
        if self.unusual is not None:
            lines.append(f"  last days above the 99th percentile of the reference: {self.unusual:.1%} (usual: 1%)")
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])


@dataclass
class ScoresWritten:
    """What was written so far."""

    marked: dict[str, int]
    """Scored rows with a fallback mark, by task."""
    undefined: dict[str, int]
    """Rows that a task is not defined for."""
    scored: dict[str, int]
    """Rows with a score, by task."""
    rows: int = 0
    customers: int = 0
    dormant: int = 0
    unusual: int = 0
    """Rows whose last days are above the 99th percentile."""
    last: str | None = None
    """The customer of the last row: rows come by customer, then cut-off."""

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        ids = table.column("customer_id").to_pylist()
        self.customers += sum(a != b for a, b in zip(ids, [self.last, *ids], strict=False))
        self.last = ids[-1]
        self.dormant += table.num_rows - table.column("fallback_reason").null_count
        if "anomaly" in table.column_names:
            self.unusual += pc.sum(pc.greater(table.column("anomaly"), UNUSUAL)).as_py() or 0
        for task in self.undefined:
            self.undefined[task] += table.num_rows - table.column(f"{task}_reason").null_count
        for task in self.marked:
            scored = table.column(task).is_valid()
            self.scored[task] += pc.sum(scored).as_py() or 0
            self.marked[task] += pc.sum(pc.and_(scored, table.column(f"{task}_fallback"))).as_py() or 0


def write_scores(
    tables: Iterable[pa.Table], rows: int, out: Path, about: Mapping[str, Any], written: ScoresWritten,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Row groups into a file beside `out`, which takes its name when all were numbers; counted in `written`."""
    writer: pq.ParquetWriter | None = None
    with staged_file(out) as temporary:
        try:
            for table in tables:
                if writer is None:
                    schema = table.schema.with_metadata({"ple": json.dumps(about)})
                    writer = pq.ParquetWriter(temporary, schema, compression="zstd")
                writer.write_table(table.cast(writer.schema))
                written.add(table)
                if progress is not None:
                    progress("score", written.rows / max(1, rows))
        finally:
            if writer is not None:
                writer.close()


def notes_of_scores(
    run: Run, model: PLEClusterAdaTT, silent: Sequence[str], written: ScoresWritten, unseen: str
) -> Iterator[str]:
    """What to know of the scores."""
    if silent:
        also = ", and offers" if OFFER_TASK in silent else ""
        yield f"left empty, for want of labels in training: {', '.join(silent)}{also}"
    plain = [t for t, s in model.tasks.items() if s.kind == "binary" and t not in run.calibration and t not in silent]
    if plain:
        yield f"not calibrated, for want of validation labels: {', '.join(plain)}"
    rows = written.rows
    for task, n in written.undefined.items():
        if n:
            yield f"{task}: left empty in {n:,} of {rows:,} rows, it is for customers {model.tasks[task].condition.en}"
    if written.dormant:
        scores = f" and left without scores, {unseen}" if unseen else ""
        yield f"{written.dormant:,} of {rows:,} rows are dormant and marked as a fallback for every task{scores}"


def notes_of_data(data: Dataset) -> Iterator[str]:
    """What to know of the events behind the scores."""
    for table in data.manifest.absent_sources:
        yield f"no table '{table}': what it feeds is absent"
    for note in data.manifest.notes:
        if note.startswith(("validation, ", "cut-off")):
            yield note


def grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Small tables joined to row groups of a size that readers like."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(t.num_rows for t in held) >= ROW_GROUP:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
