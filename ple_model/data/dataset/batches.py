"""Rows with their keys, as tensors (`Batch`) and as arrays by the name of their column, and the way from one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ple_model.data.dataset.columns import KEYS, RAW, is_class_task
from ple_model.fields import FIELD_SHAPES
from ple_model.presence import presence_columns, presence_key

if TYPE_CHECKING:
    import torch

    from ple_model.batch import PLEClusterInput

Columns = dict[str, NDArray[np.generic]]
TAUGHT = "taught:"
"""Prefix of columns that are no part of the dataset: what a teacher says of its rows."""


@dataclass(frozen=True)
class Batch:
    """Rows with their keys. Regression targets are in original units (training standardises with `context.label_scalers`)."""

    inputs: PLEClusterInput
    customer_id: list[str]
    cutoff: list[str]
    split: list[str]
    raw: Mapping[str, list[object]] = field(default_factory=dict)
    """Human-readable columns by name, for those who write a dataset; empty when read in batches (use `Dataset.table`)."""

    def __len__(self) -> int:
        return len(self.customer_id)


def concat(pieces: list[Columns]) -> Columns:
    if len(pieces) == 1:
        return pieces[0]
    return {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}


def to_batch(columns: Columns, parts: Mapping[str, slice]) -> Batch:
    """Arrays -> tensors. The arrays of a batch are copies of the held ones, so a batch may be changed in place."""
    from ple_model.batch import PLEClusterInput  # late: torch

    keys: dict[str, list[str]] = {k: columns[k].tolist() for k in KEYS}  # one by one, each would be an array's scalar first
    fields: dict[str, torch.Tensor] = {}
    targets: dict[str, torch.Tensor] = {}
    presence: dict[str, torch.Tensor] = {}
    taught: dict[str, torch.Tensor] = {}
    for name, values in columns.items():
        if name in FIELD_SHAPES:
            fields[name] = _tensor(values, integer=not FIELD_SHAPES[name])
        elif name.startswith("y_"):
            targets[name[2:]] = _tensor(values, integer=is_class_task(name[2:]))
        elif name.startswith(TAUGHT):
            taught[name.removeprefix(TAUGHT)] = _tensor(values)
        elif (key := presence_key(name)) is not None:
            presence[key] = _tensor(values)
    inputs = PLEClusterInput(**fields, targets=targets or None, presence=presence or None, taught=taught or None, parts=parts)
    return Batch(inputs, keys["customer_id"], keys["cutoff"], keys["split"])


def _tensor(values: NDArray[np.generic], *, integer: bool = False) -> torch.Tensor:
    import torch  # late: torch

    writable = values if values.flags.writeable and values.flags.c_contiguous else values.copy()
    tensor = torch.from_numpy(writable)
    return tensor.long() if integer else tensor


def to_columns(batch: Batch) -> Columns:
    columns: Columns = {k: np.asarray(getattr(batch, k), dtype=object) for k in KEYS}
    for name in FIELD_SHAPES:
        value = getattr(batch.inputs, name)
        if value is not None:
            columns[name] = value.cpu().numpy()
    for task, value in (batch.inputs.targets or {}).items():
        columns[f"y_{task}"] = value.cpu().numpy().astype(np.int32 if is_class_task(task) else np.float32)
    columns |= presence_columns({k: v.cpu().numpy() for k, v in (batch.inputs.presence or {}).items()})
    for key, values in batch.raw.items():
        columns[RAW + key] = np.asarray(values, dtype=object)
    return columns
