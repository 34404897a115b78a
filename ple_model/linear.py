"""The linear model that every other one is held against: ridge or logistic regression on the standardised feature columns.

- Columns are centred and scaled by the training rows, the heavy-tailed raw ones through sign(x) log(1 + |x|) first. A cell that
  is no number stands at the mean, a value beyond what training had at the end of its range, and a column without variation is
  left out: so no row can send a prediction anywhere.
- The strength of the penalty is that of `STRENGTHS` with the lowest loss on held-out customers of the training split; then all
  training rows are fitted with it.
- Ridge by Cholesky's factorisation of the columns' covariance, which serves every strength. Logistic regression by
  scikit-learn's lbfgs: its cost is that of products with the matrix for any number of classes, where a Newton step would need
  a Hessian of (columns x classes) squared; from one strength to the next it starts from where it stood.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ple_model.row_loss import Yardstick

Array = NDArray[np.float64]
Matrix = NDArray[np.float32]
Predict = Callable[[Matrix], Array]
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Weight of |w|^2 / 2 beside the mean loss of a row, strong to weak."""
FALLBACK = 0.1
"""Where there is nobody to choose by."""
ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class Standardiser:
    """x [n, columns] -> [n, those that vary], by the training rows."""

    used: NDArray[np.int64]
    raw: NDArray[np.bool_]
    """Of the used columns: read through sign(x) log(1 + |x|)."""
    mean: Array
    std: Array
    low: Array
    high: Array

    @staticmethod
    def fit(x: Matrix, raw: slice) -> Standardiser:
        """`raw`: the heavy-tailed columns."""
        columns = x.shape[1]
        logs = np.zeros(columns, dtype=bool)
        logs[raw] = True
        mean, std, low, high = np.zeros(columns), np.zeros(columns), np.zeros(columns), np.zeros(columns)
        for i in range(columns):
            values = _shaped(x[:, i], bool(logs[i]))
            values = values[np.isfinite(values)]
            if len(values):
                mean[i], std[i], low[i], high[i] = values.mean(), values.std(), values.min(), values.max()
        used = np.flatnonzero(std > 1e-9 * np.maximum(1.0, np.abs(mean)))
        return Standardiser(used, logs[used], mean[used], std[used], low[used], high[used])

    def __call__(self, x: Matrix) -> Matrix:
        out = np.empty((len(x), len(self.used)), dtype=np.float32)
        for k, i in enumerate(self.used):
            values = np.clip(_shaped(x[:, i], bool(self.raw[k])), self.low[k], self.high[k])
            out[:, k] = np.where(np.isfinite(values), (values - self.mean[k]) / self.std[k], 0.0)
        return out


def _shaped(column: NDArray[np.float32], logs: bool) -> Array:
    x = column.astype(np.float64)
    return np.sign(x) * np.log1p(np.abs(x)) if logs else x


def fit_linear(
    yardstick: Yardstick, x: Matrix, y: Array, watch: NDArray[np.bool_], *, fallback: float = FALLBACK
) -> Predict | None:
    """`x` [n, columns] standardised, `y` [n] labels ([n, outputs]); `watch` [n]: rows of held-out customers, by which the
    strength is chosen, `fallback` where there is none. None where the labels are of one class or there is no column."""
    if not x.shape[1] or (yardstick.kind != "regression" and len(np.unique(y)) < 2):
        return None
    path = _ridges if yardstick.kind == "regression" else _logistics
    chosen = fallback
    if watch.any() and (yardstick.kind == "regression" or len(np.unique(y[~watch])) > 1):
        best = np.inf
        for strength, predict in path(yardstick, x[~watch], y[~watch], STRENGTHS):
            loss = _mean_loss(yardstick, y[watch], predict(x[watch]))
            if loss >= best:
                break  # the loss falls, then rises: weaker penalties cost the most time and are worse still
            best, chosen = loss, strength
    return next(path(yardstick, x, y, (chosen,)))[1]


def _mean_loss(yardstick: Yardstick, y: Array, predicted: Array) -> float:
    of = yardstick.of_amounts if yardstick.kind == "regression" else yardstick.of_probabilities
    return float(of(y, predicted).mean())


def _ridges(yardstick: Yardstick, x: Matrix, y: Array, strengths: tuple[float, ...]) -> Iterator[tuple[float, Predict]]:
    centre, level = x.mean(axis=0, dtype=np.float64), y.mean(axis=0)
    n = len(x)
    gram = np.asarray(x.T @ x, dtype=np.float64) / n - np.outer(centre, centre)
    told = np.asarray(x.T.astype(np.float64) @ (y - level)) / n
    for strength in strengths:
        weights = cho_solve(cho_factor(gram + (strength + 1e-6) * np.eye(len(gram))), told)

        def predict(t: Matrix, w: Array = weights) -> Array:
            return np.asarray((t - centre) @ w + level)

        yield strength, predict


def _logistics(yardstick: Yardstick, x: Matrix, y: Array, strengths: tuple[float, ...]) -> Iterator[tuple[float, Predict]]:
    from sklearn.exceptions import ConvergenceWarning  # late: scikit-learn
    from sklearn.linear_model import LogisticRegression  # late: scikit-learn

    width = 2 if yardstick.kind == "binary" else len(yardstick.constant)
    model = LogisticRegression(solver="lbfgs", warm_start=True, max_iter=ITERATIONS, tol=1e-3)
    for strength in strengths:
        model.set_params(C=1.0 / (strength * len(x)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y.astype(np.int64))
        weights, offset, classes = model.coef_.copy(), model.intercept_.copy(), np.asarray(model.classes_)

        def predict(t: Matrix, w: Array = weights, b: Array = offset, classes: Array = classes) -> Array:
            score = (t @ w.T + b).astype(np.float64)
            if score.shape[1] == 1:
                score = np.concatenate([np.zeros_like(score), score], axis=1)
            score -= score.max(axis=1, keepdims=True)
            p = np.exp(score)
            out = np.zeros((len(t), width))
            out[:, classes] = p / p.sum(axis=1, keepdims=True)
            return out[:, 1] if yardstick.kind == "binary" else out

        yield strength, predict
