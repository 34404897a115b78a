"""What simpler things reach on the rows that a model is measured on.

Each is fitted on the training split alone:
- `constant`: the training base rate, class shares, mean, or brand popularity (`row_loss.Yardstick`);
- `recency`, `prior_spend`: one column by itself, for binary tasks by logistic regression, `prior_spend` for amounts too by
  least squares. Of several windows of spend the one that tells most on the training split counts;
- `linear`: ridge or logistic regression on the feature columns (`linear`);
- `boosting`: gradient boosting (`boosting`) on every input that is no sequence (`flat_inputs`) of up to `BOOSTING_ROWS`
  training rows, stopped early on customers that it does not learn from;
- `reachable`: on the synthetic bank, the planted probability itself, where it is known.
Answers to a task that learns by Huber's loss get the offset that this loss asks for on the training rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model import baseline_folder as folder
from ple_model.baseline_folder import SplitBaselines, StoredBaselines, TaskBaselines
from ple_model.baseline_rows import baseline_of, read_rows
from ple_model.boosting import fit_boosting, held_out
from ple_model.data.dataset.columns import KEYS
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.linear import Matrix, Predict, Standardiser, fit_linear
from ple_model.metrics import BY_KIND, Metrics, auc, class_metrics, spearman
from ple_model.reachable import ReachableRows
from ple_model.row_loss import Yardstick, among, centre, yardstick
from ple_model.schema import RAW_PART
from ple_model.sources import source_digest
from ple_model.tasks import TASKS, TaskSpec

BOOSTING_ROWS = 100_000
"""Training rows of the baselines at most, drawn at random."""

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
        self.train = read_rows(dataset, ("train",), min(total, BOOSTING_ROWS), seed, quick)
        self.rest = read_rows(dataset, folder.SPLITS, None, seed, quick)
        self.sizes = {s: dataset.rows(s) for s in folder.SPLITS}
        if total > BOOSTING_ROWS:
            self.notes.append(f"baselines are fitted on {BOOSTING_ROWS:,} of {total:,} training rows")
        self.width = dataset.width
        self.scalers = dataset.context().label_scalers
        self.brands = len(dataset.context().brands)
        self.watch = held_out(self.train.customers, seed)
        self.planted = ReachableRows(dataset.path, self.rest.customers, self.rest.cutoffs)
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
        columns = {f"constant:{spec.name}": among(judge.of_constant(rest[there]), there)}
        if not there.any():
            return TaskBaselines(judge, int(known.sum()), {}), columns
        for name, answer in self._answers(spec, judge, label, known, there, tell):
            of = judge.of_amounts if spec.kind == "regression" else judge.of_probabilities
            loss = of(rest[there], answer)
            if name == "reachable":  # of a row that nothing is told of it is not known, which is no miss
                loss = np.where(np.isfinite(answer) if answer.ndim == 1 else np.isfinite(answer).all(axis=1), loss, np.nan)
            columns[f"{name}:{spec.name}"] = among(loss, there)
            columns |= {k: among(v, there) for k, v in _for_metrics(f"{name}:{spec.name}", spec, rest[there], answer).items()}
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
            if baseline_of(name) == baseline:
                best = max(best, (_told(spec.kind, y, column[known]), name))
        if best[1] and baseline == "prior_spend":
            self.notes.append(f"prior_spend of {spec.name}: {best[1]} tells most on the training rows")
        return best[1] or None


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
