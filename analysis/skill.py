"""Skill of the recorded rows or of a cohort, from the losses that were recorded for each row (`analysis.judging`).

While a page waits nothing is fitted: the model, the constant and the stored baselines were all judged when the rows were
recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.cohort import CohortFilter, where
from analysis.nullable import filled
from analysis.stats.base import Array
from analysis.stats.skill import PAIRED, SPLITS, TaskSkill
from analysis.store import AnalysisStore
from ple_model.interval import Interval
from ple_model.row_loss import Yardstick
from ple_model.safe_arrays import open_parquet
from ple_model.skill import ORDER, Resamples
from ple_model.sql_paths import to_read
from ple_model.sql_text import quote as q

LIMIT = 1_000_000
"""Rows of a split, about, at most; more are thinned by the hash of their number."""
COHORT_LIMIT = 100_000
"""The same while a page waits."""
QUERY_VALUES = 8_000_000
"""Values that one query reads at most."""
NAMES = (*ORDER, "model")
Skills = dict[str, dict[str, TaskSkill]]
Told = tuple[str, str, int]
"""Kind, loss and training rows of a task."""


def rows_skill(rows: Path, yardsticks: Mapping[str, Yardstick], trained_on: Mapping[str, int]) -> Skills:
    """By split: test and validation, or train where nothing else is there."""
    told = {t: (y.kind, y.loss, trained_on.get(t, 0)) for t, y in yardsticks.items()}
    with open_parquet(rows) as file:
        have = [n for n in file.schema_arrow.names if n.startswith("w:")]
        if file.metadata.num_rows * len(have) <= QUERY_VALUES:  # opened once: most of a query is opening hundreds of columns
            return _of_table(told, file.read(["split", "customer_id", *have], use_threads=False))
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("SET parquet_metadata_cache = true")  # hundreds of columns, one query a task
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({to_read(rows)})")
        found = {s: x for s in SPLITS[:2] if (x := _split(connection, told, s, (), LIMIT))}
        return found or {s: x for s in SPLITS[2:] if (x := _split(connection, told, s, (), LIMIT))}


def _of_table(told: Mapping[str, Told], table: pa.Table) -> Skills:
    found: Skills = {}
    for split in SPLITS:
        if split == SPLITS[2] and found:
            break
        mine = table.filter(pc.equal(table.column("split"), split))
        if len(mine):
            customers = np.array(mine.column("customer_id").to_pylist(), dtype=str)
            one = _tasks(told, table.column_names, customers, partial(_numbers, mine))
            if one:
                found[split] = one
    return found


def _numbers(table: pa.Table, names: Sequence[str]) -> dict[str, Array]:
    return {n: np.asarray(table.column(n).to_numpy(), dtype=np.float64) for n in names}


def skill(store: AnalysisStore, split: str, filters: Sequence[CohortFilter] = ()) -> dict[str, TaskSkill]:
    """By task, of the rows of `split` that pass the filters; without any, what was recorded."""
    recorded = store.statistics.skill
    if not filters:
        return recorded.get(split, {})
    store.count(filters)  # names an unknown column or a value that does not fit
    told = {t: (x.kind, x.loss, x.trained_on) for tasks in recorded.values() for t, x in tasks.items()}
    return _split(store.cursor(), told, split, filters, COHORT_LIMIT)


def _split(
    c: duckdb.DuckDBPyConnection, told: Mapping[str, Told], split: str, filters: Sequence[CohortFilter], limit: int
) -> dict[str, TaskSkill]:
    have = [str(r[0]) for r in c.execute("DESCRIBE rows").fetchall()]
    condition, values = where([*filters, CohortFilter("split", "eq", (split,))])
    rows = int(c.execute(f"SELECT count(*) FROM rows {condition}", values).fetchall()[0][0])
    if rows > limit:
        condition = f"{condition} AND hash(row) % {-(-rows // limit)} = 0"
    customers = filled(c.execute(f"SELECT customer_id FROM rows {condition}", values).fetchnumpy()["customer_id"])
    if not len(customers):
        return {}

    def read(names: Sequence[str]) -> dict[str, Array]:
        found = c.execute(f"SELECT {', '.join(map(q, names))} FROM rows {condition}", values).fetchnumpy()
        return {n: filled(found[n]).astype(np.float64) for n in names}

    return _tasks(told, have, customers.astype(str), read)


def _tasks(
    told: Mapping[str, Told],
    have: Sequence[str],
    customers: NDArray[np.str_],
    read: Callable[[Sequence[str]], dict[str, Array]],
) -> dict[str, TaskSkill]:
    """Of rows of these customers whose columns `read` gives."""
    resamples = Resamples(customers)
    wanted = {t: names for t in told if {"constant", "model"} <= set(names := [n for n in NAMES if f"w:{t}:{n}" in have])}
    together = max(1, QUERY_VALUES // (len(NAMES) * len(customers)))
    out: dict[str, TaskSkill] = {}
    for some in batched(wanted, together):
        values = read([f"w:{t}:{n}" for t in some for n in wanted[t]])
        for task in some:
            found = task_skill(task, {n: values[f"w:{task}:{n}"] for n in wanted[task]}, resamples, *told[task])
            if found is not None:
                out[task] = found
    return out


def batched(names: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """`itertools.batched` of Python 3.12."""
    rest = iter(names)
    while some := tuple(islice(rest, size)):
        yield some


def task_skill(
    task: str, losses: Mapping[str, Array], resamples: Resamples, kind: str, loss: str, trained_on: int = 0
) -> TaskSkill | None:
    """From row losses [n], NaN without a label. A baseline that lacks a labelled row is left out: means are of the same
    rows."""
    there = np.isfinite(losses["constant"]) & np.isfinite(losses["model"])
    if not there.any():
        return None
    whole = {n: np.where(there, v, 0.0) for n, v in losses.items() if np.isfinite(v[there]).all()}
    rows = int(there.sum())
    means = {n: float(v.sum() / rows) for n, v in whole.items()}
    base = means["constant"]
    own = resamples.share(whole["model"], whole["constant"])
    return TaskSkill(
        task, kind, loss, rows, len(np.unique(resamples.code[there])), means,
        Interval(1 - own.value, 1 - own.high, 1 - own.low),
        {n: 1 - v / base for n, v in means.items() if n not in ("constant", "model") and base > 0},
        {n: resamples.share(whole["model"] - whole[n], whole["constant"]) for n in PAIRED if n in whole},
        trained_on, events(losses["constant"][there]) if kind == "binary" else None,
    )  # fmt: skip


def events(constant: Array) -> int:
    """Rows of the rarer label, of a constant's log losses [n]: one number for each label (0: all rows have the same). Of a
    constant of one half, whose losses are alike, half of them."""
    losses, rows = np.unique(constant.round(9), return_counts=True)
    if len(losses) > 1:
        return int(rows.min())
    return len(constant) // 2 if np.isclose(losses[0], np.log(2), atol=1e-6) else 0
