"""What simpler things reach on the rows that a model is measured on: the one place where a constant and a baseline are defined.

Each is fitted on the training split alone:
- `constant`: the training base rate, class shares, mean, or brand popularity;
- `recency`, `prior_spend`: one column by itself, for binary tasks (in its direction on the training split); AUC, PR-AUC. Of
  several windows of spend the one that tells most on the training split counts;
- `gradient_boosting`: scikit-learn's HistGradientBoosting on the feature columns of up to `BOOSTING_ROWS` training rows,
  stopped early on customers that it does not learn from.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.amounts import amount_metrics
from ple_model.data.dataset.reader import Dataset
from ple_model.metrics import BY_KIND, Metrics, auc, average_precision, class_metrics, weighted_ranks
from ple_model.scoring import TaskRows
from ple_model.tasks import TaskSpec

BOOSTING_ROWS = 100_000
"""Training rows of the baselines at most, drawn at random."""
HELD_OUT = 0.15
"""Share of the customers that early stopping watches."""
MIN_HELD_OUT = 50
"""With fewer rows than this to watch, boosting runs `BLIND_ROUNDS` rounds instead of stopping early."""
BLIND_ROUNDS = 50
SPEND = re.compile(r"(prior_)?spend_\d+d")

Array = NDArray[np.float64]
Predict = Callable[[NDArray[np.float32]], Array]


class Baselines:
    """The simple answers, fitted on a dataset's training split."""

    def __init__(self, dataset: Dataset, split: str, *, boosting: bool, seed: int) -> None:
        self.notes: list[str] = []
        self._seed = seed
        rows = dataset.rows("train")
        if rows == 0:
            self.notes.append("no training rows at hand: no baselines")
        self._train = _read(dataset, "train", min(rows, BOOSTING_ROWS), seed) if rows else None
        self._test = _read(dataset, split, None, seed)
        self._boosting = boosting
        if rows > BOOSTING_ROWS:
            self.notes.append(f"baselines are fitted on {BOOSTING_ROWS:,} of {rows:,} training rows")

    def measure(self, rows: TaskRows) -> dict[str, Metrics]:
        """By baseline, metrics on the same rows as the model's."""
        if self._train is None or rows.spec.name not in self._train.labels:
            return {}
        label = self._train.labels[rows.spec.name]
        known = np.isfinite(label)
        if not known.any():
            return {}
        out = {"constant": constant(rows, label[known])}
        if rows.spec.kind == "binary":
            for name in ("recency", "prior_spend"):
                found = self._single(rows, name, label, known)
                if found is not None:
                    out[name] = found
        if self._boosting and rows.spec.kind != "contrastive":
            customers = self._train.customers[known]
            fitted = fit_boosting(rows.spec, self._train.features[known], label[known], self._seed, customers)
            if fitted is None:
                self.notes.append(f"gradient_boosting of {rows.spec.name}: its training labels are all of one class")
            else:
                predicted = fitted(self._test.features[rows.row])
                out["gradient_boosting"] = BY_KIND[rows.spec.kind](rows.label, predicted, None)
        return out

    def _single(self, rows: TaskRows, baseline: str, label: Array, known: NDArray[np.bool_]) -> Metrics | None:
        """The column of this baseline that tells most on the training rows, by itself."""
        assert self._train is not None
        best: tuple[float, str] | None = None
        for name, column in self._train.single.items():
            if _baseline_of(name) == baseline:
                told = _told(label[known], column[known])
                best = max(best or (0.0, ""), (told, name))
        if best is None or not best[1]:
            return None
        name = best[1]
        if baseline == "prior_spend":
            self.notes.append(f"prior_spend of {rows.spec.name}: {name} tells most on the training rows")
        return single_column(rows, self._train.single[name][known], label[known], self._test.single[name][rows.row])


@dataclass(frozen=True)
class _Rows:
    """features [n, F]; customer ids [n]; labels by task [n], NaN where missing; single columns by name [n]."""

    features: NDArray[np.float32]
    customers: NDArray[np.object_]
    labels: dict[str, Array]
    single: dict[str, Array]


def _read(dataset: Dataset, split: str, limit: int | None, seed: int) -> _Rows:
    """A split's features and labels in file order, or a seeded sample of `limit` rows of it."""
    total = dataset.rows(split)
    keep = np.arange(total)
    if limit is not None and limit < total:
        keep = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
    chosen = np.zeros(total, dtype=bool)
    chosen[keep] = True
    features: list[NDArray[np.float32]] = []
    customers: list[str] = []
    labels: dict[str, list[Array]] = {}
    first = 0
    for batch in dataset.batches(split, 4096, fields=("features",)):
        mine = chosen[first : first + len(batch)]
        first += len(batch)
        features.append(batch.inputs.features.numpy()[mine])
        customers += [c for c, taken in zip(batch.customer_id, mine, strict=True) if taken]
        for task, value in (batch.inputs.targets or {}).items():
            if value.dim() == 1:
                y = value.numpy()[mine].astype(np.float64)
                labels.setdefault(task, []).append(y if value.is_floating_point() else np.where(y < 0, np.nan, y))
    matrix = np.concatenate(features)
    joined = {k: np.concatenate(v) for k, v in labels.items()}
    return _Rows(matrix, np.array(customers, dtype=object), joined, _single_columns(dataset, split, matrix, keep))


def _baseline_of(column: str) -> str | None:
    name = column.removeprefix("raw:")
    return "recency" if name == "recency_days" else "prior_spend" if SPEND.fullmatch(name) else None


def _single_columns(dataset: Dataset, split: str, features: NDArray[np.float32], keep: NDArray[np.int64]) -> dict[str, Array]:
    """By name: the readable columns (`raw:`) and those of the schema that a single-column baseline may use, for the rows
    `keep`. A readable column stands for the schema's of the same name."""
    readable = ["raw:" + n.removeprefix("raw:") for n in dataset.manifest.raw_columns]
    found: dict[str, Array] = {}
    for name in (n for n in readable if _baseline_of(n)):
        found[name] = np.asarray(dataset.table([name], split).column(0).to_pandas(), dtype=np.float64)[keep]
    for name, index in dataset.schema.index.items():
        if _baseline_of(name) and f"raw:{name}" not in found:
            found[name] = features[:, index].astype(np.float64)
    return found


def training_labels(dataset: Dataset) -> Mapping[str, Array]:
    """Labels of the training split by task, those that are missing left out; a task of several outputs has no constant here."""
    out: dict[str, Array] = {}
    if not dataset.rows("train"):
        return out
    for task in dataset.manifest.tasks:
        for table in dataset.tables([f"y_{task}"], "train"):
            values = np.asarray(table.column(0).to_numpy(zero_copy_only=False))
            if values.dtype == object:
                break
            kept = values[values >= 0] if values.dtype.kind in "iu" else values[np.isfinite(values)]
            out[task] = np.concatenate([out.get(task, np.zeros(0)), kept.astype(np.float64)])
    return out


def constant(rows: TaskRows, label: Array) -> Metrics:
    """What the best constant answer of the training split, whose labels are `label` [m], reaches on `rows`."""
    return constant_metrics(rows.spec.kind, rows.spec.log_scale and rows.label.ndim == 1, rows.label, label)


def constant_metrics(kind: str, logs: bool, label: Array, trained: Array) -> Metrics:
    """The same from the labels alone: `label` [n] of the rows, `trained` [m] of the training split; `logs`: they are
    logarithms of amounts."""
    n = len(label)
    if kind in ("contrastive", "multiclass"):
        classes = int(max(trained.max(), label.max())) + 1
        counts = np.bincount(trained.astype(np.int64), minlength=classes).astype(np.float64)
        y = label.astype(np.int64)
        if kind == "multiclass":
            share, best = counts / len(trained), int(counts.argmax())
            above = (counts[None, :] > counts[:, None]).sum(axis=1)
            return class_metrics(y, np.full(n, best), np.full(n, share[best]), share[y], above[y])
        rank = len(counts) + 1 - weighted_ranks(counts)
        return BY_KIND[kind](label, rank[y], None)
    found = dict(BY_KIND[kind](label, np.full(n, trained.mean()), None))
    if logs:
        found |= amount_metrics(np.expm1(label), np.full(n, np.expm1(trained).mean()))
    return found


def commonest_share(kind: str, label: Array) -> float | None:
    """Share of positives (binary), or of the commonest class or brand, among labels [n]; None for a regression."""
    if not len(label) or kind == "regression":
        return None
    if kind == "binary":
        return float(label.mean())
    return float(np.bincount(label.astype(np.int64)).max() / len(label))


def _told(label: Array, column: Array) -> float:
    """How far the AUC of a column by itself lies from one half; 0 where it says nothing."""
    there = np.isfinite(column)
    if not there.any():
        return 0.0
    whole = np.where(there, column, np.median(column[there]))
    found = auc(label, whole)
    return abs(found - 0.5) if whole.min() < whole.max() and np.isfinite(found) else 0.0


def single_column(rows: TaskRows, column: Array, label: Array, test: Array) -> Metrics | None:
    """AUC and PR-AUC of one column by itself, in the direction that it has on the training rows; empty cells get the median."""
    if not _told(label, column):
        return None
    middle = np.nanmedian(np.where(np.isfinite(column), column, np.nan))
    column, test = np.where(np.isfinite(column), column, middle), np.where(np.isfinite(test), test, middle)
    train_auc = auc(label, column)
    value = test if train_auc >= 0.5 else -test
    return {"auc": auc(rows.label, value), "pr_auc": average_precision(rows.label, value)}


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
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

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
    common: dict[str, Any] = {
        "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 20, "l2_regularization": 1.0, "max_features": 0.2,
        "early_stopping": stops, "n_iter_no_change": 10, "random_state": seed,
    }  # fmt: skip
    watched: dict[str, Any] = {"X_val": x[watch], "y_val": y[watch]} if stops else {}
    if not classify:
        regressor = HistGradientBoostingRegressor(max_iter=200 if stops else BLIND_ROUNDS, **common)
        regressor.fit(x[learn], y[learn], **watched)
        return lambda t: np.asarray(regressor.predict(t), dtype=np.float64)
    # each round grows one tree a class: fewer rounds keep the work of 28 classes near that of two
    rounds = max(30, 400 // len(np.unique(y[learn])))
    classifier = HistGradientBoostingClassifier(max_iter=rounds if stops else min(rounds, BLIND_ROUNDS), **common)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        classifier.fit(x[learn], y[learn], **watched)
    position = np.asarray(classifier.classes_).astype(np.int64)

    def predict(t: NDArray[np.float32]) -> Array:
        p = np.asarray(classifier.predict_proba(t), dtype=np.float64)
        if spec.kind == "binary":
            return p[:, list(position).index(1)] if 1 in position else np.zeros(len(t))
        out = np.zeros((len(t), spec.out_dim))
        out[:, position] = p
        return out

    return predict
