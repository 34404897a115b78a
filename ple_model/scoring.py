"""Model x split of a dataset -> predictions and labels by task, in the units a reader knows.

Binary predictions are the tower's p, calibrated where a map is given; regressions are brought back to the label's unit; of the
brand task only the rank of the true brand is kept, since the scores are [rows, brands].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.calibration import CalibrationMap
from ple_model.data.dataset.reader import Dataset
from ple_model.finite import Tally
from ple_model.model import PLEClusterAdaTT
from ple_model.tasks import TaskSpec
from ple_model.tensors import as_numpy


@dataclass(frozen=True)
class TaskRows:
    """Labelled rows of one task. `label` and `prediction` [n] ([n, K] for multiclass; rank from 1 for contrastive)."""

    spec: TaskSpec
    row: NDArray[np.int64]
    """Position in the split's order, for joining other columns."""
    label: NDArray[np.float64]
    prediction: NDArray[np.float64]
    own: NDArray[np.float64] | None = None
    """[n] of the brand task: the probability of the row's brand among all."""

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Scores:
    """Predictions of a whole split."""

    split: str
    customer_id: list[str]
    cutoff: list[str]
    tasks: dict[str, TaskRows]
    tally: Tally
    """Rows whose inputs or predictions are no numbers; who draws numbers from these asks it first."""

    def customers(self, task: str) -> list[str]:
        """Customer of each labelled row of `task`."""
        return [self.customer_id[i] for i in self.tasks[task].row]


def labelled(label: Tensor) -> Tensor:
    """[B] bool: rows that have this label (class: not -1; regression: every entry a number)."""
    if not label.is_floating_point():
        return label >= 0
    known = ~torch.isnan(label)
    return known if known.dim() == 1 else known.flatten(1).all(dim=1)


@torch.no_grad()
def score(
    model: PLEClusterAdaTT, dataset: Dataset, split: str, *, calibration: Mapping[str, CalibrationMap] | None = None,
    batch_size: int = 1024,
) -> Scores:  # fmt: skip
    """Predictions of `model` (eval mode, on its own device) for every labelled row of `split`, in file order."""
    device = next(model.parameters()).device
    tally = Tally(f"the {split} split of {dataset.path}")
    customers: list[str] = []
    cutoffs: list[str] = []
    pieces: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]] = {t: [] for t in model.tasks}
    own: dict[str, list[NDArray[np.float64]]] = {t: [] for t in model.tasks}
    for batch in dataset.batches(split, batch_size):
        inputs = batch.inputs.to(device)
        tally.add_inputs(inputs, batch.customer_id)
        output = model(inputs)
        tally.add_output(output, batch.customer_id)
        for name, spec in model.tasks.items():
            label = (inputs.targets or {}).get(name)
            if label is None:
                continue
            prediction = output.predictions[name]
            rows = labelled(label).nonzero().flatten()
            if spec.kind == "contrastive":
                label, prediction, rows, p = _ranked(model, prediction, label, rows)
                own[name].append(as_numpy(p, np.float64))
            elif spec.kind == "regression":
                label, prediction = label[rows], model.to_label(name, prediction[rows])
            else:
                label, prediction = label[rows], prediction[rows]
            pieces[name].append(
                (rows.cpu().numpy() + len(customers), as_numpy(label, np.float64), as_numpy(prediction, np.float64))
            )
        customers += batch.customer_id
        cutoffs += batch.cutoff
    tasks: dict[str, TaskRows] = {}
    for name, parts in pieces.items():
        if not parts:
            continue
        row, label_array, predicted = (np.concatenate(p) for p in zip(*parts, strict=True))
        if calibration and name in calibration:
            predicted = calibration[name](predicted)
        tasks[name] = TaskRows(model.tasks[name], row, label_array, predicted, np.concatenate(own[name]) if own[name] else None)
    return Scores(split, customers, cutoffs, tasks, tally)


def _ranked(model: PLEClusterAdaTT, query: Tensor, label: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(label, mid-rank of the true brand from 1, rows, its probability) of the rows whose brand the model knows."""
    scores = model.brand_logits(query[rows])
    rows, scores = rows[label[rows] < scores.shape[1]], scores[label[rows] < scores.shape[1]]
    p = torch.softmax(scores.double(), dim=1).gather(1, label[rows][:, None])[:, 0]
    return label[rows], brand_ranks(scores, label[rows]), rows, p


def brand_ranks(scores: Tensor, label: Tensor) -> Tensor:
    """[n] mid-rank from 1 of each row's brand among scores [n, brands]. A score that is no number stands above: a comparison
    with NaN is false, and "how many are above" would be none. Infinite where the brand's own score is no number."""
    own = scores.gather(1, label[:, None])
    above, level = (~(scores <= own)).sum(dim=1), (scores == own).sum(dim=1)
    return torch.where(torch.isfinite(own[:, 0]), above + (level + 1) / 2, torch.inf)
