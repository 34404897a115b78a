"""A batch of customers -> its rows of a score file, as a table; the columns are those that `ple_model.predict` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.calibration import CalibrationMap
from ple_model.data.dataset.batches import Batch
from ple_model.fields import NO_CUTOFF, SEGMENTS
from ple_model.finite import Tally
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput
from ple_model.sequences.scoring import AnomalyScorer
from ple_model.tensors import as_numpy
from ple_model.uncertainty import row_uncertainty

OFFER_TASK = "nba"
DORMANT = "dormant: no purchase, deposit or session in the 365 days before the cut-off"
UNLEARNED = "no label in training"


@dataclass(frozen=True)
class Scorer:
    """A batch -> its rows as a table."""

    model: PLEClusterAdaTT
    calibration: Mapping[str, CalibrationMap]
    thresholds: Mapping[str, float]
    top: int
    tally: Tally
    unseen: str = ""
    """Why dormant rows get no score; empty: they get one."""
    anomaly: AnomalyScorer | None = None
    classes: dict[str, NDArray[np.object_]] = field(init=False)

    def __post_init__(self) -> None:
        context = self.model.context
        names = {t: context.class_names.get(t) or s.classes for t, s in self.model.tasks.items() if s.kind == "multiclass"}
        names |= {t: context.brands for t, s in self.model.tasks.items() if s.kind == "contrastive"}
        object.__setattr__(self, "classes", {t: np.array(n, dtype=object) for t, n in names.items()})

    @torch.no_grad()
    def table(self, batch: Batch) -> pa.Table:
        inputs = batch.inputs.to(next(self.model.parameters()).device)
        self.tally.add_inputs(inputs, batch.customer_id)
        output = self.model(inputs)
        self.tally.add_output(output, batch.customer_id)
        segment = batch.inputs.customer_segment
        columns: dict[str, Any] = {
            "customer_id": pa.array(batch.customer_id, pa.string()),
            "cutoff": pa.array([None if c == NO_CUTOFF else c for c in batch.cutoff], pa.string()),
            "segment": pa.array([None] * len(batch) if segment is None else [SEGMENTS[int(i)] for i in segment], pa.string()),
        }
        dormant = np.zeros(len(batch), np.bool_) if segment is None else segment.cpu().numpy() == SEGMENTS.index("dormant")
        columns["fallback_reason"] = pa.array([DORMANT if x else None for x in dormant], pa.string())
        if self.anomaly is not None:
            columns["anomaly"] = pa.array(self.anomaly(inputs), pa.float32(), from_pandas=True)
        for task in self.model.tasks:
            columns |= self._task(task, output, batch.inputs.defined(task).cpu().numpy(), dormant)
        if OFFER_TASK in self.model.tasks:
            offers = self._offers(output)
            columns |= {k: _where(~dormant, v) for k, v in offers.items()} if self.unseen else offers
        return _emptied(pa.table(columns), tuple(t for t in self.model.tasks if not self.model.context.learned(t)))

    def _task(
        self, task: str, output: PLEClusterOutput, defined: NDArray[np.bool_], dormant: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """The task's columns; NULL where it is not defined, with the reason."""
        learned = self.model.context.learned(task)
        reason = (None if learned else UNLEARNED, self.model.tasks[task].condition.unmet())
        unseen = dormant & defined if self.unseen else np.zeros(len(defined), np.bool_)
        columns = {k: _where(defined & ~unseen, v) for k, v in self._scores(task, output).items()}
        high = columns.pop(f"{task}_high", pa.array(np.zeros(len(defined), np.bool_))).fill_null(False)
        columns[f"{task}_fallback"] = pa.array(high.to_numpy(zero_copy_only=False) | dormant | ~defined)
        why = [reason[0] if x else reason[1] for x in defined]
        why = [self.unseen if u and learned else y for y, u in zip(why, unseen, strict=True)]
        columns[f"{task}_reason"] = pa.array(why, pa.string())
        return columns

    def _scores(self, task: str, output: PLEClusterOutput) -> dict[str, Any]:
        spec, value = self.model.tasks[task], output.predictions[task].float()
        columns: dict[str, Any] = {}
        if spec.kind == "binary":
            p = as_numpy(value, np.float32)
            columns[task] = self.calibration[task](p).astype(np.float32) if task in self.calibration else p
        elif spec.kind == "regression":
            shown = self.model.to_units(task, value)
            if spec.log_scale:
                median = torch.expm1(self.model.to_label(task, value))  # amounts are skewed to the right: never above the mean
                columns[f"{task}_median"] = as_numpy(torch.minimum(median, shown), np.float32)
            numbers = as_numpy(shown, np.float32)
            columns[task] = numbers if shown.dim() == 1 else pa.array(numbers.tolist(), pa.list_(pa.float32()))
        else:
            scores = torch.softmax(self.model.brand_logits(value), dim=1) if spec.kind == "contrastive" else value
            best = scores.max(dim=1)
            columns[task] = self._named(task, best.indices)
            columns[f"{task}_p"] = as_numpy(best.values, np.float32)
        if task in output.evidential:
            uncertainty = as_numpy(row_uncertainty(output.evidential[task]), np.float32)
            columns[f"{task}_uncertainty"] = uncertainty
            if task in self.thresholds:
                columns[f"{task}_high"] = uncertainty > np.float32(self.thresholds[task])
        return columns

    def _named(self, task: str, index: Tensor) -> pa.Array:
        """Class names where the run knows them, else the class's number as text."""
        names, found = self.classes[task], index.cpu().numpy()
        text = [names[i] if i < len(names) else str(i) for i in found.ravel()]
        return pa.array(text, pa.string())

    def _offers(self, output: PLEClusterOutput) -> dict[str, Any]:
        p = output.predictions[OFFER_TASK].float()
        best = p.topk(min(self.top, p.shape[1]), dim=1)
        width = best.indices.shape[1]
        names = self._named(OFFER_TASK, best.indices)
        offsets = pa.array(np.arange(0, len(names) + 1, width), pa.int32())
        values = pa.array(as_numpy(best.values, np.float32).ravel(), pa.float32())
        return {
            "offers": pa.ListArray.from_arrays(offsets, names),
            "offers_p": pa.ListArray.from_arrays(offsets, values),
        }


def _emptied(table: pa.Table, tasks: tuple[str, ...]) -> pa.Table:
    """The table with the columns of these tasks all NULL, of the same types, so that readers find every column."""
    empty = {f"{t}{end}" for t in tasks for end in ("", "_p", "_median", "_uncertainty", "_fallback")}
    empty |= {"offers", "offers_p"} if OFFER_TASK in tasks else set()
    for k, column in enumerate(table.schema):
        if column.name in empty:
            table = table.set_column(k, column, pa.nulls(table.num_rows, column.type))
    return table


def _where(keep: NDArray[np.bool_], values: Any) -> pa.Array:
    """The values where `keep`, else NULL."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return pc.if_else(pa.array(keep), array, pa.scalar(None, array.type))
