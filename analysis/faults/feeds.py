"""Data faults: a feed that never arrives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ple_model.data.columns import column_shape, decode
from ple_model.data.dataset import Dataset
from ple_model.data.writer import DatasetWriter, copy_artifacts
from ple_model.errors import UserError, did_you_mean


def cut_feed(dataset: Dataset, out: Path, fields: Sequence[str], *, share: float = 1.0, seed: int = 0) -> Dataset:
    """The same dataset at `out` in which a `share` of rows never received `fields`: zero and recorded as absent.

    This is what a stopped upstream job leaves behind. `fields` are input fields (not `features:<part>`). `UserError` if the
    dataset has no such field.
    """
    m = dataset.manifest
    for name in fields:
        if name not in m.fields:
            raise UserError(f"{dataset.path} has no input field '{name}'{did_you_mean(name, m.fields)}")
    rng = np.random.default_rng(seed)
    writer = DatasetWriter(out)
    for part in m.files:
        columns = decode(dataset.part_table(part), dataset.path / part.name)
        cut = rng.random(part.rows) < share
        for name in fields:
            values = columns[name].copy()
            values[cut] = np.zeros((), dtype=values.dtype)
            columns[name] = values.reshape(part.rows, *column_shape(name))
            presence = columns.get(f"p_{name}")
            before = np.ones(part.rows, dtype=bool) if presence is None else presence.astype(bool)
            columns[f"p_{name}"] = before & ~cut
        writer.write(columns)
    writer.close(
        name=m.name, source=m.source, context=dataset.context(), normalizer=dataset.normalizer(),
        absent_sources=m.absent_sources, settings=m.settings, notes=m.notes,
    )  # fmt: skip
    copy_artifacts(dataset.path / "artifacts", out / "artifacts")
    return Dataset.open(out)
