"""A dataset from batches in memory, for tests and for what reads a dataset of a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ple_model.context import ModelContext
from ple_model.data.dataset.batches import Batch, to_columns
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.data.dataset.writer import DatasetWriter
from ple_model.fields import N_FEATURES


def write_dataset(
    out: Path | str,
    batches: Sequence[Batch],
    *,
    context: ModelContext | None = None,
    normalizer: Normalizer | None = None,
    name: str = "dataset",
    source: str = "tensors",
    group_rows: int = 1024,
) -> Dataset:
    """A dataset folder from batches in memory (tests, samples), all with the same fields; targets in original units."""
    width = context.n_features if context is not None else N_FEATURES
    writer = DatasetWriter(Path(out), group_rows=group_rows, width=width)
    for batch in batches:
        writer.write(to_columns(batch))
    writer.close(
        name=name, source=source, context=context or ModelContext(), normalizer=normalizer or Normalizer.identity(width)
    )
    return Dataset.open(out)
