"""Build table `features_base`: for every row of table `spine` one FLOAT a schema column and one BOOLEAN `p:<part>` a part.

An empty value is NULL; NaN and infinity never occur. Columns that a fitted model fills stay NULL with presence false here.
The work runs in chunks of customers, so memory does not grow with their number (reference, "734D features").
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model.data.build.folds import fold_sql
from ple_model.data.features.column import LOG_UNITS
from ple_model.data.features.declared import DECLARED
from ple_model.data.features.market import Market
from ple_model.data.features.relations import RELATIONS, SHARED
from ple_model.presence import part_key, presence_column
from ple_model.sql_text import literal

TABLES = (
    "customers", "transactions", "sessions", "holdings", "campaigns", "merchants", "insurance", "consultation", "overseas",
    "investment",
)  # fmt: skip
CHUNK_ROWS = 5_000
_LARGEST = float(np.finfo(np.float32).max)


def _stages() -> dict[str, dict[str, str]]:
    """For each relation, the aggregates to take in one pass over it: name -> SQL."""
    stages: dict[str, dict[str, str]] = {}
    for part in DECLARED:
        relation, condition = part.present
        if relation != "model":
            stages.setdefault(relation, {})[f"has:{part.name}"] = condition
        for column in (*part.columns, *part.helpers):
            if column.source not in ("model", "final"):
                stages.setdefault(column.source, {})[column.name] = column.sql
    return stages


STAGES = _stages()


def _finals() -> str:
    """One query for the columns of relation `final`, over the hidden values in `helper_values`."""
    finals = [c for p in DECLARED for c in p.columns if c.source == "final"]
    return "SELECT " + ", ".join(f'{c.sql} AS "{c.name}"' for c in finals) + " FROM helper_values ORDER BY k"


FINAL_QUERY = _finals()


def _numbers(con: duckdb.DuckDBPyConnection, query: str) -> dict[str, NDArray[np.float64]]:
    """Columns of a query as float64, NULL as NaN."""
    found = con.execute(query).fetchnumpy()
    return {name: np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan) for name, column in found.items()}


def _aggregate(con: duckdb.DuckDBPyConnection, rows: int) -> dict[str, NDArray[np.float64]]:
    """Every declared aggregate by name, [rows] in the order of `keys`, NaN where there is none. One query a relation."""
    values: dict[str, NDArray[np.float64]] = {}
    for name, aggregates in STAGES.items():
        columns = ", ".join(f'{sql} AS "{column}"' for column, sql in aggregates.items())
        found = _numbers(con, f"SELECT k, {columns} FROM {name} GROUP BY k")
        at = found["k"].astype(np.int64) - 1
        for column in aggregates:
            values[column] = np.full(rows, np.nan)
            values[column][at] = found[column]
    helpers = {n: pa.array(v, from_pandas=True) for n, v in values.items() if n.startswith("_")}
    con.register("helper_values", pa.table({"k": pa.array(np.arange(rows)), **helpers}))
    values |= _numbers(con, FINAL_QUERY)
    con.unregister("helper_values")
    return values


def _assemble(values: dict[str, NDArray[np.float64]], keys: pa.Table, present: Collection[str]) -> pa.Table:
    """The rows of `features_base`: numbers where the part is known and the value is a finite FLOAT, else NULL."""
    rows = keys.num_rows
    columns: dict[str, pa.Array] = {"customer_id": keys["customer_id"], "cutoff": keys["cutoff"]}
    flags: dict[str, pa.Array] = {}
    nothing = pa.nulls(rows, pa.float32())
    for part in DECLARED:
        known = np.nan_to_num(values.get(f"has:{part.name}", np.zeros(rows))) > 0
        silent_is_zero = part.zero_known and part.tables[0] in present
        known |= silent_is_zero
        for column in part.columns:
            if column.source == "model":
                columns[column.name] = nothing
                continue
            value = values[column.name]
            if silent_is_zero and column.unit in LOG_UNITS:
                value = np.nan_to_num(value, nan=0.0, posinf=np.inf, neginf=-np.inf)
            empty = ~known | ~(np.abs(value) <= _LARGEST)
            columns[column.name] = pa.array(np.where(empty, 0, value).astype(np.float32), mask=empty)
        flags[presence_column(part_key(part.name))] = pa.array(known)
    return pa.table(columns | flags)


def _chunks(con: duckdb.DuckDBPyConnection, rows: int) -> Iterator[tuple[str, str, int]]:
    """(first customer, last customer, spine rows) of consecutive ranges of about `rows` rows; a customer is never split."""
    ranges = con.execute(
        "WITH a AS (SELECT customer_id, count(*) AS n FROM spine GROUP BY 1), "
        "b AS (SELECT customer_id, n, (sum(n) OVER (ORDER BY customer_id) - n) // ? AS chunk FROM a) "
        "SELECT min(customer_id), max(customer_id), sum(n)::BIGINT FROM b GROUP BY chunk ORDER BY 1",
        [rows],
    ).fetchall()
    yield from ranges


def _build_chunk(con: duckdb.DuckDBPyConnection, low: str, high: str, present: Collection[str], folds: int) -> pa.Table:
    """The rows of `features_base` for the customers from `low` to `high`."""
    bounds = (literal(low), literal(high))
    con.execute(
        "CREATE OR REPLACE TEMP TABLE keys AS SELECT row_number() OVER (ORDER BY customer_id, cutoff)::INT AS k, "
        "customer_id, cutoff, (SELECT max(as_of) FROM market_date WHERE as_of <= cutoff) AS market, "
        f"{fold_sql(folds=folds)} AS fold FROM spine WHERE customer_id BETWEEN {bounds[0]} AND {bounds[1]}"
    )
    for name, sql in RELATIONS.items():
        kind = "TABLE" if name in SHARED else "VIEW"
        bound = sql.replace("$low", bounds[0]).replace("$high", bounds[1])
        con.execute(f"CREATE OR REPLACE TEMP {kind} {name} AS {bound}")
    keys = con.sql("SELECT customer_id, cutoff FROM keys ORDER BY k").to_arrow_table()
    return _assemble(_aggregate(con, keys.num_rows), keys, present)


def _clean(con: duckdb.DuckDBPyConnection) -> None:
    for name in reversed(RELATIONS):
        con.execute(f"DROP {'TABLE' if name in SHARED else 'VIEW'} IF EXISTS {name}")
    for name in ("keys", "market_date"):
        con.execute(f"DROP TABLE IF EXISTS {name}")


def compute_features(
    con: duckdb.DuckDBPyConnection,
    market: Market | None = None,
    *,
    present: Collection[str] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Create `features_base(customer_id, cutoff, <734 FLOAT columns>, "p_features:<part>" BOOLEAN ...)` from event
    views and `spine`.

    `market` comes from `fit_market` (none: the few columns that compare with the market stay empty). `present` names the tables
    that the source has (default: those with rows); it decides whether silence in an event log is a zero or an absence.
    `progress` is called with (rows done, rows in all) after each chunk.
    """
    given = set(TABLES if present is None else present)
    if present is None:
        given = {t for t in TABLES if con.execute(f"SELECT 1 FROM {t} LIMIT 1").fetchone() is not None}
    market = market or Market()
    market.register(con)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE market_date AS "
        "SELECT DISTINCT as_of FROM market_brand UNION SELECT DISTINCT as_of FROM market_category"
    )
    chunks = list(_chunks(con, chunk_rows))
    rows = sum(n for _, _, n in chunks)
    done = 0
    for i, (low, high, n) in enumerate(chunks or [("", "", 0)]):
        con.register("feature_rows", _build_chunk(con, low, high, given, market.folds))
        into = "INSERT INTO features_base" if i else "CREATE OR REPLACE TABLE features_base AS"
        con.execute(f"{into} SELECT * FROM feature_rows")
        con.unregister("feature_rows")
        done += n
        if progress is not None:
            progress(done, rows)
    _clean(con)
