"""The losses of every row while a run is recorded: the model's, the constant's, and what the stored baselines lose on it.

One definition for all (`ple_model.row_loss`), by the yardsticks of `ple_model.yardsticks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from analysis.written import rows_of_training
from ple_model.data.dataset.reader import Dataset
from ple_model.row_loss import Yardstick, among, of_binary, of_own
from ple_model.skill import StoredBaselines, stored, stored_by_key
from ple_model.yardsticks import of_run, usable

if TYPE_CHECKING:
    from torch import Tensor

    from ple_model.calibration import CalibrationMap
    from ple_model.model import PLEClusterAdaTT
    from ple_model.run import Run

Array = NDArray[np.float64]


class Judge:
    """What a run's predictions of the rows of `data` are held against."""

    def __init__(
        self,
        run: Run,
        model: PLEClusterAdaTT,
        data: Dataset,
        calibration: Mapping[str, CalibrationMap],
        rows: range | None = None,
    ) -> None:
        """`rows`: numbers in the dataset of those that are to be judged, of which alone stored losses are read; None: all."""
        self.model, self.calibration = model, calibration
        train, rows = data.rows("train"), range(data.manifest.rows) if rows is None else rows
        self.first = max(train, rows.start)
        """The row that the stored losses held here begin with."""
        found = stored(data) or self._of_the_same_rows(run, data)
        losses = {} if found is None else found.between(self.first - train, rows.stop - train)
        self.yardsticks: dict[str, Yardstick] = {}
        self.others: dict[str, dict[str, Array]] = {}
        self.trained_on: dict[str, int] = {}
        for task, spec in model.tasks.items():
            judge = of_run(run, data, spec, found)
            if judge is not None:
                self.yardsticks[task] = judge
            known = usable(run, spec, found)
            if known is not None:
                self.others[task] = {k: v for k, v in losses[task].items() if k != "constant"}
                self.trained_on[task] = known.train_rows

    @staticmethod
    def _of_the_same_rows(run: Run, data: Dataset) -> StoredBaselines | None:
        """The baselines of a run's stored customers where these are the very rows of training, in another order."""
        own = data.path == run.path / "sample"
        return stored_by_key(data) if own and rows_of_training(run) else None

    def columns(self, task: str, rows: NDArray[np.int64], targets: Mapping[str, Tensor], value: Tensor) -> dict[str, Any]:
        """`w:<task>:<whose>` loss of the rows numbered `rows` in the dataset; NULL without a label. `value`: the tower's
        prediction of the task."""
        judge, label = self.yardsticks.get(task), targets.get(task)
        if judge is None or label is None:
            return {}
        y = label.double().cpu().numpy()
        there = judge.known(np.where(y < 0, np.nan, y) if judge.kind != "regression" else y)
        found = {
            "constant": among(judge.of_constant(y[there]), there),
            "model": among(self._loss(task, y, value, there), there),
        }
        for name, loss in self.others.get(task, {}).items():
            place = rows - self.first
            mine = np.full(len(rows), np.nan)
            mine[place >= 0] = loss[place[place >= 0]]
            found[name] = np.where(there, mine, np.nan)
        return {f"w:{task}:{name}": pa.array(loss.astype(np.float32), from_pandas=True) for name, loss in found.items()}

    def _loss(self, task: str, y: Array, value: Tensor, there: NDArray[np.bool_]) -> Array:
        judge, spec = self.yardsticks[task], self.model.tasks[task]
        chosen = torch.from_numpy(np.flatnonzero(there))
        value = value[chosen]
        if spec.kind == "binary":
            p = value.double().numpy()
            return of_binary(y[there], _calibrated(p, self.calibration.get(task)))
        if spec.kind == "regression":
            # as the task is trained: without the shift that makes its sums right, which Huber's loss does not ask for
            scaler = self.model.context.label_scalers.get(task)
            told = value.double().numpy()
            return judge.of_amounts(y[there], told if scaler is None else told * scaler.std + scaler.mean)
        if spec.kind == "multiclass":
            return judge.of_probabilities(y[there], value.double().numpy())
        scores = self.model.brand_logits(value).double()
        own = y[there].astype(np.int64)
        known = own < scores.shape[1]  # a brand that the model never saw has no probability in it
        p = np.zeros(len(own))
        if known.any():
            index = torch.from_numpy(own[known])[:, None]
            p[known] = (
                torch.log_softmax(scores[torch.from_numpy(np.flatnonzero(known))], 1).gather(1, index)[:, 0].exp().numpy()
            )
        return of_own(p)


def _calibrated(p: Array, calibration: CalibrationMap | None) -> Array:
    """What is no number stays none: a calibration map clamps."""
    if calibration is None:
        return p
    return np.where(np.isfinite(p), calibration(np.where(np.isfinite(p), p, 0.5)), np.nan)
