"""Loss of the best constant predictor by task on the training split: the yardstick of every task's loss.

Task losses live on different scales (a focal loss of a rare task is about 0.01, the log-likelihood of 28 classes about 3).
Kendall weighting and early stopping divide each by what the best constant answer would lose. It depends on the config
(focal alpha and gamma, Huber's delta), so it is worked out when a run is created and kept with the run's context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model.config import Config
from ple_model.context import LabelScaler, ModelContext
from ple_model.data.dataset.reader import Dataset
from ple_model.tasks import TaskSpec

Array = NDArray[np.float64]


def with_training_statistics(context: ModelContext, dataset: Dataset, config: Config) -> tuple[ModelContext, list[str]]:
    """The context with `constant_loss` of every enabled task that has training labels (and a label scaler where it has none),
    and a warning for each task that training cannot learn."""
    constants: dict[str, float] = {}
    scalers = dict(context.label_scalers)
    warnings: list[str] = []
    for name, spec in config.tasks.items():
        labels = task_labels(dataset, name)
        if not len(labels):
            warnings.append(
                f"task '{name}' has no labels in the training split: it is not trained"
                + (f" (a label needs {spec.needs})" if spec.needs else "")
            )
            continue
        if spec.kind == "regression":
            scalers.setdefault(name, LabelScaler(float(labels.mean()), float(labels.std()) or 1.0))
            scaler = scalers[name]
            labels = (labels - scaler.mean) / max(scaler.std, 1e-12)
        value = constant_loss(spec, labels, gamma=config.training.focal_gamma, delta=config.training.huber_delta)
        if value <= 0:
            warnings.append(f"task '{name}' has one and the same label in the whole training split: there is nothing to learn")
        constants[name] = value
    return replace(context, constant_loss=constants, label_scalers=scalers), warnings


def constant_loss(spec: TaskSpec, labels: Array, *, gamma: float = 2.0, delta: float = 1.0) -> float:
    """Lowest mean loss that one and the same prediction can have on `labels` [n] (n > 0; regression: standardised)."""
    if spec.loss == "focal":
        return _constant_focal(float(labels.mean()), spec.focal_alpha or 0.25, gamma)
    if spec.loss == "mse":
        return float(labels.var())
    if spec.loss == "huber":
        return _constant_huber(labels, delta)
    share = np.bincount(labels.astype(np.int64)) / len(labels)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def _constant_focal(rate: float, alpha: float, gamma: float) -> float:
    if rate in (0.0, 1.0):
        return 0.0
    from scipy.optimize import minimize_scalar  # late: scipy.optimize, when a constant is asked for alone

    def mean_loss(z: float) -> float:
        p = 1.0 / (1.0 + np.exp(-z))
        positive = alpha * (1 - p) ** gamma * np.logaddexp(0, -z)
        negative = (1 - alpha) * p**gamma * np.logaddexp(0, z)
        return float(rate * positive + (1 - rate) * negative)

    return float(minimize_scalar(mean_loss, bounds=(-16.0, 16.0), method="bounded").fun)


def _constant_huber(labels: Array, delta: float) -> float:
    from scipy.optimize import minimize_scalar  # late: as above

    def mean_loss(centre: float) -> float:
        gap = np.abs(labels - centre)
        return float(np.where(gap <= delta, 0.5 * gap**2, delta * (gap - 0.5 * delta)).mean())

    low, high = float(labels.min()), float(labels.max())
    return mean_loss(low) if low == high else float(minimize_scalar(mean_loss, bounds=(low, high), method="bounded").fun)


def task_labels(dataset: Dataset, task: str) -> Array:
    """Training labels that are there, flat."""
    if task not in dataset.manifest.tasks:
        return np.empty(0)
    column = dataset.table([f"y_{task}"], "train").column(0).combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    values = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    return values[np.isfinite(values)] if pa.types.is_floating(column.type) else values[values >= 0]


def ratios(losses: Mapping[str, float], context: ModelContext) -> dict[str, float]:
    """Each loss over its constant predictor's; a task without one is left out."""
    return {k: v / context.constant_loss[k] for k, v in losses.items() if context.constant_loss.get(k, 0.0) > 0}
