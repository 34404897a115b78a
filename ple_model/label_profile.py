"""What the labels of the training split were, by task: how many, of which classes, in which range.

A run keeps it beside its other training statistics, so that labels of later rows can be held against it: a class that training
never had, one value where there were two, amounts in another unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ple_model.config import Config
from ple_model.constants import task_labels
from ple_model.data.dataset.reader import Dataset
from ple_model.files import write_json
from ple_model.safe_text import read_json
from ple_model.stored import Stored
from ple_model.tasks import TaskSpec

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
    write_json(folder / FILE, {"tasks": {name: asdict(v) for name, v in found.items() if v.n}})


def load(folder: Path) -> Mapping[str, TrainedLabels] | None:
    """What `save` wrote; None where a run has none, as those of older releases; `UserError` for a damaged file."""
    path = folder / FILE
    try:
        tasks = Stored.of(path, read_json(path)).mapping("tasks")
    except FileNotFoundError:
        return None
    parts = {name: tasks.mapping(name) for name in tasks.values}
    return {k: TrainedLabels(v.whole("n"), v.wholes("counts"), v.numbers("quantiles")) for k, v in parts.items()}
