"""From the logarithm of an amount to the amount itself: what is shown of a task whose label is log(1 + x).

A network that learns log(1 + x) predicts, transformed back, about a median: its sum over customers is a fraction of what
they will spend, since a few large amounts carry the sum (Duan 1983, "Smearing estimate"). The mean given the predicted
logarithm z is fitted on the validation split as `exp(a + b z)` by Poisson pseudo-maximum-likelihood (Santos Silva & Tenreyro
2006, "The log of gravity"): consistent however the spread changes with z, where Duan's one factor needs it to be the same
everywhere; with its intercept the predicted amounts add up to the observed ones; with b > 0 it keeps the order of customers.
With fewer than `FEW` rows only the intercept is fitted, which is a ratio of sums.

A label that is no logarithm needs no such map, but Huber's loss, which trains most of these tasks, aims between mean and
median of a skewed label: shown values summed to 0.92 to 0.99 of what was. `MeanShift` adds the mean residual of the validation
split, which is least squares with the slope held at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ple_model.errors import UserError
from ple_model.metrics import mean_absolute_error, r_squared

if TYPE_CHECKING:
    from torch import Tensor

FEW = 100
"""Fewer rows with an amount than this: b stays 1."""
SLOPES = (0.5, 2.0)
"""What b may be: beyond, a handful of rows decides over all."""
LARGEST = 60.0
"""exp of more than this is no amount."""

Statistic = Literal["mean", "median"]
Map = TypeVar("Map")


@dataclass(frozen=True)
class AmountMap:
    """Predicted log(1 + x) -> mean of x, with what it was fitted on."""

    a: float
    b: float
    n: int
    sum_ratio_before: float
    """Sum of the back-transformed predictions over the sum of the amounts, on the rows it was fitted on."""

    def __call__(self, z: ArrayLike) -> NDArray[np.float64]:
        """Mean amounts, same shape as the predicted logarithms `z`; increasing in z."""
        return np.exp(np.minimum(self.a + self.b * np.asarray(z, dtype=np.float64), LARGEST))

    def of(self, z: Tensor) -> Tensor:
        """The same in torch, with a gradient."""
        import torch  # late: torch

        return torch.exp((self.a + self.b * z).clamp(max=LARGEST))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> AmountMap:
        """`ValueError` or `TypeError` for anything but four numbers, b positive."""
        found = AmountMap(float(raw["a"]), float(raw["b"]), int(raw["n"]), float(raw["sum_ratio_before"]))
        if not (np.isfinite([found.a, found.b]).all() and found.b > 0):
            raise ValueError(f"a = {found.a}, b = {found.b}: finite numbers are needed, b above 0")
        return found


@dataclass(frozen=True)
class MeanShift:
    """Prediction of a label that is no logarithm -> its mean, with what it was fitted on."""

    shift: float
    """Added to every prediction, in the label's unit."""
    n: int
    sum_ratio_before: float
    """Sum of the predictions over the sum of the labels, on the rows it was fitted on; 0 where these add up to nothing."""

    def __call__(self, value: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(value, dtype=np.float64) + self.shift

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> MeanShift:
        """`ValueError` or `TypeError` for anything but three numbers, the shift finite."""
        found = MeanShift(float(raw["shift"]), int(raw["n"]), float(raw["sum_ratio_before"]))
        if not np.isfinite(found.shift):
            raise ValueError(f"shift = {found.shift}: a finite number is needed")
        return found


def fit_shift(value: ArrayLike, label: ArrayLike) -> MeanShift | None:
    """The shift of predictions `value` [n] of `label` [n]; rows that are no numbers are left out, None where none is left."""
    guess, known = np.asarray(value, dtype=np.float64), np.asarray(label, dtype=np.float64)
    there = np.isfinite(guess) & np.isfinite(known)
    guess, known = guess[there], known[there]
    if not len(guess):
        return None
    total = float(known.sum())
    return MeanShift(float((known - guess).mean()), len(guess), float(guess.sum()) / total if total else 0.0)


def fit_amounts(z: ArrayLike, label: ArrayLike) -> AmountMap | None:
    """The map of predicted logarithms `z` [n] whose rows have the labels log(1 + x) [n]; rows that are no numbers are left out.
    None where nothing was spent at all: there is no mean to scale to."""
    guess, amount = np.asarray(z, dtype=np.float64), np.expm1(np.asarray(label, dtype=np.float64))
    there = np.isfinite(guess) & np.isfinite(amount) & (guess < LARGEST)
    guess, amount = guess[there], amount[there]
    total = float(amount.sum())
    if not len(guess) or total <= 0:
        return None

    def intercept(b: float) -> float:
        top = float((b * guess).max())
        return float(np.log(total) - top - np.log(np.exp(b * guess - top).sum()))

    def deviance(b: float) -> float:
        # the intercept that solves its own equation makes the sum of the means constant: only this term is left
        return -float((amount * (intercept(b) + b * guess)).sum()) / total

    b = 1.0
    if len(guess) >= FEW and guess.min() < guess.max():
        from scipy.optimize import minimize_scalar  # late: scipy.optimize, for a fit alone

        b = float(minimize_scalar(deviance, bounds=SLOPES, method="bounded", options={"xatol": 1e-4}).x)
    return AmountMap(intercept(b), b, len(guess), float(np.expm1(guess).sum() / total))


def amount_metrics(label: ArrayLike, amount: ArrayLike, weight: ArrayLike | None = None) -> dict[str, float]:
    """Metrics of amounts themselves: label and prediction in the unit that pages show. `sum_ratio` is 1 where predicted amounts
    add up to what was; a prediction that is no number makes them NaN."""
    y, p = np.asarray(label, dtype=np.float64), np.asarray(amount, dtype=np.float64)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    total = float((w * y).sum())
    return {
        "r2_amount": r_squared(y, p, w),
        "mae_amount": mean_absolute_error(y, p, w),
        "sum_ratio": float((w * p).sum()) / total if total > 0 else float("nan"),
    }


def checked(raw: Any, where: str) -> dict[str, AmountMap]:
    """Maps by task from stored JSON; `UserError` names the file."""
    return _checked(raw, where, AmountMap.from_dict)


def checked_shifts(raw: Any, where: str) -> dict[str, MeanShift]:
    """The same of shifts."""
    return _checked(raw, where, MeanShift.from_dict)


def _checked(raw: Any, where: str, read: Callable[[Mapping[str, Any]], Map]) -> dict[str, Map]:
    try:
        return {str(k): read(v) for k, v in raw.items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as e:
        raise UserError(f"{where} is damaged: {e}") from e
