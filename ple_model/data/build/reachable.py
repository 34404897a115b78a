"""What a source tells of its own probabilities, taken along for the rows of a dataset (`ple_model.reachable`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ple_model.baseline_folder import REACHABLE
from ple_model.data.events.connect import BUCKET, EventStore, rows_of_bucket, table_files
from ple_model.data.labels.labels import LabelSettings
from ple_model.staging import staged_file

ROW_GROUP = 1_048_576
"""Rows that are held at once; Arrow's own size of a row group."""


def write_reachable(store: EventStore, labels: LabelSettings, out: Path, buckets: int = 1) -> None:
    """Put `reachable.parquet` into the dataset folder `out`, and take an older one away. Nothing is written where the source
    tells nothing, or where labels look further or less far than what it tells of. Events in `buckets` are put in order a
    bucket at a time, as the rows of `spine` come."""
    path = out / REACHABLE
    path.unlink(missing_ok=True)
    if "probabilities" not in store.present or labels.horizon_days != LabelSettings.horizon_days:
        return
    groups = _groups(_batches(store, buckets))
    if (first := next(groups, None)) is None:
        return
    with staged_file(path, durable=False) as temporary, pq.ParquetWriter(temporary, first.schema, compression="zstd") as file:
        for group in chain((first,), groups):
            file.write_table(group, ROW_GROUP)


def _batches(store: EventStore, buckets: int) -> Iterator[pa.RecordBatch]:
    """In the order of the dataset's rows."""
    sources = ["probabilities"]
    if buckets > 1 and table_files(store.path, "probabilities")[0].name.startswith(BUCKET):  # a file of all is read once
        sources = [rows_of_bucket(store, "probabilities", k) for k in range(buckets)]
    for source in sources:
        yield from store.con.sql(f"""
            SELECT p.customer_id, p.cutoff::VARCHAR AS cutoff, p.task, p.class, p.p
            FROM {source} p JOIN spine s ON s.customer_id = p.customer_id AND s.cutoff = p.cutoff
            ORDER BY s.row_id, p.task, p.class""").to_arrow_reader(ROW_GROUP)


def _groups(found: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Row groups of `ROW_GROUP` rows; DuckDB gives smaller batches than it is asked for."""
    held: list[pa.RecordBatch] = []
    for batch in found:
        held.append(batch)
        if sum(b.num_rows for b in held) >= ROW_GROUP:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, ROW_GROUP)
            held = whole.slice(ROW_GROUP).to_batches()
    if any(b.num_rows for b in held):
        yield pa.Table.from_batches(held)
