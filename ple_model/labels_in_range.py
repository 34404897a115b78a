"""Labels of a batch before a loss reads them: a class that a task does not have would end in an index error, on a GPU
in one that takes the whole process with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ple_model.errors import UserError
from ple_model.tasks import TaskSpec


def require_labels(targets: Mapping[str, Tensor], tasks: Mapping[str, TaskSpec], rows: int, brands: int) -> None:
    """`UserError` that names task, row, value and what is allowed, for a label of another shape or beyond a task's classes.

    -1 is a missing class, NaN a missing amount. One transfer from the device for all tasks."""
    classes = {}
    for name, y in targets.items():
        if name not in tasks:
            continue
        spec = tasks[name]
        wide = spec.kind == "regression" and spec.out_dim > 1
        expected = (rows, spec.out_dim) if wide else (rows,)
        if tuple(y.shape) != expected:
            raise UserError(f"labels of task '{name}' have shape {tuple(y.shape)}, expected {expected}")
        if spec.kind != "regression":
            classes[name] = {"binary": 2, "contrastive": brands}.get(spec.kind, spec.out_dim)
    if not classes or not rows:
        return
    ends = torch.stack([torch.stack(targets[n].aminmax()).double() for n in classes]).tolist()
    for (name, count), (low, high) in zip(classes.items(), ends, strict=True):
        if not (low >= -1 and high < count):
            y = targets[name]
            row = int((~((y >= -1) & (y < count))).nonzero()[0, 0])
            value = y[row].item()
            what = "brand" if tasks[name].kind == "contrastive" else "class"
            raise UserError(
                f"task '{name}', row {row}: no {what} {value}, valid: 0 to {count - 1}, or -1 where the label is missing"
            )
