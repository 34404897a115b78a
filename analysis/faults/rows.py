"""Data faults rewrite the rows of a dataset, part by part, and leave everything else as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis.faults.fault import Columns, RowChange, UnitChange
from ple_model.data.dataset.columns import column_shape, decode
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.data.dataset.writer import DatasetWriter, copy_artifacts
from ple_model.presence import part_key, presence_column
from ple_model.schema import PART_SLICES


def rewrite(dataset: Dataset, out: Path, change: RowChange, *, seed: int = 0) -> Dataset:
    """The same dataset at `out` with `change` applied to the columns of every part."""
    m = dataset.manifest
    rng = np.random.default_rng(seed)
    writer = DatasetWriter(out)
    for part in m.files:
        columns: Columns = dict(decode(dataset.part_table(part), dataset.path / part.name))
        change(columns, rng)
        writer.write(columns)
    writer.close(
        name=m.name, source=m.source, context=dataset.context(), normalizer=dataset.normalizer(),
        absent_sources=m.absent_sources, settings=m.settings, notes=m.notes,
    )  # fmt: skip
    copy_artifacts(dataset.path / "artifacts", out / "artifacts")
    return Dataset.open(out)


def some(columns: Columns, share: float, rng: np.random.Generator) -> np.ndarray:
    """[rows] bool: a random `share` of the rows."""
    rows = len(columns["customer_id"])
    return np.ones(rows, dtype=bool) if share >= 1 else np.asarray(rng.random(rows) < share)


def remove(columns: Columns, key: str, share: float, rng: np.random.Generator) -> None:
    """A share of rows never received `key` (a field or `features:<part>`): zero, and recorded as absent."""
    gone = some(columns, share, rng)
    base, _, part = key.partition(":")
    values = columns[base].copy()
    block = values[gone]
    if part:
        block[:, PART_SLICES[part]] = 0
    else:
        block = np.zeros_like(block)
    values[gone] = block
    columns[base] = values.reshape(len(gone), *column_shape(base))
    presence = columns.get(presence_column(key))
    before = np.ones(len(gone), dtype=bool) if presence is None else presence.astype(bool)
    columns[presence_column(key)] = before & ~gone


def changed(columns: Columns, name: str) -> np.ndarray:
    """A column that may be written to: decoded columns may be read-only views."""
    columns[name] = np.array(columns[name])
    return columns[name]


def present(columns: Columns, key: str) -> np.ndarray:
    """[rows] bool: who received `key` (a field or `features:<part>`)."""
    return np.asarray(columns.get(presence_column(key), np.ones(len(columns["customer_id"]), dtype=bool))).astype(bool)


def in_units(normalizer: Normalizer, change: UnitChange) -> RowChange:
    """`change`, made in the units of the source and normalised as everything else; absent parts stay empty."""

    def apply(columns: Columns, rng: np.random.Generator) -> None:
        features = changed(columns, "features")
        before = normalizer.inverse(features)
        values = before.copy()
        change(values, rng)
        touched = values != before
        for part, place in PART_SLICES.items():
            touched[:, place] &= present(columns, part_key(part))[:, None]
        features[touched] = normalizer.transform(values)[touched]

    return apply
