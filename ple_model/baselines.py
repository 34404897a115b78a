"""What simpler things reach on the rows that a model is measured on: the one place where a constant and a baseline are defined.

Each is fitted on the training split alone:
- `constant`: the training base rate, class shares, mean, or brand popularity (`row_loss.Yardstick`);
- `recency`, `prior_spend`: one column by itself, for binary tasks by logistic regression, `prior_spend` for amounts too by
  least squares. Of several windows of spend the one that tells most on the training split counts;
- `linear`: ridge or logistic regression on the feature columns (`linear`);
- `boosting`: scikit-learn's HistGradientBoosting on every input that is no sequence (`flat_inputs`) of up to `BOOSTING_ROWS`
  training rows, stopped early on customers that it does not learn from;
- `reachable`: on the synthetic bank, the planted probability itself, where it is known.
Answers to a task that learns by Huber's loss get the offset that this loss asks for on the training rows.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model import baseline_folder as folder
from ple_model.amounts import amount_metrics
from ple_model.baseline_folder import SplitBaselines, StoredBaselines, TaskBaselines
from ple_model.data.dataset.columns import KEYS
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.flat_inputs import FLAT_FIELDS, flat
from ple_model.linear import Matrix, Predict, Standardiser, fit_linear
from ple_model.metrics import BY_KIND, Metrics, auc, class_metrics, spearman, weighted_ranks
from ple_model.reachable import Planted
from ple_model.row_loss import Yardstick, centre, yardstick
from ple_model.schema import RAW_PART
from ple_model.scoring import TaskRows
from ple_model.sources import source_digest
from ple_model.tasks import TASKS, TaskSpec

BOOSTING_ROWS = 100_000
"""Training rows of the baselines at most, drawn at random."""
HELD_OUT = 0.15
"""Share of the customers that early stopping watches."""
MIN_HELD_OUT = 50
"""With fewer rows than this to watch, boosting runs `BLIND_ROUNDS` rounds instead of stopping early."""
BLIND_ROUNDS = 50
SPEND = re.compile(r"(prior_)?spend_\d+d")

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]
"""Share done, and what is being done."""


def measure_all(
    dataset: Dataset, progress: Progress | None = None, *, seed: int = 0, keep: bool = True, quick: bool = False
) -> StoredBaselines:
    """Fit every baseline of every task of `dataset` and measure it on the validation and test rows; kept with the dataset if
    `keep`. `quick`: only the constant and the single columns, never kept. `UserError` without training rows or any others."""
    if not dataset.rows("train"):
        raise UserError(f"{dataset.path} has no training rows: there is nothing to fit baselines on")
    if not sum(dataset.rows(s) for s in folder.SPLITS):
        raise UserError(f"{dataset.path} has no rows outside its training split to measure baselines on")
    began = time.monotonic()
    tell = progress or (lambda share, what: None)
    tell(0.0, "reading the rows")
    fitting = _Fitting(dataset, seed, quick)
    tasks = [t for t in dataset.manifest.tasks if t in TASKS]
    columns: dict[str, Array] = {}
    found: dict[str, TaskBaselines] = {}
    for i, task in enumerate(tasks):
        one = fitting.task(TASKS[task], lambda what, i=i, task=task: tell((i + 0.5) / len(tasks), f"{task}: {what}"))  # type: ignore[misc]
        if one is not None:
            found[task] = one[0]
            columns |= one[1]
        tell((i + 1) / len(tasks), f"{task} done")
    rows = _table(dataset, columns)
    mark = dataset.manifest.fingerprint
    result = StoredBaselines(
        mark, mark, source_digest(folder.MADE_BY), round(time.monotonic() - began, 1), found,
        {s: dataset.rows(s) for s in folder.SPLITS}, rows, folder.reachable_mark(dataset.path), tuple(fitting.notes),
    )  # fmt: skip
    if quick or not keep:
        return result
    try:
        folder.write(dataset.path, result, rows)
    except (UserError, OSError) as e:
        return replace(result, unkept=" ".join(str(e).split()))
    return folder.read(dataset.path, dataset.manifest)


def _table(dataset: Dataset, columns: Mapping[str, Array]) -> pa.Table:
    """The validation and test rows' keys and these columns, in file order; NaN is null."""
    keys = pa.concat_tables([dataset.table(list(KEYS), s) for s in folder.SPLITS if dataset.rows(s)])
    arrays = {k: keys.column(k) for k in KEYS}
    return pa.table({**arrays, **{k: pa.array(v.astype(np.float32), from_pandas=True) for k, v in columns.items()}})


class _Fitting:
    """The rows of a dataset in memory, and the answers fitted on its training split."""

    def __init__(self, dataset: Dataset, seed: int, quick: bool) -> None:
        self.notes: list[str] = []
        self.dataset, self.seed, self.quick = dataset, seed, quick
        total = dataset.rows("train")
        self.train = _read(dataset, ("train",), min(total, BOOSTING_ROWS), seed, quick)
        self.rest = _read(dataset, folder.SPLITS, None, seed, quick)
        self.sizes = {s: dataset.rows(s) for s in folder.SPLITS}
        if total > BOOSTING_ROWS:
            self.notes.append(f"baselines are fitted on {BOOSTING_ROWS:,} of {total:,} training rows")
        self.width = dataset.width
        self.scalers = dataset.context().label_scalers
        self.brands = len(dataset.context().brands)
        self.watch = held_out(self.train.customers, seed)
        self.planted = Planted(dataset.path, self.rest.customers, self.rest.cutoffs)
        if not quick:
            scale = Standardiser.fit(self.train.matrix[:, : self.width], dataset.parts.get(RAW_PART, slice(0, 0)))
            self.train_columns, self.rest_columns = (scale(r.matrix[:, : self.width]) for r in (self.train, self.rest))

    def task(self, spec: TaskSpec, tell: Callable[[str], None]) -> tuple[TaskBaselines, dict[str, Array]] | None:
        """Its mean losses, and its columns of the validation and test rows; None without training labels."""
        label, rest = self.train.labels[spec.name], self.rest.labels[spec.name]
        scaler = self.scalers.get(spec.name)
        judge = yardstick(
            spec, label, classes=self.brands if spec.kind == "contrastive" else 0,
            scale=None if scaler is None else (scaler.mean, scaler.std),
        )  # fmt: skip
        if judge is None:
            return None
        known, there = judge.known(label), judge.known(rest)
        columns = {f"constant:{spec.name}": _spread(judge.of_constant(rest[there]), there)}
        if not there.any():
            return TaskBaselines(judge, int(known.sum()), {}), columns
        for name, answer in self._answers(spec, judge, label, known, there, tell):
            of = judge.of_amounts if spec.kind == "regression" else judge.of_probabilities
            loss = of(rest[there], answer)
            if name == "reachable":  # of a row that nothing is told of it is not known, which is no miss
                loss = np.where(np.isfinite(answer) if answer.ndim == 1 else np.isfinite(answer).all(axis=1), loss, np.nan)
            columns[f"{name}:{spec.name}"] = _spread(loss, there)
            columns |= {k: _spread(v, there) for k, v in _for_metrics(f"{name}:{spec.name}", spec, rest[there], answer).items()}
        return TaskBaselines(judge, int(known.sum()), self._splits(spec.name, columns, there)), columns

    def _splits(self, task: str, columns: Mapping[str, Array], there: NDArray[np.bool_]) -> dict[str, SplitBaselines]:
        out, first = {}, 0
        for split, size in self.sizes.items():
            rows = slice(first, first + size)
            first += size
            mine = there[rows]
            if mine.any():
                have = [b for b in folder.ORDER if f"{b}:{task}" in columns]
                means = {b: float(columns[f"{b}:{task}"][rows][mine].mean()) for b in have}
                loss = {b: v for b, v in means.items() if np.isfinite(v)}
                customers = len(np.unique(self.rest.customers[rows][mine].astype(str)))
                out[split] = SplitBaselines(int(mine.sum()), customers, loss)
        return out

    def _answers(
        self, spec: TaskSpec, judge: Yardstick, label: Array, known: NDArray[np.bool_], there: NDArray[np.bool_],
        tell: Callable[[str], None],
    ) -> Iterator[tuple[str, Array]]:  # fmt: skip
        """(baseline, its predictions of the judged rows) of those that are defined for the task."""
        y = label[known]
        if spec.kind == "binary" or (spec.kind == "regression" and y.ndim == 1):
            for baseline in ("recency", "prior_spend") if spec.kind == "binary" else ("prior_spend",):
                chosen = self._column(spec, baseline, y, known)
                if chosen is not None:
                    fitted = fit_column(judge, self.train.single[chosen][known], y)
                    if fitted is not None:
                        yield baseline, fitted(self.rest.single[chosen][there])
        planted = self.planted.of(spec)
        if planted is not None:
            yield "reachable", planted[there]
        if self.quick or spec.kind == "contrastive":
            return
        tell("linear")
        x, t = self.train_columns[known], self.rest_columns[there]
        linear = fit_linear(judge, x, y, self.watch[known])
        if linear is not None:
            yield "linear", _offset(judge, linear, x, y)(t)
        tell("boosting")
        customers = self.train.customers[known]
        x, t = self.train.matrix[known], self.rest.matrix[there]
        outputs = [y] if y.ndim == 1 else [y[:, k] for k in range(y.shape[1])]
        fits = [fit_boosting(spec, x, one, self.seed, customers) for one in outputs]
        if fits[0] is None:
            self.notes.append(f"boosting of {spec.name}: its training labels are all of one class")
        elif y.ndim == 1:
            yield "boosting", _offset(judge, fits[0], x, y)(t)
        else:
            yield "boosting", np.stack([one(t) for one in fits if one is not None], axis=1)

    def _column(self, spec: TaskSpec, baseline: str, y: Array, known: NDArray[np.bool_]) -> str | None:
        """The column of this baseline that tells most on the training rows."""
        best = (0.0, "")
        for name, column in self.train.single.items():
            if _baseline_of(name) == baseline:
                best = max(best, (_told(spec.kind, y, column[known]), name))
        if best[1] and baseline == "prior_spend":
            self.notes.append(f"prior_spend of {spec.name}: {best[1]} tells most on the training rows")
        return best[1] or None


def _spread(values: Array, there: NDArray[np.bool_]) -> Array:
    """[m] values of the rows `there` [n] -> [n], NaN elsewhere."""
    out = np.full(len(there), np.nan)
    out[there] = values
    return out


def _offset(judge: Yardstick, predict: Predict, x: Matrix, y: Array) -> Predict:
    """The same, moved by the offset with the lowest loss on the training rows: what is fitted by least squares aims at a mean,
    and Huber's loss does not."""
    if judge.kind != "regression" or judge.loss != "huber" or y.ndim > 1:
        return predict
    move = centre((y - predict(x)) / max(judge.std, 1e-12), judge.loss, judge.delta) * judge.std
    return lambda t: predict(t) + move


def _for_metrics(name: str, spec: TaskSpec, label: Array, answer: Array) -> dict[str, Array]:
    """What the metrics of a row are drawn from, by column."""
    if answer.ndim == 1:
        return {f"{name}:value": answer}
    if spec.kind != "multiclass":
        return {}
    own = np.take_along_axis(answer, label.astype(np.int64)[:, None], axis=1)
    above = (answer > own).sum(axis=1)
    return {f"{name}:guess": answer.argmax(axis=1), f"{name}:top": answer.max(axis=1), f"{name}:above": above}


def metrics_of(found: StoredBaselines, spec: TaskSpec, split: str, rows: NDArray[np.int64], label: Array) -> dict[str, Metrics]:
    """By baseline but the constant, the metrics on `rows` (positions in the split) whose labels are `label` [n]."""
    out: dict[str, Metrics] = {}
    for baseline, loss in found.losses(spec.name, split).items():
        if baseline == "constant" or not len(rows):
            continue
        key = f"{baseline}:{spec.name}"
        if np.isnan(loss[rows]).any():
            continue
        if spec.kind == "multiclass" and f"{key}:top" in found.names:
            guess, top, above = (found.column(f"{key}:{k}", split)[rows] for k in ("guess", "top", "above"))
            out[baseline] = class_metrics(label, guess, top, np.exp(-loss[rows]), above)
        elif f"{key}:value" in found.names:
            out[baseline] = BY_KIND[spec.kind](label, found.column(f"{key}:value", split)[rows], None)
    return out


@dataclass(frozen=True)
class _Rows:
    """Inputs [n, F], `features` first; customer ids and cut-offs [n]; labels by task [n] or [n, outputs], NaN where missing;
    single columns by name [n]."""

    matrix: NDArray[np.float32]
    customers: NDArray[np.object_]
    cutoffs: NDArray[np.object_]
    labels: dict[str, Array]
    single: dict[str, Array]


def _read(dataset: Dataset, splits: Sequence[str], limit: int | None, seed: int, quick: bool) -> _Rows:
    """The rows of these splits in file order, or a seeded sample of `limit` rows of one split. `quick`: the columns alone."""
    total = sum(dataset.rows(s) for s in splits)
    keep = np.arange(total)
    if limit is not None and limit < total:
        keep = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
    chosen = np.zeros(total, dtype=bool)
    chosen[keep] = True
    pieces: list[NDArray[np.float32]] = []
    customers: list[str] = []
    cutoffs: list[str] = []
    labels: dict[str, list[Array]] = {}
    first = 0
    fields = ("features",) if quick else tuple(f for f in FLAT_FIELDS if f in dataset.manifest.fields)
    for batch in (b for s in splits if dataset.rows(s) for b in dataset.batches(s, 4096, window_rows=4096, fields=fields)):
        mine = chosen[first : first + len(batch)]
        first += len(batch)
        pieces.append((batch.inputs.features.numpy() if quick else flat(batch.inputs))[mine])
        customers += [c for c, taken in zip(batch.customer_id, mine, strict=True) if taken]
        cutoffs += [c for c, taken in zip(batch.cutoff, mine, strict=True) if taken]
        for task, value in (batch.inputs.targets or {}).items():
            y = value.numpy()[mine].astype(np.float64)
            labels.setdefault(task, []).append(y if value.is_floating_point() else np.where(y < 0, np.nan, y))
    matrix = np.concatenate(pieces)
    joined = {k: np.concatenate(v) for k, v in labels.items()}
    ids, dates = np.array(customers, dtype=object), np.array(cutoffs, dtype=object)
    return _Rows(matrix, ids, dates, joined, _single_columns(dataset, splits, matrix, keep))


def _baseline_of(column: str) -> str | None:
    name = column.removeprefix("raw:")
    return "recency" if name == "recency_days" else "prior_spend" if SPEND.fullmatch(name) else None


def _single_columns(
    dataset: Dataset, splits: Sequence[str], features: NDArray[np.float32], keep: NDArray[np.int64]
) -> dict[str, Array]:
    """By name: the readable columns (`raw:`) and those of the schema that a single-column baseline may use, for the rows
    `keep`. A readable column stands for the schema's of the same name."""
    readable = ["raw:" + n.removeprefix("raw:") for n in dataset.manifest.raw_columns]
    found: dict[str, Array] = {}
    for name in (n for n in readable if _baseline_of(n)):
        whole = pa.chunked_array([c for s in splits if dataset.rows(s) for c in dataset.table([name], s).column(0).chunks])
        found[name] = np.asarray(whole.to_pandas(), dtype=np.float64)[keep]
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


def _told(kind: str, label: Array, column: Array) -> float:
    """How far a column by itself ranks the labels: the AUC's distance from one half, or the size of the rank correlation; 0
    where it says nothing."""
    there = np.isfinite(column)
    if not there.any():
        return 0.0
    whole = np.where(there, column, np.median(column[there]))
    if whole.min() == whole.max():
        return 0.0
    found = abs(auc(label, whole) - 0.5) if kind == "binary" else abs(spearman(label, whole))
    return found if np.isfinite(found) else 0.0


def fit_column(judge: Yardstick, column: Array, y: Array) -> Callable[[Array], Array] | None:
    """One column by itself, through sign(x) log(1 + |x|): logistic regression, or least squares for an amount; empty cells get
    the median of the training rows. It ranks as the column does, in the direction that it has there."""
    middle = np.nanmedian(np.where(np.isfinite(column), column, np.nan))

    def shaped(values: Array) -> Matrix:
        x = np.where(np.isfinite(values), values, middle)
        return (np.sign(x) * np.log1p(np.abs(x))).astype(np.float32)[:, None]

    scale = Standardiser.fit(shaped(column), slice(0, 0))
    x = scale(shaped(column))
    fitted = fit_linear(judge, x, y, np.zeros(len(y), dtype=bool), fallback=1e-6)
    if fitted is None:
        return None
    whole = _offset(judge, fitted, x, y)
    return lambda values: whole(scale(shaped(values)))


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
