"""The labels of the measured rows, from the recorded scalars and the bounded sample of what the model read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.label_rate import missing, rate
from analysis.nullable import filled
from analysis.relabelled import Agreement, relabelled
from analysis.rows_relation import rows_relation
from analysis.stats.base import Array
from analysis.stats.factor import LEVELS, Factor, factor
from analysis.stats.giveaways import Giveaway, giveaways, ranks
from analysis.stats.labels import AmountLevel, Scales, TaskLabels, scales
from analysis.stats.run import Facts
from ple_model.label_profile import TrainedLabels
from ple_model.safe_arrays import open_parquet
from ple_model.sql_text import quote as q

LIMIT = 100_000
"""Rows of a task at most."""
AMOUNTS = 50
"""Positive amounts below which their distribution is not held against that of training."""
COLUMN_ROWS = 2_000
"""Rows on which single columns are held against labels at most: an area of 0.99 is seen on far fewer."""


@dataclass(frozen=True)
class ReadRows:
    """What the model read of some of the rows."""

    row: NDArray[np.int64]
    columns: Sequence[tuple[str, str]]
    """(input, name)"""
    values: NDArray[np.float32]
    """[n, c], NaN where a row lacks the input"""


def label_stats(
    rows: Path,
    facts: Facts,
    read: ReadRows | None,
    trained: Mapping[str, TrainedLabels] | None,
    amounts: Mapping[str, tuple[float, float]],
    class_names: Mapping[str, Sequence[str]] | None = None,
    agreements: Mapping[str, Agreement] | None = None,
) -> dict[str, TaskLabels]:
    """By task that has labels. `amounts`: mean and standard deviation of the training labels, on the label's own scale;
    `class_names` where classes have some; `agreements` of labels and probabilities, as they were summed over the rows."""
    with _Recorded(rows) as recorded:
        tasks = [t for t in facts.tasks if f"y:{t}" in recorded.have]
        recorded.read(tasks)
        some = None if read is None else _first(read)
        away = {} if some is None else _giveaways(facts, tasks, recorded, some)
        found = {}
        binary: list[str] = []
        for task in tasks:
            values, customers = recorded.of(task)
            before = None if trained is None else trained.get(task)
            one = _task(facts, task, values, customers, before, amounts.get(task), away.get(task))
            one = replace(one, names=tuple((class_names or {}).get(task, ())))
            if task in (agreements or {}) and one.n:
                assert agreements is not None
                one = replace(one, relabelled=relabelled(agreements[task], one.trained, min(1.0, customers / one.n)))
            if one.kind == "binary" and "p" in values:
                one = replace(one, rate=rate(values["y"], values["p"], one.trained, customers))
                if one.rate is not None:
                    binary.append(task)
            found[task] = one
        words = recorded.words()
        if words and binary:
            for task, where in missing(recorded.asked(), words, binary, fresh=recorded.fresh).items():
                found[task] = replace(found[task], missing=where)
        return found


def _giveaways(facts: Facts, tasks: Sequence[str], recorded: _Recorded, some: ReadRows) -> dict[str, Giveaway]:
    if not some.values.shape[1]:
        return {}
    asked = {t: (facts.kinds[t], recorded.labels(t, some.row)) for t in tasks if facts.kinds[t] != "contrastive"}
    return giveaways(asked, ranks(some.values), some.columns)


class _Recorded:
    """What was recorded of the labelled rows of each task. Of at most LIMIT rows all tasks are read at once: most of a query is
    opening a file of hundreds of columns."""

    def __init__(self, rows: Path) -> None:
        self.path, self.opened = rows, ExitStack()
        self.file = self.opened.enter_context(open_parquet(rows))
        self.have = set(self.file.schema_arrow.names)
        self.held: dict[str, NDArray[Any]] | None = None
        self.connection: duckdb.DuckDBPyConnection | None = None
        self.fresh = False
        """whether there are rows that did not train the model: then the others are not judged"""

    def __enter__(self) -> _Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()
        if self.connection is not None:
            self.connection.close()

    def read(self, tasks: Sequence[str]) -> None:
        """What these tasks need, or how to ask for it."""
        self.names = {t: [f"{k}:{t}" for k in "ypzco" if f"{k}:{t}" in self.have] for t in tasks}
        if self.file.metadata.num_rows <= LIMIT:
            every = dict.fromkeys(name for names in self.names.values() for name in names)
            table = self.file.read(["row", "customer_id", "split", *every], use_threads=False)
            self.held = {n: _numbers(table.column(n)) for n in every}
            self.row = _numbers(table.column("row")).astype(np.int64)
            self.customer = table.column("customer_id").combine_chunks().dictionary_encode().indices.to_numpy()
            split = np.array(table.column("split").to_pylist())
            self.fresh = bool((split != "train").any())
            self.chosen = split != "train" if self.fresh else np.ones(len(split), dtype=bool)
            return
        self.fresh = bool(self.asked().execute("SELECT count(*) FROM rows WHERE split <> 'train'").fetchall()[0][0])

    def asked(self) -> duckdb.DuckDBPyConnection:
        """A connection that has the `rows`."""
        if self.connection is None:
            every = dict.fromkeys(name for names in self.names.values() for name in names)
            self.connection = rows_relation(self.path, ["row", "customer_id", "split", *every, *self.words()])
        return self.connection

    def words(self) -> list[str]:
        """The readable columns that hold words."""
        schema = self.file.schema_arrow
        return sorted(n for n in schema.names if n.startswith("raw:") and _is_text(schema.field(n).type))

    def of(self, task: str) -> tuple[dict[str, Array], int]:
        """(values by kind of column of the rows that are judged, their customers)."""
        names = self.names[task]
        if self.held is not None:
            mine = np.flatnonzero(self.chosen & np.isfinite(self.held[f"y:{task}"]))
            return {n.split(":")[0]: self.held[n][mine] for n in names}, len(np.unique(self.customer[mine]))
        select = ", ".join(f"{q(n)}::DOUBLE AS {q(n)}" for n in names)
        only = "AND split <> 'train'" if self.fresh else ""
        data = (
            self.asked()
            .execute(f"SELECT customer_id, {select} FROM rows WHERE {_known(task)} {only} ORDER BY hash(row) LIMIT {LIMIT}")
            .fetchnumpy()
        )
        customers = len(set(filled(data.pop("customer_id")).tolist()))
        return {k.split(":")[0]: filled(v).astype(np.float64) for k, v in data.items()}, customers

    def labels(self, task: str, row: NDArray[np.int64]) -> Array:
        """[n] labels of the rows numbered `row`, NaN without one."""
        if self.held is None:
            return labels_of(self.asked(), task, row)
        y = self.held[f"y:{task}"]
        return _placed(self.row, np.where(np.isfinite(y), y, np.nan), row)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _numbers(column: pa.ChunkedArray) -> Array:
    """[n] NaN where there is none."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _known(task: str) -> str:
    """Condition of the rows that have a label of the task."""
    return f"{q(f'y:{task}')} IS NOT NULL AND isfinite({q(f'y:{task}')}::DOUBLE)"


def _first(read: ReadRows) -> ReadRows:
    return ReadRows(read.row[:COLUMN_ROWS], read.columns, read.values[:COLUMN_ROWS])


def labels_of(connection: duckdb.DuckDBPyConnection, task: str, row: NDArray[np.int64]) -> Array:
    """[n] labels of the rows numbered `row`, NaN without one; `connection` has the recorded `rows`."""
    known = _known(task)
    data = connection.execute(f"SELECT row, {q(f'y:{task}')}::DOUBLE AS y FROM rows WHERE {known}").fetchnumpy()
    return _placed(filled(data["row"]).astype(np.int64), filled(data["y"]).astype(np.float64), row)


def _placed(number: NDArray[np.int64], y: Array, row: NDArray[np.int64]) -> Array:
    """[n] of the rows numbered `row`; NaN where `number`, of the values y, has them not."""
    order = np.argsort(number)
    at = np.searchsorted(number, row, sorter=order)
    hit = np.zeros(len(row), dtype=bool)
    inside = at < len(number)
    hit[inside] = number[order[at[inside]]] == row[inside]
    out = np.full(len(row), np.nan)
    out[hit] = y[order[at[hit]]]
    return out


def _task(
    facts: Facts,
    task: str,
    values: Mapping[str, Array],
    customers: int,
    trained: TrainedLabels | None,
    amount: tuple[float, float] | None,
    away: Giveaway | None,
) -> TaskLabels:
    kind, y = facts.kinds[task], values["y"]
    counts: tuple[int, ...] = ()
    named: tuple[int, ...] = ()
    own: tuple[float, ...] = ()
    classes = {"binary": 2, "multiclass": facts.classes.get(task, 0)}.get(kind, 0)
    if classes:
        index = y.astype(np.int64)
        counts = tuple(np.bincount(index, minlength=classes)[:classes].tolist())
        if kind == "multiclass" and "c" in values and "o" in values:
            said = values["c"][np.isfinite(values["c"])].astype(np.int64)
            named = tuple(np.bincount(said[said >= 0], minlength=classes)[:classes].tolist())
            own = tuple(_mean(values["o"][(index == k) & np.isfinite(values["o"])]) for k in range(classes))
    distinct = None
    if trained is not None:
        distinct = len(set(trained.quantiles)) if kind == "regression" else int(np.count_nonzero(trained.counts))
        distinct = None if kind == "contrastive" else distinct
    return TaskLabels(
        kind, len(y), customers, len(np.unique(y)), counts, named, own, () if trained is None else trained.counts, distinct,
        _scales(facts, task, values, amount) if kind == "regression" else None, away,
        factor=_factor(task in facts.log_scale, y, trained) if kind == "regression" else None,
        level=_level(task in facts.log_scale, values, customers, amount) if kind == "regression" else None,
    )  # fmt: skip


def _level(logs: bool, values: Mapping[str, Array], customers: int, amount: tuple[float, float] | None) -> AmountLevel | None:
    """None where the training's mean, or the predictions, are not known, or one of the means has no size."""
    predicted = values.get("z") if logs else values.get("p")
    if predicted is None or amount is None:
        return None
    known = np.isfinite(predicted)
    y, said = values["y"][known], predicted[known]
    label = np.log1p(y) if logs else y
    (mean, std), count = amount, math.sqrt(max(min(customers, len(label)), 1))
    apart = float((label - said).std()) if len(label) else 0.0
    if not (len(label) and std > 0 and apart > 0) or label.min() < 0:
        return None  # a difference, which may be below 0, has no size to be a multiple of
    now, told = float(label.mean()), float(said.mean())
    with np.errstate(over="ignore"):  # a model that blew up says more than any amount
        here, trained, expected = (float(np.expm1(v)) if logs else v for v in (now, mean, told))
    if min(here, trained, expected) <= 0 or not math.isfinite(max(here, trained, expected)):
        return None
    return AmountLevel(len(label), customers, here, trained, expected, (now - mean) / std * count, (now - told) / apart * count)


def _factor(logs: bool, y: Array, trained: TrainedLabels | None) -> Factor | None:
    """The amounts of these rows over those of training; a logarithm is one of 1 + amount."""
    if trained is None or not len(y) or not trained.quantiles:
        return None
    kept = np.asarray(trained.quantiles)
    kept = np.expm1(kept) if logs else kept  # a quantile of a logarithm is the logarithm of the quantile
    amounts = kept[kept > 0]
    mine = y[y > 0]
    if len(amounts) < len(LEVELS) or len(mine) < AMOUNTS:
        return None
    return factor(np.quantile(mine, LEVELS), np.quantile(amounts, LEVELS), len(mine))


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _scales(facts: Facts, task: str, values: Mapping[str, Array], amount: tuple[float, float] | None) -> Scales | None:
    """The prediction of a logarithm stands for the amount's median: the mean would move the ratios."""
    y, logs = values["y"], task in facts.log_scale
    predicted = np.expm1(values["z"]) if "z" in values else values.get("p")
    if predicted is None or not len(y):
        return None
    label = np.log1p(y) if logs else y
    mean, std = amount or (math.nan, math.nan)
    spread = float(label.std() / std) if std > 0 else math.nan
    now = float(label.mean())
    if logs:
        return scales(y, predicted, spread, (now - mean) / math.log(10))
    return scales(y, predicted, spread, math.log10(now / mean) if now > 0 and mean > 0 else math.nan)
