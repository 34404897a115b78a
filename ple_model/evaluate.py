"""`ple evaluate`: how good a run's predictions are, next to what simpler things reach on the same rows.

Baselines, each fitted on the training split alone and measured on the same labelled rows:
- `constant`: the training base rate, class shares, mean, or brand popularity;
- `recency`, `prior_spend`: one column by itself, for binary tasks (in its direction on the training split); AUC, PR-AUC;
- `gradient_boosting`: scikit-learn's HistGradientBoosting on the 734 feature columns.
Intervals are 95% percentile bootstraps that resample customers, not rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.dataset import Dataset
from ple_model.errors import UserError
from ple_model.finish import base_rate
from ple_model.metrics import BY_KIND, Metrics, auc, average_precision, bootstrap, weighted_ranks
from ple_model.run import Run
from ple_model.scoring import Scores, TaskRows, score
from ple_model.tasks import TaskSpec

SINGLE_COLUMNS: dict[str, tuple[str, ...]] = {
    "recency": ("raw:recency_days", "recency_days"),
    "prior_spend": ("raw:prior_spend_28d", "raw:spend_28d", "spend_28d"),
}
"""By baseline, the first of these that a dataset has: a readable column, or a column of the feature schema."""

BOOSTING_ROWS = 20_000
"""Training rows of the boosting baseline at most, drawn at random."""

HEADLINE = {"binary": "auc", "multiclass": "accuracy", "regression": "spearman", "contrastive": "recall_at_10"}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class TaskEvaluation:
    """One task on one split. `metrics` holds each metric, and its interval as `<name>_low`, `<name>_high`."""

    task: str
    kind: str
    n: int
    metrics: Metrics
    base_rate: float | None
    baselines: dict[str, Metrics] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What `ple evaluate` prints."""

    run: str
    split: str
    dataset: str
    tasks: tuple[TaskEvaluation, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        tasks = [
            {"task": t.task, "kind": t.kind, "n": t.n, "metrics": t.metrics, "base_rate": t.base_rate, "baselines": t.baselines}
            for t in self.tasks
        ]
        return {"run": self.run, "split": self.split, "dataset": self.dataset, "tasks": tasks, "notes": list(self.notes)}

    def table(self) -> str:
        """One line a task: its headline metric with interval, and the same metric of the baselines."""
        names = list(dict.fromkeys(b for t in self.tasks for b in t.baselines))
        head = f"{'task':<20}{'n':>7}{'base':>8}  {'metric':<14}{'model':>8} {'95% interval':<17}"
        lines = [f"{self.run}, {self.split} split of {self.dataset}", "", head + "".join(f"{n:>19}" for n in names)]
        for t in self.tasks:
            metric = HEADLINE[t.kind]
            low, high = t.metrics.get(f"{metric}_low"), t.metrics.get(f"{metric}_high")
            interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
            lines.append(
                f"{t.task:<20}{t.n:>7}{_number(t.base_rate):>8}  {metric:<14}{_number(t.metrics.get(metric)):>8} {interval:<17}"
                + "".join(f"{_number(t.baselines.get(n, {}).get(metric)):>19}" for n in names)
            )
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])

    def __str__(self) -> str:
        return self.table()


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}"


def evaluate(
    run: Run, dataset: Dataset | None = None, split: str = "test", *, bootstrap_rounds: int = 200, boosting: bool = True,
    device: str = "cpu",
) -> Evaluation:  # fmt: skip
    """Metrics by task of `run` on `split` of `dataset` (default: the dataset it was trained on, else the run's own sample)."""
    notes: list[str] = []
    if dataset is None:
        dataset = run.dataset()
        if dataset is None:
            dataset = run.sample()
            notes.append("the training dataset is not at hand: these are the customers stored with the run")
    elif dataset.manifest.fingerprint != run.manifest.data.fingerprint:
        notes.append(f"the run was trained on other data ('{run.manifest.data.name}')")
    if dataset.rows(split) == 0:
        raise UserError(f"{dataset.path} has no rows in its {split} split")
    scores = score(run.model(device), dataset, split, calibration=run.calibration)
    scores.tally.raise_if_any()
    baselines = Baselines(dataset, split, boosting=boosting, seed=run.manifest.seed)
    notes += baselines.notes
    found: list[TaskEvaluation] = []
    for name, rows in scores.tasks.items():
        if not len(rows):
            notes.append(f"task '{name}' has no labels in the {split} split")
            continue
        found.append(_evaluate_task(name, rows, scores, baselines, bootstrap_rounds))
    return Evaluation(run.name, split, dataset.manifest.name, tuple(found), tuple(notes))


def _evaluate_task(name: str, rows: TaskRows, scores: Scores, baselines: Baselines, rounds: int) -> TaskEvaluation:
    metric = BY_KIND[rows.spec.kind]
    values = dict(metric(rows.label, rows.prediction, None))
    if rounds:
        found = bootstrap(metric, rows.label, rows.prediction, scores.customers(name), rounds=rounds)
        for key, (low, high) in found.items():
            values[f"{key}_low"], values[f"{key}_high"] = low, high
    return TaskEvaluation(name, rows.spec.kind, len(rows), values, base_rate(rows), baselines.measure(rows))


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
        out = {"constant": _constant(rows, label[known])}
        if rows.spec.kind == "binary":
            for name, column in self._train.single.items():
                found = _single(rows, column[known], label[known], self._test.single[name][rows.row])
                if found is not None:
                    out[name] = found
        if self._boosting and rows.spec.kind != "contrastive":
            fitted = fit_boosting(rows.spec, self._train.features[known], label[known], self._seed)
            if fitted is not None:
                predicted = fitted(self._test.features[rows.row])
                out["gradient_boosting"] = BY_KIND[rows.spec.kind](rows.label, predicted, None)
        return out


@dataclass(frozen=True)
class _Rows:
    """features [n, 734]; labels by task [n], NaN where missing; single columns by baseline [n]."""

    features: NDArray[np.float32]
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
    labels: dict[str, list[Array]] = {}
    first = 0
    for batch in dataset.batches(split, 4096, fields=("features",)):
        mine = chosen[first : first + len(batch)]
        first += len(batch)
        features.append(batch.inputs.features.numpy()[mine])
        for task, value in (batch.inputs.targets or {}).items():
            if value.dim() == 1:
                y = value.numpy()[mine].astype(np.float64)
                labels.setdefault(task, []).append(y if value.is_floating_point() else np.where(y < 0, np.nan, y))
    matrix = np.concatenate(features)
    single = {k: v for k in SINGLE_COLUMNS if (v := _single_column(dataset, split, k, matrix, keep)) is not None}
    return _Rows(matrix, {k: np.concatenate(v) for k, v in labels.items()}, single)


def _single_column(
    dataset: Dataset, split: str, baseline: str, features: NDArray[np.float32], keep: NDArray[np.int64]
) -> Array | None:
    """The column of a single-feature baseline for the rows `keep`; None where the dataset has none of its names."""
    from ple_model.schema import load_schema

    readable = {"raw:" + n.removeprefix("raw:") for n in dataset.manifest.raw_columns}
    index = load_schema().index
    for name in SINGLE_COLUMNS[baseline]:
        if name in readable:
            values = dataset.table([name], split).column(0).to_pandas()
            return np.asarray(values, dtype=np.float64)[keep]
        if name in index:
            return features[:, index[name]].astype(np.float64)
    return None


def _constant(rows: TaskRows, label: Array) -> Metrics:
    """What the best constant answer of the training split reaches."""
    kind, n = rows.spec.kind, len(rows)
    if kind == "contrastive":
        brands = int(max(label.max(), rows.label.max())) + 1
        counts = np.bincount(label.astype(np.int64), minlength=brands).astype(np.float64)
        rank = len(counts) + 1 - weighted_ranks(counts)
        return BY_KIND[kind](rows.label, rank[rows.label.astype(np.int64)], None)
    if kind == "multiclass":
        share = np.bincount(label.astype(np.int64), minlength=rows.prediction.shape[1]) / len(label)
        return BY_KIND[kind](rows.label, np.tile(share, (n, 1)), None)
    return BY_KIND[kind](rows.label, np.full(n, label.mean()), None)


def _single(rows: TaskRows, column: Array, label: Array, test: Array) -> Metrics | None:
    """AUC and PR-AUC of one column by itself, in the direction that it has on the training rows; empty cells get the median."""
    middle = np.nanmedian(column) if np.isfinite(column).any() else np.nan
    if not np.isfinite(middle):
        return None
    column, test = np.where(np.isfinite(column), column, middle), np.where(np.isfinite(test), test, middle)
    train_auc = auc(label, column)
    if column.min() == column.max() or not np.isfinite(train_auc):
        return None
    value = test if train_auc >= 0.5 else -test
    return {"auc": auc(rows.label, value), "pr_auc": average_precision(rows.label, value)}


def fit_boosting(spec: TaskSpec, x: NDArray[np.float32], y: Array, seed: int) -> Callable[[NDArray[np.float32]], Array] | None:
    """A fitted gradient boosting as features -> p [n], probabilities [n, K] or values [n]; None if there is one class only."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    common: dict[str, Any] = {
        "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 20, "l2_regularization": 1.0, "max_features": 0.2,
        "early_stopping": True, "n_iter_no_change": 10, "validation_fraction": 0.15, "random_state": seed,
    }  # fmt: skip
    if spec.kind == "regression":
        regressor = HistGradientBoostingRegressor(max_iter=200, **common).fit(x, y)
        return lambda t: np.asarray(regressor.predict(t), dtype=np.float64)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        return None
    if counts.min() < 2:  # no class can be held out in proportion
        common |= {"early_stopping": False}
    # each round grows one tree a class: fewer rounds keep the work of 28 classes near that of two
    classifier = HistGradientBoostingClassifier(max_iter=max(30, 400 // len(classes)), **common)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        classifier.fit(x, y)
    position = classes.astype(np.int64)

    def predict(t: NDArray[np.float32]) -> Array:
        p = np.asarray(classifier.predict_proba(t), dtype=np.float64)
        if spec.kind == "binary":
            return p[:, 1] if 1 in position else np.zeros(len(t))
        out = np.zeros((len(t), spec.out_dim))
        out[:, position] = p
        return out

    return predict
