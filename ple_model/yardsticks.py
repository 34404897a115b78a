"""By which yardstick a run's predictions of some rows are judged, the same for `ple evaluate` and for a diagnosis.

That of the baselines that lie with the rows; else of the rows' own training split; else of the run's stored training customers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ple_model.baseline_folder import StoredBaselines, TaskBaselines
from ple_model.data.dataset.columns import decode_column
from ple_model.errors import UserError
from ple_model.row_loss import Yardstick, loss_of, yardstick

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run
    from ple_model.tasks import TaskSpec

Array = NDArray[np.float64]


def of_run(run: Run, data: Dataset, spec: TaskSpec, found: StoredBaselines | None) -> Yardstick | None:
    """Of one task; None where no training label is at hand. `found`: the baselines of `data`."""
    known = usable(run, spec, found)
    if known is not None:
        return known.yardstick
    context = run.context()
    scaler = context.label_scalers.get(spec.name)
    for source in (data, _sample(run, data)):
        if source is None or not source.rows("train") or spec.name not in source.manifest.tasks:
            continue
        judge = yardstick(
            spec, training_column(source, spec.name), classes=len(context.brands) if spec.kind == "contrastive" else 0,
            scale=None if scaler is None else (scaler.mean, scaler.std), delta=run.config.training.huber_delta,
        )  # fmt: skip
        if judge is not None:
            return judge
    return None


def usable(run: Run, spec: TaskSpec, found: StoredBaselines | None) -> TaskBaselines | None:
    """What the baselines say of a task, if it is by the loss that the run trains with."""
    known = None if found is None else found.tasks.get(spec.name)
    if known is None:
        return None
    judge = known.yardstick
    same = (judge.kind, judge.loss) == (spec.kind, loss_of(spec))
    if spec.kind in ("regression", "multiclass"):
        same = same and len(judge.constant) >= spec.out_dim
    return known if same and (judge.loss != "huber" or judge.delta == run.config.training.huber_delta) else None


def _sample(run: Run, data: Dataset) -> Dataset | None:
    if data.path == run.path / "sample":
        return None
    try:
        return run.sample()
    except UserError:
        return None


def training_column(dataset: Dataset, task: str) -> Array:
    """[n] or [n, outputs] labels of the training split, missing ones as they stand in the file (-1, NaN)."""
    column = dataset.table([f"y_{task}"], "train").column(0)
    return np.asarray(decode_column(column, f"y_{task}", dataset.path), dtype=np.float64)
