"""Labels of the tasks from events at or after the cut-off (features see only what is before it).

Each task's record holds its own definition in SQL (`tasks.record` says what it reads, `tasks/*.py` what it is); here the tables
that they share are made, the answers become columns, and a source's own label table has the last word.

With day 1 = the cut-off date itself: active is a day with at least one purchase, deposit or session; a refund alone is no
activity. Spend is net of refunds, never below 0; counts, gaps, channels and brands are of purchases alone. A label whose window
goes beyond what the source covers is missing, and so is that of a row outside the task's condition (`tasks.Condition`: for whom
the task is defined), whatever comes after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from string import Template
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model.data.build.coverage import last_event
from ple_model.data.checking.labels import PROXY, classes_of
from ple_model.data.dataset.columns import is_class_task, is_wide_task
from ple_model.data.events.connect import EventStore
from ple_model.data.events.sql import is_blank
from ple_model.data.labels.conditions import ACTIVITY, PURCHASE, Defined, defined
from ple_model.errors import UserError, did_you_mean
from ple_model.sql_text import quote
from ple_model.tasks import TASKS, TaskSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelSettings:
    """Windows in days; a task's SQL names them as `$horizon_days` and so on."""

    horizon_days: int = 84
    active_days: int = 28
    retention_from: int = 57
    retention_to: int = 84
    timing_days: int = 28
    treatment_days: int = 7
    """Who is shown a campaign within them is treated (`tasks.treatment`)."""
    response_days: int = 28
    """What the treated and the others do within them is compared; never more than the horizon."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UserError(f"labels.{name}: {value} is not valid, it must be at least 1")


@dataclass(frozen=True)
class Labels:
    """Columns by task over the spine's row_id order: int32 with -1, float32 with NaN; brands as names (None = missing)."""

    columns: dict[str, Array]
    brand: NDArray[np.object_]
    defined: Defined = field(default_factory=dict)
    """Rows that each task with a condition is defined for; no label lies outside."""
    own: tuple[str, ...] = ()
    """Tasks whose labels the source gave itself, and with them for whom they are defined."""

    def with_brands(self, brands: tuple[str, ...]) -> dict[str, Array]:
        """The columns with brand_prediction as index into `brands`; -1 for a brand that is not among them."""
        index = {b: i for i, b in enumerate(brands)}
        ids = np.fromiter((index.get(b, -1) if b is not None else -1 for b in self.brand), np.int32, len(self.brand))
        return {**self.columns, "brand_prediction": ids}


def compute_labels(
    store: EventStore, settings: LabelSettings, own: Iterable[str] = (), compared: Mapping[str, Array] | None = None
) -> Labels:
    """Labels of every row of the table `spine(row_id, customer_id, cutoff, split)` of `store.con`; overridden by
    `labels.parquet`. `own`: tasks that had labels of their own in training, beside those that have them here. `compared`: where
    these rows are some of many, what `compare_customers` says of them."""
    con, compared = store.con, compared or {}
    n = _rows(store)
    columns = {t: _empty(spec, n) for t, spec in TASKS.items()}
    brand = np.full(n, None, object)
    if _derived(store):
        with _laid_ready(store, settings, "TABLE"):
            for task, spec in TASKS.items():
                if task in compared:
                    columns[task] = compared[task].copy()
                elif spec.kind == "contrastive" and spec.label:
                    brand = _texts(_answer(con, spec, _words(settings), n))
                elif spec.label:
                    columns[task] = _column(con, spec, settings, n)
    given = {*own, *(_override(con, columns, brand) if "labels" in store.present else ())}
    where = defined(store, given)
    for task, rows in where.items():
        if task == "brand_prediction":
            brand[~rows] = None
        else:
            columns[task][~rows] = -1 if is_class_task(task) else np.nan
    return Labels(columns, brand, where, tuple(sorted(given)))


def compare_customers(store: EventStore, settings: LabelSettings) -> dict[str, Array]:
    """Of every row of `spine`, the labels of the tasks that compare customers with one another: of some customers alone they
    would be others. What the tasks read is not kept, as it is for all labels, so memory is that of an answer."""
    n = _rows(store)
    with _laid_ready(store, settings, "VIEW"):
        return {t: _column(store.con, s, settings, n) for t, s in TASKS.items() if s.compares and _derived(store)}


def given_labels(store: EventStore) -> tuple[str, ...]:
    """The tasks that `labels.parquet` has labels of for any row of `spine`."""
    if "labels" not in store.present:
        return ()
    n = _rows(store)
    return _override(store.con, {t: _empty(s, n) for t, s in TASKS.items()}, np.full(n, None, object))


def _rows(store: EventStore) -> int:
    return int(store.con.execute("SELECT count(*) FROM spine").fetchall()[0][0])


def _derived(store: EventStore) -> bool:
    """Labels are made of the events."""
    return store.manifest is None or store.manifest.defaults.label_policy == "derived"


def _column(con: duckdb.DuckDBPyConnection, spec: TaskSpec, settings: LabelSettings, n: int) -> Array:
    """The task's labels of all rows."""
    found = _answer(con, spec, _words(settings), n)
    return _wide(found, spec, n) if is_wide_task(spec.name) else _filled(found, is_class_task(spec.name))


def _empty(spec: TaskSpec, n: int) -> Array:
    """Labels of `n` rows that are all missing."""
    if is_class_task(spec.name):
        return np.full(n, -1, np.int32)
    return np.full((n, spec.out_dim) if is_wide_task(spec.name) else n, np.nan, np.float32)


def _words(settings: LabelSettings) -> dict[str, object]:
    """What the names in a task's SQL stand for."""
    response = min(settings.response_days, settings.horizon_days)
    return {**vars(settings), "response_days": response, "purchase": PURCHASE}


@contextmanager
def _laid_ready(store: EventStore, s: LabelSettings, kind: Literal["TABLE", "VIEW"]) -> Iterator[None]:
    """Within the block there are the tables that the tasks' SQL reads (`tasks.record`); of those of events, `kind`: a table is
    made once for all tasks, a view for each that reads it."""
    con = store.con
    end = last_event(store)
    declared = store.manifest.defaults if store.manifest else None
    known = ", ".join(f"DATE '{c}'" for c in declared.cutoffs) if declared and declared.cutoffs else "NULL"
    reach = (declared.horizon_days if declared else None) or 0
    furthest = max(s.horizon_days, s.retention_to, s.active_days, s.timing_days)
    # days of the source after each cut-off: what it declares of its own cut-offs, else up to its last event
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE label_spine AS
        SELECT row_id, customer_id, cutoff, dense_rank() OVER (ORDER BY cutoff) - 1 AS cutoff_index,
               greatest(coalesce(date_diff('day', cutoff, DATE '{end or "1900-01-01"}') + 1, 0),
                        CASE WHEN cutoff IN ({known}) THEN {reach} ELSE 0 END) AS covered
        FROM spine""")
    con.execute(f"""
        CREATE OR REPLACE TEMP {kind} label_days AS
        SELECT s.row_id, a.day - s.cutoff AS d
        FROM label_spine s JOIN (
            SELECT customer_id, day FROM {ACTIVITY}
        ) a ON a.customer_id = s.customer_id AND a.day >= s.cutoff - {s.active_days} AND a.day < s.cutoff + {furthest}""")
    con.execute(f"""
        CREATE OR REPLACE TEMP {kind} label_buys AS
        SELECT s.row_id, t.ts, t.ts::DATE - s.cutoff AS d, t.amount, t.merchant_id,
               coalesce(t.brand, m.brand) AS brand, coalesce(t.mcc_l1, m.mcc_l1) AS mcc_l1
        FROM label_spine s JOIN transactions t
          ON t.customer_id = s.customer_id AND t.ts >= s.cutoff AND t.ts < s.cutoff + {s.horizon_days}
        LEFT JOIN (
            SELECT merchant_id, any_value(brand) brand, any_value(mcc_l1) mcc_l1 FROM merchants GROUP BY 1
        ) m USING (merchant_id)
        WHERE coalesce(t.kind, 'card') = 'card'""")
    try:
        yield
    finally:
        con.execute(f"DROP {kind} label_days; DROP {kind} label_buys; DROP TABLE label_spine")


def _answer(con: duckdb.DuckDBPyConnection, spec: TaskSpec, words: dict[str, object], n: int) -> pa.ChunkedArray:
    """The task's labels in row_id order, NULL where one is missing."""
    sql = Template(spec.label).substitute(words)
    try:
        found = con.sql(f"SELECT l.label FROM label_spine s LEFT JOIN ({sql}) l USING (row_id) ORDER BY s.row_id")
        table = found.to_arrow_table()
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException) as e:
        raise UserError(f"task '{spec.name}': its label's SQL cannot be run: {' '.join(str(e).split())[:300]}") from e
    if table.num_rows != n:
        raise RuntimeError(f"the label of task '{spec.name}' has {table.num_rows} rows for {n}: one row_id stands in it twice")
    return table.column(0)


def _filled(values: pa.ChunkedArray, integer: bool) -> Array:
    """A column with NULLs -> int32 with -1, or float32 with NaN."""
    numbers = values.cast(pa.float64()).to_numpy()
    if integer:
        return np.where(np.isfinite(numbers), numbers, -1).astype(np.int32)
    return np.asarray(numbers, dtype=np.float32)


def _wide(values: pa.ChunkedArray, spec: TaskSpec, n: int) -> Array:
    """A column of lists with NULLs -> float32 [n, out_dim], a row without a list all NaN."""
    out = _empty(spec, n)
    there = values.is_valid().to_numpy()
    flat = values.drop_null().combine_chunks().flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    if len(flat) != int(there.sum()) * spec.out_dim:
        raise UserError(f"labels: task '{spec.name}' takes lists of {spec.out_dim} numbers, it has others")
    out[there] = flat.reshape(-1, spec.out_dim)
    return out


def _texts(values: pa.ChunkedArray) -> NDArray[np.object_]:
    """Text with None where it is NULL."""
    return np.array(values.to_pylist(), dtype=object)


def _override(con: duckdb.DuckDBPyConnection, columns: dict[str, Array], brand: NDArray[np.object_]) -> tuple[str, ...]:
    """Labels of the source's own table replace derived ones where they are there (not NULL, -1 or NaN). `validate` has said
    what they cannot be (`check_labels`); a wrong one that comes here all the same is named. Returns the tasks that it gave."""
    own: list[str] = []
    described = con.execute("DESCRIBE SELECT * FROM labels").fetchall()
    given = {str(r[0]): str(r[1]) for r in described if str(r[0]) not in ("customer_id", "cutoff")}
    for name in given:
        if name not in TASKS and not name.endswith(PROXY) and did_you_mean(name, TASKS).startswith("; did you mean"):
            raise UserError(f"labels: column '{name}' is no task{did_you_mean(name, TASKS)}")
    for task in (t for t in TASKS if t in given):
        spec = TASKS[task]
        text = given[task] == "VARCHAR" or given[task].startswith("ENUM")
        name = quote(task)
        value = f"CASE WHEN {is_blank(f'l.{name}::VARCHAR')} THEN NULL ELSE l.{name}::VARCHAR END" if text else f"l.{name}"
        names = {c: i for i, c in enumerate(spec.classes)} if spec.kind == "multiclass" else {}
        if text and not names and spec.kind != "contrastive":
            text, value = False, f"TRY_CAST({value} AS DOUBLE)"
        values = (
            con.sql(
                f"SELECT {value} AS v FROM spine s LEFT JOIN labels l ON l.customer_id = s.customer_id"
                " AND l.cutoff = s.cutoff ORDER BY s.row_id"
            )
            .to_arrow_table()
            .column(0)
        )
        if spec.kind == "contrastive":
            if not text:
                raise UserError(f"labels: {task} must hold brand names, it holds numbers")
            texts = _texts(values)
            there = texts != np.array(None)
            brand[there] = texts[there]
            own += [task] if there.any() else []
            continue
        if text:
            values = pa.chunked_array(
                [[None if t is None else _class(task, t, names) for t in values.to_pylist()]], pa.float64()
            )
        if is_wide_task(task):
            if not pa.types.is_list(values.type) and not pa.types.is_fixed_size_list(values.type):
                raise UserError(f"labels: task '{task}' takes lists of {spec.out_dim} numbers, it was given {given[task]}")
            new = _wide(values, spec, len(values))
            there = np.isfinite(new).all(axis=1)
            columns[task][there] = new[there]
        else:
            new = _filled(values, is_class_task(task))
            there = new >= 0 if is_class_task(task) else np.isfinite(new.astype(np.float64))
            _check_range(task, new[there])
            columns[task] = np.where(there, new, columns[task]).astype(columns[task].dtype)
        own += [task] if there.any() else []
    return tuple(own)


def _class(task: str, text: str, names: Mapping[str, int]) -> float:
    if text not in names:
        raise UserError(f"labels: '{text}' is no class of task '{task}'{did_you_mean(text, names)}")
    return names[text]


def _check_range(task: str, values: Array) -> None:
    classes = classes_of(task)
    if classes and len(values) and values.max() >= classes:
        raise UserError(f"labels: task '{task}' has label {values.max()}, its classes are 0 to {classes - 1}")
