"""`ple bench read`: batches from the training cache against the same rows from DuckDB to tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import torch
from torch import Tensor

from ple_model.bench.customers import context, customers
from ple_model.bench.measure import Row, Settings, Target, agree, interleave
from ple_model.bench.registry import Benchmark
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.columns import KEYS, column_shape
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.fields import FIELD_SHAPES
from ple_model.presence import presence_column, presence_columns

BATCH = 1024


def make(folder: Path, rows: int, distinct: int, seed: int) -> Dataset:
    """A dataset folder of `rows` training rows; customers repeat after `distinct` of them."""
    some = customers(distinct, seed)
    parts = []
    for first in range(0, rows, distinct):
        ids = [f"customer {i:08d}" for i in range(first, first + distinct)]
        parts.append(Batch(some, ids, ["2025-01-01"] * distinct, ["train"] * distinct))
    return write_dataset(folder, parts, context=context(), name="bench")


def from_duckdb(dataset: Dataset, batch_size: int) -> Iterator[dict[str, Tensor]]:
    """The plain way: a query a dataset, record batches to arrays to tensors, in file order."""
    m = dataset.manifest
    names = [*KEYS, *m.fields, *(f"y_{t}" for t in m.tasks), *(presence_column(k) for k in m.presence)]
    files = [str(dataset.path / p.name) for p in m.files]
    with duckdb.connect() as con:
        con.execute(f"SET threads = {torch.get_num_threads()}")
        columns = ", ".join(f'"{n}"' for n in names)
        table = con.sql(f"SELECT {columns} FROM read_parquet(?)", params=[files]).to_arrow_table()
        for record in table.to_batches(batch_size):
            yield {n: _tensor(record.column(n), n) for n in names if n not in KEYS}


def _tensor(column: pa.Array, name: str) -> Tensor:
    flat = column if not hasattr(column.type, "value_type") else column.flatten()  # DuckDB gives lists of any length
    return torch.from_numpy(flat.to_numpy(zero_copy_only=False).reshape(len(column), *column_shape(name)).copy())


def from_cache(dataset: Dataset, batch_size: int, *, shuffle: bool) -> Iterator[dict[str, Tensor]]:
    """Ours: the dataset's batches, columns named as on disk."""
    for batch in dataset.batches("train", batch_size, shuffle=shuffle):
        found = {f: getattr(batch.inputs, f) for f in FIELD_SHAPES if getattr(batch.inputs, f) is not None}
        found |= {f"y_{t}": v for t, v in (batch.inputs.targets or {}).items()}
        yield found | presence_columns(batch.inputs.presence or {})


def joined(batches: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    whole = list(batches)
    return {k: torch.nan_to_num(torch.cat([b[k] for b in whole]).double(), nan=-7.0) for k in whole[0]}


def drain(batches: Iterator[dict[str, Tensor]]) -> int:
    return sum(len(b["features"]) for b in batches)


def run(settings: Settings) -> list[Row]:
    rows, distinct, batch = settings.pick(8192, 64), settings.pick(2048, 32), settings.pick(BATCH, 16)
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        small = make(Path(folder) / "small", settings.pick(2048, 64), settings.pick(2048, 32), settings.seed)
        cached = Dataset.open(small.path, cache=Path(folder) / "cache")
        difference = agree("read", joined(from_cache(cached, batch, shuffle=False)), joined(from_duckdb(small, batch)), 0.0)
        data = make(Path(folder) / "data", rows, distinct, settings.seed)
        cached = Dataset.open(data.path, cache=Path(folder) / "cache")
        times = interleave(
            {
                "ours": lambda: drain(from_cache(cached, batch, shuffle=True)),
                "plain": lambda: drain(from_duckdb(data, batch)),
            },
            settings.rounds,
        )
    row = times.speedup("read", f"{rows} rows, shuffled, against DuckDB in order", target=Target(15), difference=difference)
    speeds = {n: 1000 * rows / times.median(n) for n in ("ours", "plain")}
    ratio = speeds["ours"] / speeds["plain"]
    return [row, Row("read", "rows a second", ratio, None, speeds["ours"], speeds["plain"], "rows/s")]


BENCHMARKS = (Benchmark("read", "batches from the training cache against DuckDB to tensors", run),)
