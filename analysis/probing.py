"""Linear probes along the way of the tasks that lack skill or are behind, on the bounded sample of encoded rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.labels import ReadRows
from analysis.readers import Reader, readable
from analysis.stats.base import MIN_ROWS, Array
from analysis.stats.probes import TaskProbe, explained, halves, target, where_lost
from analysis.stats.skill import TaskSkill, behind_simpler, best_split, has_skill
from ple_model.tensors import as_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from ple_model.calibration import CalibrationMap
    from ple_model.model import PLEClusterAdaTT
    from ple_model.output import Encoded, PLEClusterOutput

TASKS = 4
"""Tasks that are probed at most, those that are farthest behind."""
ROWS = 1_000
"""Rows of a probe at most: a measurement may not become much slower for them."""


@dataclass(frozen=True)
class ProbedRows:
    """Rows of the bounded sample: encoded, with their labels, customers, splits and numbers."""

    encoded: Encoded
    targets: Mapping[str, Tensor]
    customers: Sequence[str]
    split: Sequence[str]
    row: NDArray[np.int64]


def wanting(skill: dict[str, dict[str, TaskSkill]]) -> list[str]:
    """Tasks that lack skill, or are behind a simpler model by more than the interval, the farthest behind first."""
    gaps: dict[str, float] = {}
    for task, v in best_split(skill).items():
        behind = behind_simpler(v) or 0.0
        if has_skill(v) is False or (has_skill(v) and behind):
            gaps[task] = behind
    return sorted(gaps, key=lambda task: -gaps[task])[:TASKS]


def probe(
    model: PLEClusterAdaTT,
    rows: ProbedRows,
    read: ReadRows,
    calibration: Mapping[str, CalibrationMap],
    tasks: Sequence[str],
) -> dict[str, TaskProbe]:
    """By task; rows that the model did not learn from, where there are enough of them."""
    if not tasks:
        return {}
    fresh = np.array([s != "train" for s in rows.split])
    chosen = fresh if fresh.sum() >= 2 * MIN_ROWS else np.ones(len(fresh), dtype=bool)
    with torch.no_grad():
        output = model.decode(rows.encoded, sae=False, evidential=False)
    inputs = _inputs(read, rows.row)
    shared: dict[str, NDArray[np.floating]] = {"inputs": inputs, "experts": as_numpy(output.shared_concat, np.float64)}
    readers = Readers(shared | {f"expert {k}": as_numpy(v, np.float64) for k, v in rows.encoded.expert_outputs.items()})
    out = {}
    for task in tasks:
        found = _task(model, output, task, rows, readers, calibration.get(task), chosen)
        if found is not None:
            out[task] = found
    return out


class Readers:
    """Representations that all tasks share; one that is read on the same rows for several tasks is prepared once."""

    def __init__(self, values: Mapping[str, NDArray[np.floating]]) -> None:
        self.values, self._made = values, dict[tuple[str, bytes], Reader]()

    def readable(self, name: str, known: NDArray[np.int64], y: Array, half: NDArray[np.bool_]) -> float:
        key = (name, known.tobytes())
        if key not in self._made:
            self._made[key] = Reader(self.values[name][known], half)
        return self._made[key].readable(y)


def _inputs(read: ReadRows, row: NDArray[np.int64]) -> NDArray[np.float32]:
    """[n, c] what the model read of the rows; what is not there is the column's mean."""
    place = {int(r): i for i, r in enumerate(read.row)}
    values = read.values[[place[int(r)] for r in row]]
    there = np.isfinite(values)
    mean = np.where(there, values, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return np.where(there, values, mean).astype(np.float32)


def _task(
    model: PLEClusterAdaTT,
    output: PLEClusterOutput,
    task: str,
    rows: ProbedRows,
    readers: Readers,
    calibration: CalibrationMap | None,
    chosen: NDArray[np.bool_],
) -> TaskProbe | None:
    spec, at = model.tasks[task], model.task_names.index(task)
    label = rows.targets.get(task)
    if label is None or label.dim() != 1 or spec.kind == "contrastive":
        return None
    y = label.double().numpy()
    if spec.kind != "regression":
        y = np.where(y < 0, np.nan, y)
    known = np.flatnonzero(np.isfinite(y) & chosen)[:ROWS]
    if len(known) < MIN_ROWS or len(np.unique(y[known])) < 2:
        return None
    if spec.kind == "regression":
        scaler = model.context.label_scalers.get(task)
        y = y if scaler is None else (y - scaler.mean) / scaler.std
    wanted, half = target(spec.kind, y[known]), halves(np.asarray(rows.customers, dtype=str)[known].tolist())
    width = dict(zip(model.expert_names, (v.shape[1] for v in rows.encoded.expert_outputs.values()), strict=True))
    share = (output.gate_weights[:, at] * model.cgc.block_scale).repeat_interleave(torch.tensor(list(width.values())), dim=1)
    parts = {"encoder": output.encoder_outputs[:, at], "task_layer": output.task_expert[task]}
    stages = {name: readers.readable(name, known, wanted, half) for name in ("inputs", "experts")}
    stages |= {name: readable(as_numpy(v, np.float64)[known], wanted, half) for name, v in parts.items()}
    stages["gate"] = readable(as_numpy(output.shared_concat * share, np.float64)[known], wanted, half, alike=True)
    stages["prediction"] = explained(wanted, _predicted(spec.kind, output.predictions[task], y, known, calibration))
    experts = {k: readers.readable(f"expert {k}", known, wanted, half) for k in rows.encoded.expert_outputs}
    return TaskProbe(len(known), stages, experts, where_lost(stages))


def _predicted(kind: str, value: Tensor, y: Array, known: NDArray[np.int64], calibration: CalibrationMap | None) -> Array:
    p = as_numpy(value.double(), np.float64)[known]
    if kind == "multiclass":
        return np.asarray(p[:, np.unique(y[known]).astype(np.int64)])
    if kind == "binary" and calibration is not None:
        p = np.asarray(calibration(p))
    return np.asarray(p[:, None], dtype=np.float64)
