"""The loss of a row, defined once for a model and for everything that it is held against.

- binary and classes: log loss of the probability of what happened (of a binary task the calibrated one), clamped at
  `metrics.CLAMP`;
- amounts: the loss that the task trains with, Huber's or the squared error, on the label's own scale (a logarithm where the
  task is `log_scale`) in standard deviations of the training labels; of several outputs the mean;
- brands: log loss over all brands.
A prediction that is no number is a miss, never left out: a probability of 0 for what happened, an amount at that end of the
range of the training labels that is farther from what was. Focal loss is no yardstick: a base rate scores above 1 on it.

The constant is what the training labels alone say: the share of each class or brand (with half a count more each, Krichevsky &
Trofimov 1981, so that what training never saw is not impossible), and of an amount the number with the lowest mean loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ple_model.metrics import CLAMP
from ple_model.tasks import Kind, TaskSpec

Array = NDArray[np.float64]
Loss = Literal["log_loss", "brand_log_loss", "huber", "squared_error"]
BISECTIONS = 80


@dataclass(frozen=True)
class Yardstick:
    """What the training labels say of a task: its constant answer and the scale of its loss."""

    task: str
    kind: Kind
    loss: Loss
    rows: int
    """Labelled training rows."""
    constant: tuple[float, ...]
    """Binary: (base rate,); classes and brands: a share each; amounts: a number an output, in the label's own scale."""
    mean: float = 0.0
    std: float = 1.0
    low: tuple[float, ...] = ()
    """Of an amount the least training label by output."""
    high: tuple[float, ...] = ()
    delta: float = 1.0
    """Width of the quadratic part of Huber's loss, in standard deviations."""

    def of_constant(self, label: ArrayLike) -> Array:
        """[n] losses of the constant."""
        y = np.asarray(label, dtype=np.float64)
        if self.kind == "regression":
            return self.of_amounts(y, np.broadcast_to(np.asarray(self.constant), y.shape))
        if self.kind == "binary":
            return of_binary(y, np.full(y.shape, self.constant[0]))
        return of_own(np.asarray(self.constant)[y.astype(np.int64)])

    def of_amounts(self, label: ArrayLike, prediction: ArrayLike) -> Array:
        """[n] losses of predictions [n] or [n, outputs] in the label's own scale."""
        y, p = np.asarray(label, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
        farthest = np.maximum(np.abs(y - np.asarray(self.low)), np.abs(y - np.asarray(self.high)))
        with np.errstate(invalid="ignore"):
            gap = np.where(np.isfinite(p), np.abs(p - y), farthest) / max(self.std, 1e-12)
        found = amount_loss(gap, self.loss, self.delta)
        return found if found.ndim == 1 else np.asarray(found.mean(axis=1))

    def of_probabilities(self, label: ArrayLike, p: ArrayLike) -> Array:
        """[n] losses of probabilities [n] (binary) or [n, classes]."""
        y, q = np.asarray(label, dtype=np.float64), np.asarray(p, dtype=np.float64)
        if self.kind == "binary":
            return of_binary(y, q)
        sound = np.isfinite(q).all(axis=1)
        return of_own(np.where(sound, np.take_along_axis(q, y.astype(np.int64)[:, None], axis=1)[:, 0], np.nan))

    def known(self, label: ArrayLike) -> NDArray[np.bool_]:
        """[n] rows that can be judged: their label is there, and a class or brand that training could know."""
        y = np.asarray(label, dtype=np.float64)
        there = np.isfinite(y) if y.ndim == 1 else np.isfinite(y).all(axis=1)
        if self.kind == "regression":
            return np.asarray(there)
        return np.asarray(there & (y >= 0) & (y < (2 if self.kind == "binary" else len(self.constant))))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def of_own(p: ArrayLike) -> Array:
    """[n] log losses from the probability of what happened; one that is no number is a miss."""
    q = np.asarray(p, dtype=np.float64)
    return np.asarray(-np.log(np.clip(np.where(np.isfinite(q), q, 0.0), CLAMP, 1.0)))


def of_binary(label: ArrayLike, p: ArrayLike) -> Array:
    """[n] log losses of P(y = 1)."""
    y, q = np.asarray(label, dtype=np.float64), np.asarray(p, dtype=np.float64)
    return of_own(np.where(y > 0.5, q, 1.0 - q))


def amount_loss(gap: ArrayLike, loss: Loss, delta: float) -> Array:
    """Of distances in standard deviations, any shape."""
    g = np.abs(np.asarray(gap, dtype=np.float64))
    if loss == "squared_error":
        return np.asarray(g**2)
    return np.where(g <= delta, 0.5 * g**2, delta * (g - 0.5 * delta))


def centre(values: ArrayLike, loss: Loss, delta: float) -> float:
    """The number with the lowest mean loss to `values` [n > 0], in standard deviations as these are."""
    x = np.asarray(values, dtype=np.float64)
    if loss == "squared_error":
        return float(x.mean())
    low, high = float(x.min()), float(x.max())
    for _ in range(BISECTIONS):  # the slope, a sum of clipped distances, falls with the centre
        middle = (low + high) / 2
        low, high = (middle, high) if float(np.clip(x - middle, -delta, delta).sum()) > 0 else (low, middle)
    return (low + high) / 2


def yardstick(
    spec: TaskSpec, labels: ArrayLike, *, classes: int = 0, scale: tuple[float, float] | None = None, delta: float = 1.0
) -> Yardstick | None:
    """Of training labels [n] ([n, outputs]); those that are missing (-1, NaN) are left out. None where none is there.

    `classes`: how many there are at least (brands). `scale`: mean and standard deviation where training used others than
    those of these labels."""
    y = np.asarray(labels, dtype=np.float64)
    loss = loss_of(spec)
    if spec.kind == "regression":
        y = y[np.isfinite(y) if y.ndim == 1 else np.isfinite(y).all(axis=1)]
        if not len(y):
            return None
        mean, std = scale if scale is not None else (float(y.mean()), float(y.std()) or 1.0)
        columns = y[:, None] if y.ndim == 1 else y
        step = max(std, 1e-12)
        best = tuple(centre((columns[:, k] - mean) / step, loss, delta) * step + mean for k in range(columns.shape[1]))
        low, high = (tuple(float(v) for v in f(columns, axis=0)) for f in (np.min, np.max))
        return Yardstick(spec.name, spec.kind, loss, len(y), best, mean, std, low, high, delta)
    y = y[np.isfinite(y) & (y >= 0)]
    if not len(y):
        return None
    if spec.kind == "binary":
        return Yardstick(spec.name, spec.kind, loss, len(y), (float((y.sum() + 0.5) / (len(y) + 1)),))
    width = max(classes, int(y.max()) + 1, spec.out_dim if spec.kind == "multiclass" else 0)
    counts = np.bincount(y.astype(np.int64), minlength=width) + 0.5
    return Yardstick(spec.name, spec.kind, loss, len(y), tuple(float(v) for v in counts / counts.sum()))


def among(values: Array, there: NDArray[np.bool_]) -> Array:
    """[m] values of the rows `there` [n] -> [n], NaN elsewhere."""
    out = np.full(len(there), np.nan)
    out[there] = values
    return out


def loss_of(spec: TaskSpec) -> Loss:
    """By which loss a task is judged."""
    if spec.kind == "regression":
        return "huber" if spec.loss == "huber" else "squared_error"
    return "brand_log_loss" if spec.kind == "contrastive" else "log_loss"


def yardstick_of(raw: Mapping[str, Any]) -> Yardstick:
    """The inverse of `to_dict`, of values whose types were checked; what a later release adds is passed over."""
    constant, low, high = (tuple(_number(v) for v in raw[k]) for k in ("constant", "low", "high"))
    mean, std, delta = (_number(raw[k]) for k in ("mean", "std", "delta"))
    return Yardstick(raw["task"], raw["kind"], raw["loss"], raw["rows"], constant, mean, std, low, high, delta)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
