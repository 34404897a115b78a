"""Gradient boosting with one set of settings, stopped early on customers that it does not learn from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.linear import Matrix, Predict
from ple_model.tasks import TaskSpec

HELD_OUT = 0.15
"""Share of the customers that early stopping watches."""
MIN_HELD_OUT = 50
"""With fewer rows than this to watch, boosting runs `BLIND_ROUNDS` rounds instead of stopping early."""
BLIND_ROUNDS = 50
Array = NDArray[np.float64]


def held_out(customers: NDArray[np.object_], seed: int) -> NDArray[np.bool_]:
    """[n] rows of the customers that early stopping watches: all rows of a customer or none."""
    ids, index = np.unique(customers.astype(str), return_inverse=True)
    watched = np.random.default_rng(seed).permutation(len(ids)) < round(HELD_OUT * len(ids))
    return np.asarray(watched[index])


def fit_boosting(
    spec: TaskSpec, x: NDArray[np.float32], y: Array, seed: int, customers: NDArray[np.object_] | None = None
) -> Predict | None:
    """A fitted gradient boosting as features -> p [n], probabilities [n, K] or values [n]; None if there is one class only.

    `customers` [n]: early stopping watches customers that the boosting does not learn from (default: each row is one). Any
    number of rows and classes will do: a class that only watched rows have is not watched, and with too few rows to watch the
    number of rounds is fixed.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor  # late: scikit-learn

    classify = spec.kind != "regression"
    if classify and len(np.unique(y)) < 2:
        return None
    watch = held_out(np.arange(len(y)).astype(object) if customers is None else customers, seed)
    learn = ~watch
    if classify:
        watch &= np.isin(y, y[learn])
    stops = int(watch.sum()) >= MIN_HELD_OUT and (not classify or len(np.unique(y[learn])) > 1)
    if not stops:
        learn = np.ones(len(y), dtype=bool)
    empty = ~np.isfinite(x[learn]).any(axis=0)
    if empty.any():  # such a column has no values to cut, and tells nothing
        x = np.where(empty, np.float32(0), x)
    common: dict[str, Any] = {
        "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 20, "l2_regularization": 1.0, "max_features": 0.2,
        "early_stopping": stops, "n_iter_no_change": 10, "random_state": seed,
    }  # fmt: skip
    watched: dict[str, Any] = {"X_val": x[watch], "y_val": y[watch]} if stops else {}
    if not classify:
        regressor = HistGradientBoostingRegressor(max_iter=200 if stops else BLIND_ROUNDS, **common)
        regressor.fit(x[learn], y[learn], **watched)
        level = float(y[learn].mean())
        return lambda t: _at_best(regressor, regressor.staged_predict, t, np.full(len(t), level))
    # each round grows one tree a class: fewer rounds keep the work of 28 classes near that of two
    rounds = max(30, 400 // len(np.unique(y[learn])))
    classifier = HistGradientBoostingClassifier(max_iter=rounds if stops else min(rounds, BLIND_ROUNDS), **common)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        classifier.fit(x[learn], y[learn], **watched)
    position = np.asarray(classifier.classes_).astype(np.int64)
    shares = np.unique(y[learn], return_counts=True)[1] / int(learn.sum())

    def predict(t: NDArray[np.float32]) -> Array:
        p = _at_best(classifier, classifier.staged_predict_proba, t, np.tile(shares, (len(t), 1)))
        if spec.kind == "binary":
            return p[:, list(position).index(1)] if 1 in position else np.zeros(len(t))
        out = np.zeros((len(t), spec.out_dim))
        out[:, position] = p
        return out

    return predict


def _at_best(model: Any, staged: Callable[[Matrix], Iterator[Any]], t: Matrix, none: Array) -> Array:
    """Predictions after the round at which the watched customers' loss was lowest: early stopping ends some rounds later, and
    of what nobody can learn the best is no round at all, the constant `none`."""
    scores = np.asarray(getattr(model, "validation_score_", ()))
    best = int(scores.argmax()) if len(scores) else int(model.n_iter_)  # scores[0] is of before the first round
    if best == 0:
        return none
    return np.asarray(next(islice(staged(t), best - 1, None)), dtype=np.float64)
