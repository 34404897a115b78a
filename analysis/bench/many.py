"""A run measured at many customers: the rows of its sample, or of its stored analysis, repeated under new names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.cohort_statistics import keep_cells
from analysis.diagnose import diagnose
from analysis.store import AnalysisStore
from ple_model.data.dataset.reader import Dataset
from ple_model.data.dataset.writer import DatasetWriter, copy_artifacts
from ple_model.run import Run, load_run
from ple_model.safe_arrays import open_parquet
from ple_model.staging import staged_file

PIECE = 4096


def repeat(data: Dataset, out: Path, rows: int) -> Dataset:
    """A dataset of `rows` rows at `out`: those of `data` in turn, each time under customers of its own."""
    writer = DatasetWriter(out)
    whole = pa.concat_tables([data.part_table(p) for p in data.manifest.files])
    for first in range(0, rows, PIECE):
        row = np.arange(first, min(first + PIECE, rows))
        piece = whole.take(pa.array(row % len(whole)))
        # a part file holds one split; what a benchmark repeats is all of the test split
        names = [f"{name} #{i // len(whole)}" for name, i in zip(piece.column("customer_id").to_pylist(), row, strict=True)]
        piece = piece.set_column(piece.schema.get_field_index("customer_id"), "customer_id", pa.array(names, pa.string()))
        piece = piece.set_column(piece.schema.get_field_index("split"), "split", pa.array(["test"] * len(row), pa.string()))
        writer.append(piece)
    m = data.manifest
    writer.close(
        name=m.name, source=m.source, context=data.context(), normalizer=data.normalizer(),
        absent_sources=m.absent_sources, settings={**m.settings, "repeated_from": m.fingerprint}, notes=m.notes,
    )  # fmt: skip
    copy_artifacts(data.path / "artifacts", out / "artifacts")
    return Dataset.open(out)


def repeated_analysis(run: Path, out: Path, rows: int) -> AnalysisStore:
    """A copy of the run at `out` whose stored analysis has `rows` rows: what pages read of it is as large as after measuring so
    many customers, in seconds instead of an hour. Its statistics, and its sample, stay those of the few."""
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("analysis", "state"))
    folder = diagnose(out).store.path
    with open_parquet(folder / "rows.parquet") as file:
        whole = file.read()
    with (
        staged_file(folder / "rows.parquet", durable=False) as fresh,
        pq.ParquetWriter(fresh, whole.schema, compression="zstd") as writer,
    ):
        for first in range(0, rows, 16 * PIECE):
            row = np.arange(first, min(first + 16 * PIECE, rows))
            piece = whole.take(pa.array(row % len(whole)))
            names = [f"{c} #{i // len(whole)}" for c, i in zip(piece.column("customer_id").to_pylist(), row, strict=True)]
            for name, values in (("row", pa.array(row)), ("customer_id", pa.array(names, pa.string()))):
                piece = piece.set_column(piece.schema.get_field_index(name), piece.schema.field(name), values)
            writer.write_table(piece)
    for name, key in (("meta.json", "rows"), ("stats.json", "n")):  # as text: what is no number stays so
        said = {**json.loads((folder / name).read_text(encoding="utf-8")), key: rows}
        (folder / name).write_text(json.dumps(said), encoding="utf-8")
    store = AnalysisStore(folder)
    keep_cells(store)
    return store


def repeated_run(run: Path, out: Path, rows: int) -> Run:
    """A copy of the run at `out` whose sample has `rows` rows."""
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("sample", "analysis", "state"))
    repeat(load_run(run).sample(), out / "sample", rows)
    return load_run(out)
