"""Metrics of predictions against labels, in NumPy, each with row weights so that a bootstrap needs no copies.

Definitions where the literature has several:
- `ece` of a binary task: 15 equal-width bins of the predicted P(y = 1) on [0, 1], the last one closed at 1; the mean over rows
  of |mean p - share of positives| of the row's bin (Naeini et al. 2015, on P(y = 1) rather than on the confidence).
- `ece` of a multiclass task: the same on the confidence of the most probable class against whether it is right (Guo et al.
  2017).
- `pr_auc` is average precision (no interpolation). `accuracy` of a binary task decides at p >= 0.5: next to a rare base rate it
  says little.
- `macro_f1` is the mean over the classes that occur among labels or predictions.
- `recall_at_10`, `mrr`: from the rank of the true brand among all brands, 1 is best, ties share the mean rank.
A metric that the rows cannot say (one class only, no variance, no rows) is NaN.

A prediction that is no number (NaN, Inf) is a miss, never left out, and no metric is better for it: a probability counts as
certain and wrong, in `ece` as a gap of 1 that no other row of a bin can make up for, in `macro_f1` against every class, in a
ranking it stands on the wrong end, a brand whose own score is no number is found nowhere. An amount has no worst value, so one
such prediction makes every metric of a regression NaN. Who reports metrics names the share of these rows (`finite.Tally`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
NAN = float("nan")
CLAMP = 1e-7
"""Probabilities are clamped to [CLAMP, 1 - CLAMP] before a logarithm."""


def _weights(n: int, weight: ArrayLike | None) -> Array:
    return np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)


def _mean(values: ArrayLike, weight: Array) -> float:
    total = float(weight.sum())
    return float(np.dot(np.asarray(values, dtype=np.float64), weight) / total) if total > 0 else NAN


def worst_probability(label: Array, p: ArrayLike) -> Array:
    """p [n] of a binary task, certain and wrong where it is no number."""
    q = np.asarray(p, dtype=np.float64)
    return np.where(np.isfinite(q), q, 1.0 - label)


def worst_score(label: Array, score: ArrayLike) -> Array:
    """Scores [n] for a ranking; what is no number stands below all others where the label is 1, above them where it is 0."""
    x = np.asarray(score, dtype=np.float64)
    known = np.isfinite(x)
    if known.all():
        return x
    low, high = (x[known].min() - 1.0, x[known].max() + 1.0) if known.any() else (0.0, 1.0)
    return np.where(known, x, np.where(label > 0.5, low, high))


def worst_classes(label: NDArray[np.int64], p: ArrayLike) -> Array:
    """p [n, K], all of it on another class than the label's where a row holds what is no number."""
    q = np.asarray(p, dtype=np.float64)
    bad = ~np.isfinite(q).all(axis=1)
    if not bad.any():
        return q
    wrong = np.eye(q.shape[1])[(label[bad] + 1) % q.shape[1]]
    q = q.copy()
    q[bad] = wrong
    return q


def weighted_ranks(values: ArrayLike, weight: ArrayLike | None = None) -> Array:
    """Mid-ranks [n] as if row i stood `weight[i]` times; ties share their mean rank."""
    x = np.asarray(values, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    group = np.zeros(len(x), dtype=np.int64)
    np.cumsum(ordered[1:] != ordered[:-1], out=group[1:])
    size = np.bincount(group, weights=None if weight is None else _weights(len(x), weight)[order]).astype(np.float64)
    middle = np.cumsum(size) - size + (size + 1.0) / 2.0
    out = np.empty(len(x))
    out[order] = middle[group]
    return out


def auc(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Area under the ROC curve (Mann-Whitney); ties count one half."""
    return auc_of(y, p)(_weights(len(np.asarray(y)), weight))


def auc_of(y: ArrayLike, p: ArrayLike) -> Callable[[Array], float]:
    """weights [n] -> AUC, with the sort done once: for each distinct score its positives against the negatives below it, ties
    half. NaN where either class has no weight."""
    label = np.asarray(y, dtype=np.float64)
    distinct, group = np.unique(worst_score(label, p), return_inverse=True)

    def area(weight: Array) -> float:
        positive = np.bincount(group, weight * label, minlength=len(distinct))
        negative = np.bincount(group, weight * (1 - label), minlength=len(distinct))
        pairs = positive.sum() * negative.sum()
        return float(positive @ (np.cumsum(negative) - negative / 2) / pairs) if pairs > 0 else NAN

    return area


def average_precision(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Average precision: sum over thresholds of (recall step) x precision. A positive whose score is no number is found at no
    threshold: at the lower end it would share the precision of whatever it ties with."""
    label = np.asarray(y, dtype=np.float64)
    score = worst_score(label, p)
    w = _weights(len(label), weight)
    total = float((w * label).sum())
    if total == 0:
        return NAN
    w = np.where(np.isfinite(np.asarray(p, dtype=np.float64)) | (label < 0.5), w, 0.0)
    order = np.argsort(-score, kind="stable")
    hits, seen = np.cumsum((w * label)[order]), np.cumsum(w[order])
    last = np.r_[np.diff(score[order]) != 0, True] & (seen > 0)
    hits, seen = hits[last], seen[last]
    return float(np.sum(np.diff(np.r_[0.0, hits]) * hits / seen) / total)


def log_loss(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Binary cross-entropy in nats."""
    label = np.asarray(y, dtype=np.float64)
    q = np.clip(worst_probability(label, p), CLAMP, 1 - CLAMP)
    return _mean(-(label * np.log(q) + (1 - label) * np.log1p(-q)), _weights(len(label), weight))


def brier(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Mean squared error of P(y = 1)."""
    label = np.asarray(y, dtype=np.float64)
    return _squared_error(label, worst_probability(label, p), _weights(len(label), weight))


def _squared_error(label: Array, p: ArrayLike, weight: Array) -> float:
    return _mean((np.asarray(p, dtype=np.float64) - label) ** 2, weight)


def _amounts(p: ArrayLike) -> Array:
    """Predictions of a regression; all of them NaN where one is no number."""
    x = np.asarray(p, dtype=np.float64)
    return x if np.isfinite(x).all() else np.full(x.shape, NAN)


def expected_calibration_error(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None, *, bins: int = 15) -> float:
    """See the module docstring."""
    label, q = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    w = _weights(len(label), weight)
    if w.sum() == 0:
        return NAN
    known = np.isfinite(q)
    q, counted = np.where(known, q, 0.0), np.where(known, w, 0.0)
    index = np.clip((q * bins).astype(np.int64), 0, bins - 1)
    gap = np.bincount(index, weights=counted * (q - label), minlength=bins)
    return float((np.abs(gap).sum() + (w - counted).sum()) / w.sum())


def mean_absolute_error(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    label = np.asarray(y, dtype=np.float64)
    return _mean(np.abs(_amounts(p) - label), _weights(len(label), weight))


def root_mean_squared_error(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    label = np.asarray(y, dtype=np.float64)
    return float(np.sqrt(_squared_error(label, _amounts(p), _weights(len(label), weight))))


def r_squared(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    """1 - residual / total sum of squares around the mean of these rows."""
    label = np.asarray(y, dtype=np.float64)
    w = _weights(len(label), weight)
    centre = _mean(label, w)
    spread = _mean((label - centre) ** 2, w)
    return 1.0 - _squared_error(label, _amounts(p), w) / spread if spread > 0 else NAN


def spearman(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Pearson correlation of mid-ranks."""
    label, value = np.asarray(y, dtype=np.float64), _amounts(p)
    w = _weights(len(label), weight)
    if w.sum() == 0 or np.isnan(value).any():
        return NAN
    a, b = weighted_ranks(label, w), weighted_ranks(value, w)
    a, b = a - _mean(a, w), b - _mean(b, w)
    scale = np.sqrt(_mean(a * a, w) * _mean(b * b, w))
    return float(_mean(a * b, w) / scale) if scale > 0 else NAN


def macro_f1(
    y: ArrayLike, predicted: ArrayLike, weight: ArrayLike | None = None, lost: ArrayLike | None = None, classes: int = 0
) -> float:
    """`lost` [n]: rows whose prediction is no number. Each counts as said of every class, and all `classes` count then: which
    one it might have been, and that a class was never said, must not make the mean better."""
    label, guess = np.asarray(y, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    w = _weights(len(label), weight)
    if w.sum() == 0:
        return NAN
    gone = np.zeros(len(label), dtype=bool) if lost is None else np.asarray(lost, dtype=bool)
    classes = max(classes, int(max(label.max(initial=0), guess.max(initial=0))) + 1)
    kept = np.where(gone, 0.0, w)
    missing = float((w - kept).sum())
    truth, said = np.bincount(label, w, classes), np.bincount(guess, kept, classes) + missing
    hit = np.bincount(label, kept * (label == guess), classes)
    occurs = truth + said > 0
    return float(np.mean(2 * hit[occurs] / (truth + said)[occurs]))


Metrics = dict[str, float]


def binary_metrics(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> Metrics:
    """y [n] in {0, 1}, p [n] calibrated probability."""
    w = _weights(len(np.asarray(y)), weight)
    label = np.asarray(y, dtype=np.float64)
    right = (worst_probability(label, p) >= 0.5) == (label >= 0.5)
    return {
        "auc": auc(y, p, w), "pr_auc": average_precision(y, p, w), "log_loss": log_loss(y, p, w), "brier": brier(y, p, w),
        "ece": expected_calibration_error(y, p, w), "accuracy": _mean(right, w),
    }  # fmt: skip


def multiclass_metrics(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> Metrics:
    """y [n] class index, p [n, K] probabilities."""
    label = np.asarray(y, dtype=np.int64)
    if len(label) == 0:
        return dict.fromkeys(("accuracy", "top3_accuracy", "macro_f1", "log_loss", "ece"), NAN)
    q = worst_classes(label, p)
    own = q[np.arange(len(label)), label]
    lost = ~np.isfinite(p).all(axis=1)
    above = np.where(lost, np.inf, (q > own[:, None]).sum(axis=1))
    top = np.where(lost, NAN, q.max(axis=1))
    return class_metrics(label, q.argmax(axis=1), top, own, above, weight, classes=q.shape[1])


def class_metrics(
    y: ArrayLike, guess: ArrayLike, top: ArrayLike, own: ArrayLike, above: ArrayLike, weight: ArrayLike | None = None, *,
    classes: int = 0,
) -> Metrics:  # fmt: skip
    """The same from five numbers a row: y, the most probable class and its probability (NaN: a prediction that is no number,
    whatever the others say), the probability of y, and how many classes are more probable than y."""
    label, chosen = np.asarray(y, dtype=np.int64), np.asarray(guess, dtype=np.int64)
    lost = ~np.isfinite(np.asarray(top, dtype=np.float64))
    own, above = np.where(lost, 0.0, own), np.where(lost, np.inf, above)
    w = _weights(len(label), weight)
    return {
        "accuracy": _mean((chosen == label) & ~lost, w), "top3_accuracy": _mean(above < 3, w),
        "macro_f1": macro_f1(label, chosen, w, lost, classes),
        "log_loss": _mean(-np.log(np.clip(np.asarray(own, dtype=np.float64), CLAMP, 1.0)), w),
        "ece": expected_calibration_error(chosen == label, top, w),
    }  # fmt: skip


def _mean_known(values: Sequence[float]) -> float:
    """Mean of those that say something; an output without variance has no R2."""
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else NAN


def regression_metrics(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> Metrics:
    """y, p [n] in the label's unit; of a task of several outputs [n, K] the mean over outputs, each by itself."""
    label, value = np.asarray(y, dtype=np.float64), _amounts(p)
    if label.ndim > 1:
        each = [regression_metrics(label[:, k], value[:, k], weight) for k in range(label.shape[1])]
        return {name: _mean_known([found[name] for found in each]) for name in each[0]}
    return {
        "mae": mean_absolute_error(y, p, weight), "rmse": root_mean_squared_error(y, p, weight),
        "r2": r_squared(y, p, weight), "spearman": spearman(y, p, weight),
    }  # fmt: skip


def ranking_metrics(y: ArrayLike, rank: ArrayLike, weight: ArrayLike | None = None) -> Metrics:
    """rank [n] of the true item, from 1; `y` is not read (the ranks already say how it stood)."""
    r = np.asarray(rank, dtype=np.float64)
    r = np.where(np.isfinite(r), r, np.inf)
    w = _weights(len(r), weight)
    return {"recall_at_10": _mean(r <= 10, w), "mrr": _mean(1.0 / np.maximum(r, 1.0), w)}


MetricFunction = Callable[[ArrayLike, ArrayLike, ArrayLike | None], Metrics]
BY_KIND: dict[str, MetricFunction] = {
    "binary": cast(MetricFunction, binary_metrics),
    "multiclass": cast(MetricFunction, multiclass_metrics),
    "regression": cast(MetricFunction, regression_metrics),
    "contrastive": cast(MetricFunction, ranking_metrics),
}


def bootstrap(
    metric: MetricFunction, y: ArrayLike, p: ArrayLike, customers: Sequence[str], *, rounds: int = 200, seed: int = 0,
    level: float = 0.95,
) -> Mapping[str, tuple[float, float]]:  # fmt: skip
    """Percentile interval of each metric, **customers** resampled (a customer's rows at several cut-offs go together)."""
    _, index = np.unique(np.asarray(customers), return_inverse=True)
    count = int(index.max(initial=-1)) + 1
    if count < 2:
        return {}
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {}
    for _ in range(rounds):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)[index].astype(np.float64)
        for name, value in metric(y, p, weight).items():
            draws.setdefault(name, []).append(value)
    tail = (1 - level) / 2 * 100
    out: dict[str, tuple[float, float]] = {}
    for name, values in draws.items():
        finite = np.asarray(values)[np.isfinite(values)]
        if len(finite) >= rounds // 2:
            low, high = np.percentile(finite, [tail, 100 - tail])
            out[name] = (float(low), float(high))
    return out
