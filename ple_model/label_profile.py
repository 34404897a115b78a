"""What the labels of the training split were, by task: how many, of which classes, in which range.

A run keeps it beside its other training statistics, so that labels of later rows can be held against it: a class that training
never had, one value where there were two, amounts in another unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.config import Config
from ple_model.constants import task_labels
from ple_model.data.dataset.reader import Dataset
from ple_model.files import write_json
from ple_model.own_rows import columns_of
from ple_model.safe_text import read_json
from ple_model.stored import Stored
from ple_model.tasks import TaskSpec
from ple_model.told import FEWEST, HELD, ToldBySize, by_size, ranked

FILE = "labels.json"
LEVELS = np.linspace(0.0, 1.0, 101)
"""Quantiles that are kept of an amount."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrainedLabels:
    """`counts` [K] rows by class (binary: 0 and 1; brands are left out); `quantiles` [101] of an amount, on the label's own
    scale; of a label of several outputs all are taken together."""

    n: int
    counts: tuple[int, ...] = ()
    quantiles: tuple[float, ...] = ()
    told: ToldBySize | None = None
    """What the inputs told of it on held-out rows (`told`); None with too few, or in an older run."""


def of_labels(spec: TaskSpec, labels: Array) -> TrainedLabels:
    """From the training labels that are there, flat."""
    if spec.kind == "regression":
        return TrainedLabels(len(labels), quantiles=tuple(np.quantile(labels, LEVELS).tolist()) if len(labels) else ())
    if spec.kind == "contrastive":
        return TrainedLabels(len(labels))
    classes = 2 if spec.kind == "binary" else spec.out_dim
    return TrainedLabels(len(labels), counts=tuple(np.bincount(labels.astype(np.int64), minlength=classes).tolist()))


def save(folder: Path, dataset: Dataset, config: Config) -> None:
    """Write the profile of every task of the config that has labels in the training split."""
    found = {name: of_labels(spec, task_labels(dataset, name)) for name, spec in config.tasks.items()}
    _write(folder, {name: v for name, v in found.items() if v.n})


def _write(folder: Path, found: Mapping[str, TrainedLabels]) -> None:
    plain = {name: asdict(v) for name, v in found.items()}
    write_json(folder / FILE, {"tasks": {n: {k: v for k, v in one.items() if v is not None} for n, one in plain.items()}})


def add_told(run: Path, dataset: Dataset, config: Config) -> None:
    """Put what the inputs of held-out rows tell of their labels into a run's profile, at the end of its training."""
    folder = run / "preprocess"
    found = load(folder)
    if found is None:
        return
    kinds = {k: s.kind for k, s in config.tasks.items() if s.kind != "contrastive" and k in found}
    names = [c.name for c in dataset.schema.columns]
    values, customers = [], []
    labels: dict[str, list[Array]] = {k: [] for k in kinds}
    splits = [s for s in ("validation", "test") if dataset.rows(s)]
    for i, split in enumerate(splits):
        for batch in dataset.batches(split, 1024, shuffle=True):
            values.append(columns_of(batch.inputs, names)[1])
            customers += batch.customer_id
            for task, kept in labels.items():
                target = (batch.inputs.targets or {}).get(task)
                kept.append(np.full(len(batch), np.nan) if target is None else _flat(target.numpy()))
            if len(customers) >= HELD * (i + 1) / len(splits):
                break
    if len(customers) < FEWEST:
        return
    joined = {k: np.concatenate(v) for k, v in labels.items()}
    told = by_size(kinds, joined, ranked(np.concatenate(values)), np.array(customers))
    _write(folder, {k: replace(v, told=told.get(k)) for k, v in found.items()})


def _flat(label: NDArray[Any]) -> Array:
    """[n] of one output or the mean of several; NaN where there is none."""
    y = label.astype(np.float64)
    y = np.where(y < 0, np.nan, y) if label.dtype.kind in "iu" else y
    return np.asarray(y if y.ndim == 1 else y.mean(1))


def load(folder: Path) -> Mapping[str, TrainedLabels] | None:
    """What `save` wrote; None where a run has none, as those of older releases; `UserError` for a damaged file."""
    path = folder / FILE
    try:
        tasks = Stored.of(path, read_json(path)).mapping("tasks")
    except FileNotFoundError:
        return None
    parts = {name: tasks.mapping(name) for name in tasks.values}
    return {k: TrainedLabels(v.whole("n"), v.wholes("counts"), v.numbers("quantiles"), _told(v)) for k, v in parts.items()}


def _told(part: Stored) -> ToldBySize | None:
    if not part.has("told"):
        return None
    kept = part.mapping("told")
    rows, mean, spread = kept.wholes("rows"), kept.numbers("mean"), kept.numbers("spread")
    if not len(rows) == len(mean) == len(spread):
        raise part.wrong("told", "three lists of one length")
    return ToldBySize(rows, mean, spread)
