"""How well a run predicts: the metrics of `ple evaluate` by split, from the scalars of the measured rows or of a cohort.

What is shown on a page is of the weights and rows in front of the reader. Each definition is that of `ple_model.metrics`,
`baselines` and `amounts`; a constant is that of the measured training rows, whatever the cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np

from analysis.cohort import CohortFilter, where
from analysis.nullable import filled
from analysis.rows_relation import rows_relation
from analysis.stats.base import Array
from analysis.stats.run import Facts, SplitPerformance, TaskPerformance
from analysis.store import AnalysisStore
from ple_model.amounts import amount_metrics
from ple_model.constant_metrics import commonest_share, constant_metrics
from ple_model.metrics import BY_KIND, Metrics, class_metrics
from ple_model.safe_arrays import open_parquet
from ple_model.sql_text import quote as q

SPLITS = ("test", "validation", "train")
"""In the order in which they tell most: a model has seen the last."""
LIMIT = 1_000_000
"""Labelled rows of a task and split at most, drawn by the hash of their number."""
COHORT_LIMIT = 100_000
"""Rows of a cohort at most while a page waits, drawn in the same way; fewer of them have a task's label."""

Connection = duckdb.DuckDBPyConnection


def rows_performance(rows: Path, facts: Facts) -> dict[str, SplitPerformance]:
    """Of every split that the recorded rows have."""
    with open_parquet(rows) as file:
        have = file.schema_arrow.names
    needed = dict.fromkeys(n for task in facts.tasks for n in _columns(facts.kinds[task], task, have))
    with rows_relation(rows, ["row", "customer_id", "split", *needed]) as connection:
        known: dict[str, Array] = {}
        found = {s: _split(connection, facts, s, (), LIMIT, known) for s in SPLITS}
    return {s: x for s, x in found.items() if x.rows}


def performance(store: AnalysisStore, split: str, filters: Sequence[CohortFilter] = ()) -> SplitPerformance:
    """Of the rows of `split` that pass the filters; without any, what was recorded."""
    if not filters:
        return store.statistics.performance.get(split, SplitPerformance(split, 0, 0, {}))
    store.count(filters)  # names an unknown column or a value that does not fit
    facts, c = store.statistics.facts, store.cursor()
    condition, values = where([*filters, _of(split)])
    have = list(store.columns)
    needed = [n for task in facts.tasks for n in _columns(facts.kinds[task], task, have)]
    rows = int(c.execute(f"SELECT count(*) FROM rows {condition}", values).fetchall()[0][0])
    if rows > COHORT_LIMIT:
        condition = f"{condition} AND hash(row) % {-(-rows // COHORT_LIMIT)} = 0"
    # read once and kept beside this cursor: a query a task over all rows would read the cohort's condition as many times
    chosen = ", ".join(dict.fromkeys(["row", "customer_id", "split", *map(q, needed)]))
    c.execute(f"CREATE TEMP TABLE picked AS SELECT {chosen} FROM rows {condition}", values)
    found = _split(c, facts, split, (), COHORT_LIMIT, store.training_labels, source="picked")
    return found if rows == found.rows else replace(found, rows=rows, customers=store.customers([*filters, _of(split)]))


def _of(split: str) -> CohortFilter:
    return CohortFilter("split", "eq", (split,))


def _split(
    c: Connection,
    facts: Facts,
    split: str,
    filters: Sequence[CohortFilter],
    limit: int,
    known_labels: dict[str, Array] | None = None,
    source: str = "rows",
) -> SplitPerformance:
    """`known_labels`: training labels by task, kept here from one split to the next; `source`: the table of the rows."""
    training = {} if known_labels is None else known_labels
    condition, values = where([*filters, _of(split)])
    count = f"SELECT count(*), count(DISTINCT customer_id) FROM {source}"
    rows, customers = c.execute(f"{count} {condition}", values).fetchall()[0]
    have = [str(r[0]) for r in c.execute(f"DESCRIBE {source}").fetchall()]
    found: dict[str, TaskPerformance] = {}
    for task in facts.tasks if rows else ():
        needs = _columns(facts.kinds[task], task, have)
        if not needs:
            continue
        known = " AND ".join(f"{q(n)} IS NOT NULL AND isfinite({q(n)}::DOUBLE)" for n in needs if n.startswith(("y:", "l:")))
        if facts.kinds[task] == "contrastive":
            known += f" AND {q(f'r:{task}')} IS NOT NULL"
        select = ", ".join(["customer_id", *(f"{q(n)}::DOUBLE AS {q(n)}" for n in needs)])
        data = c.execute(
            f"SELECT {select} FROM {source} {condition} AND {known} ORDER BY hash(row) LIMIT {limit}", values
        ).fetchnumpy()
        if not len(data["customer_id"]):
            continue
        names = filled(data.pop("customer_id"))
        read = {n: filled(v).astype(np.float64) for n, v in data.items()}
        if task not in training:
            training[task] = _trained(c, facts, task, limit) if f"y:{task}" in needs else np.zeros(0)
        found[task] = _task(facts, task, read, len(set(names.tolist())), training[task])
    return SplitPerformance(split, int(rows), int(customers), found)


def _columns(kind: str, task: str, have: Sequence[str]) -> list[str]:
    """What a task's metrics are drawn from; empty where it has no labels. A task of several outputs has columns by output."""
    several = [n for n in have if n.startswith((f"l:{task}:", f"z:{task}:"))]
    if several:
        return several
    own = {"multiclass": ("y", "p", "c", "o", "r"), "contrastive": ("y", "r")}.get(kind, ("y", "p", "z"))
    return [f"{k}:{task}" for k in own if f"{k}:{task}" in have] if f"y:{task}" in have else []


def _trained(c: Connection, facts: Facts, task: str, limit: int) -> Array:
    """The task's labels on the measured training rows, in the scale that the model learns."""
    y = f"{q(f'y:{task}')}::DOUBLE"
    known = f"split = 'train' AND {y} IS NOT NULL AND isfinite({y})"
    found = c.execute(f"SELECT {y} AS y FROM rows WHERE {known} ORDER BY hash(row) LIMIT {limit}").fetchnumpy()
    labels = filled(found["y"]).astype(np.float64)
    return np.log1p(labels) if task in facts.log_scale else labels


def _task(facts: Facts, task: str, read: dict[str, Array], customers: int, trained: Array) -> TaskPerformance:
    kind, logs = facts.kinds[task], task in facts.log_scale
    several = sorted((n for n in read if n.startswith("l:")), key=lambda n: int(n.rsplit(":", 1)[1]))
    if several:
        label = np.stack([read[n] for n in several], 1)
        metrics = BY_KIND[kind](label, np.stack([read[f"z:{n[2:]}"] for n in several], 1), None)
    else:
        shown = read[f"y:{task}"]
        label = np.log1p(shown) if logs else shown
        if kind == "multiclass":
            metrics = _classes(label, read, task, facts.classes[task])
        elif kind == "contrastive":
            metrics = BY_KIND[kind](label, read[f"r:{task}"], None)
        else:
            metrics = dict(BY_KIND[kind](label, read[f"z:{task}" if logs else f"p:{task}"], None))
            if task in facts.amount_means:
                metrics |= amount_metrics(shown, read[f"p:{task}"])
    constant = constant_metrics(kind, logs, label, trained) if len(trained) else {}
    return TaskPerformance(kind, len(label), customers, commonest_share(kind, label), metrics, constant)


def _classes(label: Array, read: dict[str, Array], task: str, classes: int) -> Metrics:
    """A row whose probabilities are no numbers is a miss in each, as in `metrics.multiclass_metrics`."""
    top, guess, own, rank = (read[f"{k}:{task}"] for k in ("p", "c", "o", "r"))
    chosen = np.where(np.isfinite(top), guess, (label + 1) % classes)
    return class_metrics(label, chosen, top, own, rank - 1, classes=classes)
