"""Labels of the 16 tasks from events at or after the cut-off (features see only what is before it).

Definitions, with day 1 = the cut-off date itself and H = `horizon_days`:

* ctr, cvr: the first exposure at or after the cut-off within H: clicked, converted; -1 without an exposure.
* churn: of those active in the 28 days before the cut-off, not active in the 28 after it; -1 for the others.
* retention: active in days 57 to 84. engagement: log(1 + active days in H). ltv: log(1 + card spend in H).
* nba: offer of the first response (click or conversion) in H, -1 if none.
* life_stage: age band at the cut-off. balance_util: balance / limit over credit products at the first statement in H.
* channel: of the next transaction or session. timing: days to the next active day (0 to 27), -1 if none within 28.
* spending_category: where most is spent in H. brand_prediction: brand of the next card purchase in H.
* consumption_cycle: from the mean gap between purchase days in H (fewer than 3: H / days); irregular where the gaps'
  coefficient of variation is above 1.25. merchant_affinity: largest merchant share of spend in H, from two purchases on.
* spending_bucket: percentile (0 to 100, mid-rank) of spend in H among the rows of the cut-off.

Active: at least one purchase, deposit or session that day; a refund alone is no activity. Spend is net of refunds, never below
0; counts, gaps, channels and brands are of purchases alone. A label whose window goes beyond what the source covers is missing,
and so is that of a row outside the task's condition (`tasks.Condition`: for whom the task is defined), whatever comes after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ple_model.data.check_labels import PROXY, classes_of
from ple_model.data.columns import is_class_task
from ple_model.data.conditions import ACTIVITY, PURCHASE, Defined, defined
from ple_model.data.coverage import last_event
from ple_model.data.events import EventStore, is_blank, quote
from ple_model.errors import UserError, did_you_mean
from ple_model.tasks import CHANNELS, LIFE_STAGES, OFFERS, SPENDING_CATEGORIES, TASKS

LABEL_TASKS: tuple[str, ...] = tuple(t.name for t in TASKS.values() if t.enabled)
CYCLE_GAPS = (1.5, 4.5, 10.0, 21.0, 45.0)
"""Upper mean gap in days of daily, every 2-3 days, weekly, every two weeks, monthly."""
IRREGULAR_CV = 1.25
Array = NDArray[Any]


@dataclass(frozen=True)
class LabelSettings:
    """Windows in days; see the module docstring."""

    horizon_days: int = 84
    active_days: int = 28
    retention_from: int = 57
    retention_to: int = 84
    timing_days: int = 28

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


def compute_labels(store: EventStore, settings: LabelSettings, own: Iterable[str] = ()) -> Labels:
    """Labels of every row of the table `spine(row_id, customer_id, cutoff, split)` of `store.con`; overridden by
    `labels.parquet`. `own`: tasks that had labels of their own in training, beside those that have them here."""
    con = store.con
    n = int(con.execute("SELECT count(*) FROM spine").fetchall()[0][0])
    columns: dict[str, Array] = {
        t: np.full(n, -1, np.int32) if is_class_task(t) else np.full(n, np.nan, np.float32) for t in LABEL_TASKS
    }
    brand = np.full(n, None, object)
    policy = store.manifest.defaults.label_policy if store.manifest else "derived"
    if policy == "derived":
        table = con.execute(_sql(store, settings)).fetchnumpy()
        for task in LABEL_TASKS:
            if task != "brand_prediction":
                columns[task] = _filled(table[task], is_class_task(task))
        columns["spending_bucket"] = _percentiles(table["spend_known"], table["cutoff_index"])
        brand = _objects(table["brand"])
    given = {*own, *(_override(con, columns, brand) if "labels" in store.present else ())}
    where = defined(store, given)
    for task, rows in where.items():
        if task == "brand_prediction":
            brand[~rows] = None
        else:
            columns[task][~rows] = -1 if is_class_task(task) else np.nan
    return Labels(columns, brand, where, tuple(sorted(given)))


def _sql(store: EventStore, s: LabelSettings) -> str:
    """One row a spine row, in row_id order; NULL where a label is missing."""
    con = store.con
    h = s.horizon_days
    end = last_event(store)
    declared = store.manifest.defaults if store.manifest else None
    known = ", ".join(f"DATE '{c}'" for c in declared.cutoffs) if declared and declared.cutoffs else "NULL"
    reach = (declared.horizon_days if declared else None) or 0
    furthest = max(h, s.retention_to, s.active_days, s.timing_days)
    # days of the source after each cut-off: what it declares of its own cut-offs, else up to its last event
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE label_spine AS
        SELECT row_id, customer_id, cutoff, dense_rank() OVER (ORDER BY cutoff) - 1 AS cutoff_index,
               greatest(coalesce(date_diff('day', cutoff, DATE '{end or "1900-01-01"}') + 1, 0),
                        CASE WHEN cutoff IN ({known}) THEN {reach} ELSE 0 END) AS covered
        FROM spine""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE label_days AS
        SELECT s.row_id, a.day - s.cutoff AS d
        FROM label_spine s JOIN (
            SELECT customer_id, day FROM {ACTIVITY}
        ) a ON a.customer_id = s.customer_id AND a.day >= s.cutoff - {s.active_days} AND a.day < s.cutoff + {furthest}""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE label_buys AS
        SELECT s.row_id, t.ts, t.ts::DATE - s.cutoff AS d, t.amount, t.merchant_id,
               coalesce(t.brand, m.brand) AS brand, coalesce(t.mcc_l1, m.mcc_l1) AS mcc_l1
        FROM label_spine s JOIN transactions t
          ON t.customer_id = s.customer_id AND t.ts >= s.cutoff AND t.ts < s.cutoff + {h}
        LEFT JOIN (
            SELECT merchant_id, any_value(brand) brand, any_value(mcc_l1) mcc_l1 FROM merchants GROUP BY 1
        ) m USING (merchant_id)
        WHERE coalesce(t.kind, 'card') = 'card'""")
    cycle = " ".join(f"WHEN gap < {g} THEN {i}" for i, g in enumerate(CYCLE_GAPS))
    return f"""
    WITH active AS (
        SELECT row_id, bool_or(d < 0) AS before, bool_or(d >= 0 AND d < {s.active_days}) AS after,
               bool_or(d BETWEEN {s.retention_from - 1} AND {s.retention_to - 1}) AS late,
               count(*) FILTER (d >= 0 AND d < {h}) AS days, min(d) FILTER (d >= 0 AND d < {s.timing_days}) AS next
        FROM label_days GROUP BY 1
    ), spend AS (
        SELECT row_id, greatest(sum(amount), 0) AS total,
               min({{'ts': ts, 'b': brand}}) FILTER (brand IS NOT NULL AND amount > 0) AS b
        FROM label_buys GROUP BY 1
    ), category AS (
        SELECT row_id, max({{'v': v, 'c': -c}}) AS best FROM (
            SELECT row_id, {_index("mcc_l1", SPENDING_CATEGORIES)} AS c, sum(amount) AS v FROM label_buys GROUP BY 1, 2
        ) WHERE c IS NOT NULL AND v > 0 GROUP BY 1
    ), merchant AS (
        SELECT row_id, max(v) / nullif(sum(v), 0) AS share, sum(n) AS n FROM (
            SELECT row_id, merchant_id, greatest(sum(amount), 0) AS v, count(*) FILTER (amount > 0) AS n FROM label_buys
            WHERE merchant_id IS NOT NULL GROUP BY 1, 2
        ) GROUP BY 1
    ), gaps AS (
        SELECT row_id, d - lag(d) OVER (PARTITION BY row_id ORDER BY d) AS g
        FROM (SELECT DISTINCT row_id, d FROM label_buys WHERE amount > 0)
    ), cycle AS (
        SELECT row_id, count(*) AS n, CASE WHEN count(*) >= 3 THEN avg(g) ELSE {h} / count(*) END AS gap,
               coalesce(stddev_pop(g) / avg(g), 0) AS cv
        FROM gaps GROUP BY 1
    ), exposure AS (
        SELECT row_id, min({{'ts': exposed_at, 'id': campaign_id, 'c': (clicked_at IS NOT NULL)::INT,
                             'v': (converted_at IS NOT NULL)::INT}}) AS e
        FROM label_spine s JOIN campaigns c ON c.customer_id = s.customer_id
         AND c.exposed_at >= s.cutoff AND c.exposed_at < s.cutoff + {h} GROUP BY 1
    ), response AS (
        SELECT row_id, min({{'ts': r, 'o': o}}) AS first FROM (
            SELECT s.row_id, {_index("c.offer", OFFERS)} AS o, least(clicked_at, converted_at) AS r, s.cutoff
            FROM label_spine s JOIN campaigns c ON c.customer_id = s.customer_id
        ) WHERE o IS NOT NULL AND r >= cutoff AND r < cutoff + {h} GROUP BY 1
    ), statement AS (
        SELECT row_id, min({{'d': as_of, 'u': balance / credit_limit}}) AS first FROM (
            SELECT s.row_id, o.as_of, sum(o.balance) AS balance, sum(o.credit_limit) AS credit_limit
            FROM label_spine s JOIN holdings o ON o.customer_id = s.customer_id
             AND o.as_of >= s.cutoff AND o.as_of < s.cutoff + {h} AND o.credit_limit > 0 AND o.balance IS NOT NULL
            GROUP BY 1, 2
        ) GROUP BY 1
    ), coming AS (
        SELECT row_id, min({{'ts': ts, 'c': c}}) AS first FROM (
            SELECT s.row_id, e.ts, {_index("e.channel", CHANNELS)} AS c
            FROM label_spine s JOIN (
                SELECT customer_id, ts, channel FROM transactions WHERE kind = 'deposit' OR ({PURCHASE})
                UNION ALL SELECT customer_id, ts, channel FROM sessions
            ) e ON e.customer_id = s.customer_id AND e.ts >= s.cutoff AND e.ts < s.cutoff + {h}
        ) WHERE c IS NOT NULL GROUP BY 1
    )
    SELECT s.cutoff_index,
        exposure.e.c AS ctr, exposure.e.v AS cvr,
        CASE WHEN covered >= {s.active_days} AND before THEN (NOT after)::INT END AS churn,
        CASE WHEN covered >= {s.retention_to} THEN coalesce(late, false)::INT END AS retention,
        CASE WHEN covered >= {h} THEN ln(1 + coalesce(days, 0)) END AS engagement,
        CASE WHEN covered >= {h} THEN ln(1 + coalesce(total, 0)) END AS ltv,
        CASE WHEN covered >= {h} THEN coalesce(total, 0) END AS spend_known,
        response.first.o AS nba,
        coalesce({_index("age_band", LIFE_STAGES)}, CASE
            WHEN birth_year IS NULL THEN NULL WHEN year(s.cutoff) - birth_year < 25 THEN 0
            ELSE least(5, (year(s.cutoff) - birth_year - 15) // 10) END) AS life_stage,
        statement.first.u AS balance_util,
        coming.first.c AS channel, active.next AS timing, -category.best.c AS spending_category,
        CASE WHEN covered < {h} OR cycle.n IS NULL THEN NULL WHEN cycle.n >= 3 AND cv > {IRREGULAR_CV} THEN 6 {cycle} ELSE 5 END
            AS consumption_cycle,
        NULL::DOUBLE AS spending_bucket,
        CASE WHEN merchant.n >= 2 AND covered >= {h} THEN merchant.share END AS merchant_affinity,
        spend.b.b AS brand
    FROM label_spine s
    LEFT JOIN (SELECT customer_id, birth_year, age_band FROM customers) USING (customer_id)
    LEFT JOIN active USING (row_id) LEFT JOIN spend USING (row_id)
    LEFT JOIN category USING (row_id) LEFT JOIN merchant USING (row_id) LEFT JOIN cycle USING (row_id)
    LEFT JOIN exposure USING (row_id) LEFT JOIN response USING (row_id) LEFT JOIN statement USING (row_id)
    LEFT JOIN coming USING (row_id)
    ORDER BY s.row_id"""


def _index(column: str, names: tuple[str, ...]) -> str:
    """SQL: position of a column's value among `names`, NULL where it is none of them."""
    listed = ", ".join("'" + x.replace("'", "''") + "'" for x in names)
    return f"nullif(list_position([{listed}], {column}), 0) - 1"


def _filled(values: Any, integer: bool) -> Array:
    """A DuckDB column with NULLs -> int32 with -1, or float32 with NaN."""
    array = np.ma.asarray(values)
    if integer:
        whole = np.where(np.ma.getmaskarray(array), np.nan, array.filled(0).astype(np.float64))
        return np.where(np.isfinite(whole), whole, -1).astype(np.int32)
    return np.asarray(np.ma.filled(array.astype(np.float64), np.nan), dtype=np.float32)


def _objects(values: Any) -> NDArray[np.object_]:
    """Text with None where it is NULL."""
    array = np.ma.asarray(values)
    out = np.array(np.ma.getdata(array), dtype=object)
    out[np.ma.getmaskarray(array)] = None
    return out


def _percentiles(spend: Any, cutoff_index: Any) -> NDArray[np.float32]:
    """Mid-rank percentile (0 to 100) of the finite values within each cut-off."""
    values = _filled(spend, False).astype(np.float64)
    out = np.full(len(values), np.nan, np.float32)
    groups = np.ma.asarray(cutoff_index).filled(-1)
    for g in np.unique(groups):
        rows = np.flatnonzero((groups == g) & np.isfinite(values))
        if len(rows):
            ordered = np.sort(values[rows])
            low = np.searchsorted(ordered, values[rows], "left")
            high = np.searchsorted(ordered, values[rows], "right")
            out[rows] = 100.0 * (low + high) / (2 * len(rows))
    return out


def _override(con: duckdb.DuckDBPyConnection, columns: dict[str, Array], brand: NDArray[np.object_]) -> tuple[str, ...]:
    """Labels of the source's own table replace derived ones where they are there (not NULL, -1 or NaN). `validate` has said
    what they cannot be (`check_labels`); a wrong one that comes here all the same is named. Returns the tasks that it gave."""
    own: list[str] = []
    described = con.execute("DESCRIBE SELECT * FROM labels").fetchall()
    given = {str(r[0]): str(r[1]) for r in described if str(r[0]) not in ("customer_id", "cutoff")}
    for name in given:
        if name not in TASKS and not name.endswith(PROXY) and did_you_mean(name, TASKS).startswith("; did you mean"):
            raise UserError(f"labels: column '{name}' is no task{did_you_mean(name, TASKS)}")
    for task in (t for t in LABEL_TASKS if t in given):
        text = given[task] == "VARCHAR" or given[task].startswith("ENUM")
        name = quote(task)
        value = f"CASE WHEN {is_blank(f'l.{name}::VARCHAR')} THEN NULL ELSE l.{name}::VARCHAR END" if text else f"l.{name}"
        if text and (not TASKS[task].classes and task != "brand_prediction"):
            text, value = False, f"TRY_CAST({value} AS DOUBLE)"
        values = con.execute(
            f"SELECT {value} AS v FROM spine s LEFT JOIN labels l ON l.customer_id = s.customer_id"
            " AND l.cutoff = s.cutoff ORDER BY s.row_id"
        ).fetchnumpy()["v"]
        if text:
            texts = _objects(values)
            if task == "brand_prediction":
                there = texts != np.array(None)
                brand[there] = texts[there]
                own += [task] if there.any() else []
                continue
            names = {c: i for i, c in enumerate(TASKS[task].classes)}
            unknown = next((t for t in texts if t is not None and t not in names), None)
            if unknown is not None:
                raise UserError(f"labels: '{unknown}' is no class of task '{task}'{did_you_mean(unknown, names)}")
            values = np.array([names[t] if t is not None else -1 for t in texts], dtype=np.float64)
        elif task == "brand_prediction":
            raise UserError("labels: brand_prediction must hold brand names, it holds numbers")
        new = _filled(values, is_class_task(task))
        there = new >= 0 if is_class_task(task) else np.isfinite(new.astype(np.float64))
        _check_range(task, new[there])
        columns[task] = np.where(there, new, columns[task]).astype(columns[task].dtype)
        own += [task] if there.any() else []
    return tuple(own)


def _check_range(task: str, values: Array) -> None:
    classes = classes_of(task)
    if classes and len(values) and values.max() >= classes:
        raise UserError(f"labels: task '{task}' has label {values.max()}, its classes are 0 to {classes - 1}")
