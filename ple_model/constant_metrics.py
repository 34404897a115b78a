"""What the best constant answer of the training split reaches: the metrics beside which every model's stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ple_model.amounts import amount_metrics
from ple_model.data.dataset.reader import Dataset
from ple_model.metrics import BY_KIND, Metrics, class_metrics, weighted_ranks

if TYPE_CHECKING:
    from ple_model.scoring import TaskRows

Array = NDArray[np.float64]


def training_labels(dataset: Dataset) -> Mapping[str, Array]:
    """Labels of the training split by task, those that are missing left out; a task of several outputs has no constant here."""
    out: dict[str, Array] = {}
    if not dataset.rows("train"):
        return out
    for task in dataset.manifest.tasks:
        for table in dataset.tables([f"y_{task}"], "train"):
            values = np.asarray(table.column(0).to_numpy(zero_copy_only=False))
            if values.dtype == object:
                break
            kept = values[values >= 0] if values.dtype.kind in "iu" else values[np.isfinite(values)]
            out[task] = np.concatenate([out.get(task, np.zeros(0)), kept.astype(np.float64)])
    return out


def constant(rows: TaskRows, label: Array) -> Metrics:
    """What the best constant answer of the training split, whose labels are `label` [m], reaches on `rows`."""
    return constant_metrics(rows.spec.kind, rows.spec.log_scale and rows.label.ndim == 1, rows.label, label)


def constant_metrics(kind: str, logs: bool, label: Array, trained: Array) -> Metrics:
    """The same from the labels alone: `label` [n] of the rows, `trained` [m] of the training split; `logs`: they are
    logarithms of amounts."""
    n = len(label)
    if kind in ("contrastive", "multiclass"):
        classes = int(max(trained.max(), label.max())) + 1
        counts = np.bincount(trained.astype(np.int64), minlength=classes).astype(np.float64)
        y = label.astype(np.int64)
        if kind == "multiclass":
            share, best = counts / len(trained), int(counts.argmax())
            above = (counts[None, :] > counts[:, None]).sum(axis=1)
            return class_metrics(y, np.full(n, best), np.full(n, share[best]), share[y], above[y])
        rank = len(counts) + 1 - weighted_ranks(counts)
        return BY_KIND[kind](label, rank[y], None)
    found = dict(BY_KIND[kind](label, np.full(n, trained.mean()), None))
    if logs:
        found |= amount_metrics(np.expm1(label), np.full(n, np.expm1(trained).mean()))
    return found


def commonest_share(kind: str, label: Array) -> float | None:
    """Share of positives (binary), or of the commonest class or brand, among labels [n]; None for a regression."""
    if not len(label) or kind == "regression":
        return None
    if kind == "binary":
        return float(label.mean())
    return float(np.bincount(label.astype(np.int64)).max() / len(label))
