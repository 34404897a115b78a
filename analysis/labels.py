"""The labels of the measured rows, from the recorded scalars and the bounded sample of what the model read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from analysis.label_rate import missing, rate
from analysis.nullable import filled
from analysis.relabelled import Agreement, relabelled
from analysis.stats.base import Array
from analysis.stats.factor import LEVELS, Factor, factor
from analysis.stats.labels import Giveaway, Scales, TaskLabels, giveaway, ranks, scales
from analysis.stats.run import Facts
from ple_model.label_profile import TrainedLabels
from ple_model.sql_paths import to_read
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
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("SET parquet_metadata_cache = true")  # hundreds of columns, one query a task
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({to_read(rows)})")
        have = {str(r[0]): str(r[1]) for r in connection.execute("DESCRIBE rows").fetchall()}
        fresh = connection.execute("SELECT count(*) FROM rows WHERE split <> 'train'").fetchall()[0][0]
        some = None if read is None else _first(read)
        ranked = None if some is None or not some.values.shape[1] else ranks(some.values)
        found = {}
        binary: list[str] = []
        for task in facts.tasks:
            if f"y:{task}" not in have:
                continue
            known = _known(task)
            names = ["customer_id", *(f"{k}:{task}" for k in "ypzco" if f"{k}:{task}" in have)]
            select = ", ".join(q(n) if n == "customer_id" else f"{q(n)}::DOUBLE AS {q(n)}" for n in names)
            data = connection.execute(
                f"SELECT {select} FROM rows WHERE {known}{' AND split <> $$train$$' if fresh else ''} "
                f"ORDER BY hash(row) LIMIT {LIMIT}"
            ).fetchnumpy()
            customers = len(set(filled(data.pop("customer_id")).tolist()))
            values = {k.split(":")[0]: filled(v).astype(np.float64) for k, v in data.items()}
            away = None
            if some is not None and ranked is not None and facts.kinds[task] != "contrastive":
                label = labels_of(connection, task, some.row)
                away = giveaway(facts.kinds[task], label, ranked, some.columns)
            before = None if trained is None else trained.get(task)
            one = _task(facts, task, values, customers, before, amounts.get(task), away)
            one = replace(one, names=tuple((class_names or {}).get(task, ())))
            if task in (agreements or {}) and one.n:
                assert agreements is not None
                one = replace(one, relabelled=relabelled(agreements[task], one.trained, min(1.0, customers / one.n)))
            if one.kind == "binary" and "p" in values:
                one = replace(one, rate=rate(values["y"], values["p"], one.trained, customers))
                if one.rate is not None:
                    binary.append(task)
            found[task] = one
        words = [n for n in have if n.startswith("raw:") and have[n] == "VARCHAR"]
        for task, where in missing(connection, sorted(words), binary, fresh=bool(fresh)).items():
            found[task] = replace(found[task], missing=where)
        return found


def _known(task: str) -> str:
    """Condition of the rows that have a label of the task."""
    return f"{q(f'y:{task}')} IS NOT NULL AND isfinite({q(f'y:{task}')}::DOUBLE)"


def _first(read: ReadRows) -> ReadRows:
    return ReadRows(read.row[:COLUMN_ROWS], read.columns, read.values[:COLUMN_ROWS])


def labels_of(connection: duckdb.DuckDBPyConnection, task: str, row: NDArray[np.int64]) -> Array:
    """[n] labels of the rows numbered `row`, NaN without one; `connection` has the recorded `rows`."""
    known = _known(task)
    data = connection.execute(f"SELECT row, {q(f'y:{task}')}::DOUBLE AS y FROM rows WHERE {known}").fetchnumpy()
    number, y = filled(data["row"]).astype(np.int64), filled(data["y"]).astype(np.float64)
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
    )  # fmt: skip


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
