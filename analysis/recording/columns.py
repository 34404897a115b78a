"""The scalars of every row; `analysis.stored_rows` says what each column is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from scipy.special import stdtr
from torch import Tensor

from analysis.judging import Judge
from analysis.recording.batches import mixed_rows
from analysis.recording.odd_days import DayScorer
from analysis.stats import transfer
from analysis.stats.base import entropy
from analysis.stored_rows import NOBODY
from ple_model.batch import PLEClusterInput
from ple_model.calibration import CalibrationMap
from ple_model.data.dataset.batches import Batch
from ple_model.fields import SEGMENTS
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput
from ple_model.presence import fallback_column
from ple_model.scoring import brand_ranks, labelled
from ple_model.tensors import as_numpy


class RowColumns:
    """The columns of a batch's rows."""

    def __init__(
        self, model: PLEClusterAdaTT, calibration: Mapping[str, CalibrationMap], judge: Judge, days: DayScorer | None = None
    ) -> None:
        self.model, self.calibration, self.judge, self.days = model, calibration, judge, days

    def of(self, rows: NDArray[np.int64], batch: Batch, output: PLEClusterOutput) -> dict[str, Any]:
        encoded, inputs = output.encoded, batch.inputs
        segment = inputs.customer_segment
        named = ["unknown"] * len(batch) if segment is None else [SEGMENTS[int(i)] for i in segment]
        columns: dict[str, Any] = {
            "row": rows, "customer_id": batch.customer_id, "cutoff": batch.cutoff, "split": batch.split, "segment": named,
            "cluster": as_numpy(inputs.cluster_ids).astype(np.int32), "aux": mixed_rows(inputs),
        }  # fmt: skip
        for name, value in encoded.expert_outputs.items():
            columns[f"n:{name}"] = as_numpy(value.norm(dim=1), np.float32)
            columns[fallback_column(name)] = ~as_numpy(encoded.expert_present[name])
        weights = output.gate_weights.float().numpy()
        spread = entropy(weights).astype(np.float32)
        by_task = np.ascontiguousarray(weights.transpose(1, 2, 0))
        for i, task in enumerate(self.model.task_names):
            for j, name in enumerate(self.model.expert_names):
                columns[f"g:{task}:{name}"] = by_task[i, j]
            columns[f"h:{task}"] = np.ascontiguousarray(spread[:, i])
            known = np.isfinite(by_task[i]).all(0)
            columns[f"k:{task}"] = np.where(known, by_task[i].argmax(0), NOBODY).astype(np.uint8)
            columns[f"m:{task}"] = by_task[i].max(0)
        for task in self.model.task_names:
            columns |= self._of_task(task, inputs, output)
            columns |= self.judge.columns(task, rows, inputs.targets or {}, output.predictions[task].float())
        for mode, flag in encoded.hmm_default.items():
            columns[f"d:{mode}"] = as_numpy(flag)
        added = {k: as_numpy(v) for k, v in output.transfer.items()}
        own = {k: as_numpy(v) for k, v in output.task_expert.items()}
        for edge, share in transfer.row_ratios(added, own).items():
            columns[f"t:{edge}"] = share.astype(np.float32)
        if output.sae is not None:
            columns["l0"] = as_numpy((output.sae.latent > 0).sum(1)).astype(np.int32)
        if self.days is not None:
            columns |= self.days.columns(inputs)
        return {
            k: _null_unless_finite(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in columns.items()
        }

    def _of_task(self, task: str, inputs: PLEClusterInput, output: PLEClusterOutput) -> dict[str, Any]:
        spec = self.model.tasks[task]
        value = output.predictions[task].float()
        label = (inputs.targets or {}).get(task)
        columns: dict[str, Any] = {}
        if spec.kind == "binary":
            calibration = self.calibration.get(task)
            shown_p = as_numpy(value, np.float32) if calibration is None else np.asarray(calibration(as_numpy(value)))
            columns[f"p:{task}"] = shown_p.astype(np.float32)
        elif spec.kind == "regression":
            shown = self.model.to_units(task, value)
            columns[f"p:{task}"] = as_numpy(shown if shown.dim() == 1 else shown.mean(1), np.float32)
        else:
            scores = torch.softmax(self.model.brand_logits(value), 1) if spec.kind == "contrastive" else value
            top = scores.max(dim=1)
            known = as_numpy(torch.isfinite(scores).all(dim=1))  # argmax of NaN would name a class, perhaps the right one
            columns[f"p:{task}"] = np.where(known, as_numpy(top.values, np.float32), np.float32(np.nan))
            columns[f"c:{task}"] = np.where(known, as_numpy(top.indices), -1).astype(np.int32)
        if task in output.evidential:
            head = output.evidential[task]
            u, e = head.uncertainty, head.strength
            columns[f"u:{task}"], columns[f"e:{task}"] = (
                as_numpy(u if u.dim() == 1 else u.mean(1), np.float32),
                as_numpy(e if e.dim() == 1 else e.mean(1), np.float32),
            )
            columns |= self._of_head(task, label, output)
        judged = {} if label is None else self._judged(task, label, value)
        defined = as_numpy(inputs.defined(task))
        if not defined.all():  # what the tower says of a row that the task is not defined for is no prediction
            empty = pa.array(defined)
            columns = {k: pc.if_else(empty, _arrow(v), pa.scalar(None, _arrow(v).type)) for k, v in columns.items()}
        if label is not None:
            if spec.kind == "regression":
                y = torch.expm1(label.float()) if spec.log_scale else label.float()
                columns[f"y:{task}"] = pa.array(as_numpy(y if y.dim() == 1 else y.mean(1)).astype(np.float32), from_pandas=True)
            else:
                y_int = as_numpy(label).astype(np.int32)
                columns[f"y:{task}"] = pa.array(y_int, mask=y_int < 0)
        return columns | judged

    def _of_head(self, task: str, label: Tensor | None, output: PLEClusterOutput) -> dict[str, Any]:
        """a:<task> aleatoric uncertainty; q:<task> predictive distribution at the label (regression); s:<task>:<class>
        probabilities of a three-class task, for the simplex."""
        spec, head = self.model.tasks[task], output.evidential[task]
        a = head.aleatoric
        columns: dict[str, Any] = {f"a:{task}": as_numpy(a if a.dim() == 1 else a.mean(1), np.float32)}
        if spec.kind == "multiclass" and spec.out_dim == 3:
            names = self.model.context.class_names.get(task, spec.classes)
            for i in range(3):
                name = names[i] if i < len(names) else f"class {i}"
                columns[f"s:{task}:{name}"] = as_numpy(output.predictions[task][:, i], np.float32)
        if head.kind == "nig" and label is not None and label.dim() == 1:
            assert head.gamma is not None
            assert head.nu is not None
            assert head.beta is not None
            scaler = self.model.context.label_scalers.get(task)
            y = as_numpy(label.double() if scaler is None else (label.double() - scaler.mean) / scaler.std)
            gamma, nu, alpha, beta = (as_numpy(t.double()) for t in (head.gamma, head.nu, head.alpha, head.beta))
            spread = np.sqrt(beta * (1 + nu) / (nu * alpha))  # the NIG's predictive is a Student-t of 2 alpha degrees
            level = stdtr(2 * alpha, (y - gamma) / spread)
            columns[f"q:{task}"] = pa.array(np.asarray(level, dtype=np.float32), from_pandas=True)
        return columns

    def _judged(self, task: str, label: Tensor, value: Tensor) -> dict[str, Any]:
        """What metrics need beside p:, c: and y:. z:<task> predicted logarithm; z:<task>:<k> and l:<task>:<k> prediction and
        label of each of several outputs; o:<task> probability of the label's class; r:<task> its rank from 1, or that of the
        label's brand: infinite where its score is no number, NULL for a brand that the model does not know."""
        spec = self.model.tasks[task]
        if spec.kind == "regression":
            told = self.model.to_label(task, value)
            if told.dim() == 1:
                return {f"z:{task}": as_numpy(told, np.float32)} if spec.log_scale else {}
            pairs = [(f"z:{task}:{k}", told[:, k]) for k in range(told.shape[1])]
            pairs += [(f"l:{task}:{k}", label[:, k]) for k in range(told.shape[1])]
            return {name: as_numpy(column, np.float32) for name, column in pairs}
        if spec.kind == "binary":
            return {}
        there = labelled(label)
        if spec.kind == "contrastive":
            scores = self.model.brand_logits(value)
            there &= label < scores.shape[1]
            rank = torch.full(label.shape, torch.inf)
            rank[there] = brand_ranks(scores[there], label[there]).to(rank.dtype)
            return {f"r:{task}": pa.array(as_numpy(rank, np.float32), mask=~as_numpy(there))}
        own = value.gather(1, label.clamp(0, value.shape[1] - 1)[:, None])
        above = (value > own).sum(dim=1) + 1
        mask = ~as_numpy(there & torch.isfinite(value).all(dim=1))
        return {
            f"o:{task}": pa.array(as_numpy(own[:, 0], np.float32), mask=mask),
            f"r:{task}": pa.array(as_numpy(above, np.float32), mask=mask),
        }


def _arrow(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def _null_unless_finite(values: NDArray[Any]) -> Any:
    """A column in which what is no number is NULL: SQL would take it into every mean."""
    known = np.isfinite(values)
    return values if known.all() else pa.array(values, mask=~known)
