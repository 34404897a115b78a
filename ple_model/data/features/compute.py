"""Build table `features_base`: for every row of table `spine` one FLOAT a schema column and one BOOLEAN `p:<part>` a part.

An empty value is NULL; NaN and infinity never occur. Columns that a fitted model fills stay NULL with presence false here.
The work runs in chunks of customers, so memory does not grow with their number (reference, "734D features").
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import duckdb

from ple_model.data.features.column import LOG_UNITS, Column, Part
from ple_model.data.features.declared import DECLARED
from ple_model.data.features.market import Market
from ple_model.data.features.relations import RELATIONS, SHARED

TABLES = (
    "customers", "transactions", "sessions", "holdings", "campaigns", "merchants", "insurance", "consultation", "overseas",
    "investment",
)  # fmt: skip
CHUNK_ROWS = 5_000


def _number(sql: str) -> str:
    """The value as FLOAT; NULL where it is NaN, infinite or beyond FLOAT."""
    return f"nullif(nullif(nullif(TRY_CAST({sql} AS FLOAT), 'nan'::FLOAT), 'inf'::FLOAT), '-inf'::FLOAT)"


def _stages() -> dict[str, dict[str, str]]:
    """For each relation, the aggregates to take in one pass: name -> SQL."""
    stages: dict[str, dict[str, str]] = {}
    for part in DECLARED:
        relation, condition = part.present
        if relation != "model":
            stages.setdefault(relation, {})[f"has:{part.name}"] = condition
        for column in (*part.columns, *part.helpers):
            if column.source not in ("model", "final"):
                hidden = column.name.startswith("_")
                stages.setdefault(column.source, {})[column.name] = column.sql if hidden else _number(column.sql)
    return stages


STAGES = _stages()


def _known(part: Part, present: Collection[str]) -> str:
    """SQL: does the source have something to say for this row?"""
    if part.present[0] == "model":
        return "false"
    if part.zero_known and part.tables[0] in present:
        return "true"
    return f'coalesce("has:{part.name}", false)'


def _value(part: Part, column: Column) -> str:
    """SQL of the stored value: the aggregate (or the `final` expression) where the part is known, else NULL."""
    if column.source == "model":
        return "NULL::FLOAT"
    raw = f"({column.sql})" if column.source == "final" else f'"{column.name}"'
    if part.zero_known and column.unit in LOG_UNITS:
        raw = f"coalesce({raw}, 0)"
    return f'CASE WHEN "p:{part.name}" THEN {_number(raw) if column.source == "final" else raw} END'


def _final(present: Collection[str]) -> str:
    joins = " ".join(f'LEFT JOIN "stage:{s}" USING (k)' for s in STAGES)
    flags = ", ".join(f'{_known(p, present)} AS "p:{p.name}"' for p in DECLARED)
    values = ", ".join(f'{_value(p, c)} AS "{c.name}"' for p in DECLARED for c in p.columns)
    names = ", ".join(f'"p:{p.name}"' for p in DECLARED)
    return (
        f"WITH joined AS (SELECT * FROM keys {joins}), flagged AS (SELECT *, {flags} FROM joined) "
        f"SELECT customer_id, cutoff, {values}, {names} FROM flagged"
    )


def _chunks(con: duckdb.DuckDBPyConnection, rows: int) -> Iterator[tuple[str, str, int]]:
    """(first customer, last customer, spine rows) of consecutive ranges of about `rows` rows; a customer is never split."""
    ranges = con.execute(
        "WITH a AS (SELECT customer_id, count(*) AS n FROM spine GROUP BY 1), "
        "b AS (SELECT customer_id, n, (sum(n) OVER (ORDER BY customer_id) - n) // ? AS chunk FROM a) "
        "SELECT min(customer_id), max(customer_id), sum(n)::BIGINT FROM b GROUP BY chunk ORDER BY 1",
        [rows],
    ).fetchall()
    yield from ranges


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _build_chunk(con: duckdb.DuckDBPyConnection, low: str, high: str) -> None:
    """Relations and stage tables for the customers from `low` to `high`."""
    bounds = (_literal(low), _literal(high))
    con.execute(
        "CREATE OR REPLACE TEMP TABLE keys AS SELECT row_number() OVER (ORDER BY customer_id, cutoff)::INT AS k, "
        "customer_id, cutoff, (SELECT max(as_of) FROM market_date WHERE as_of <= cutoff) AS market "
        f"FROM spine WHERE customer_id BETWEEN {bounds[0]} AND {bounds[1]}"
    )
    for name, sql in RELATIONS.items():
        kind = "TABLE" if name in SHARED else "VIEW"
        bound = sql.replace("$low", bounds[0]).replace("$high", bounds[1])
        con.execute(f"CREATE OR REPLACE TEMP {kind} {name} AS {bound}")
    for name, aggregates in STAGES.items():
        columns = ", ".join(f'{sql} AS "{column}"' for column, sql in aggregates.items())
        con.execute(f'CREATE OR REPLACE TEMP TABLE "stage:{name}" AS SELECT k, {columns} FROM {name} GROUP BY k')


def _clean(con: duckdb.DuckDBPyConnection) -> None:
    for name in STAGES:
        con.execute(f'DROP TABLE IF EXISTS "stage:{name}"')
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
    """Create `features_base(customer_id, cutoff, <734 FLOAT columns>, "p:<part>" BOOLEAN ...)` from event views and `spine`.

    `market` comes from `fit_market` (none: the few columns that compare with the market stay empty). `present` names the tables
    that the source has (default: those with rows); it decides whether silence in an event log is a zero or an absence.
    `progress` is called with (rows done, rows in all) after each chunk.
    """
    given = set(TABLES if present is None else present)
    if present is None:
        given = {t for t in TABLES if con.execute(f"SELECT 1 FROM {t} LIMIT 1").fetchone() is not None}
    (market or Market()).register(con)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE market_date AS "
        "SELECT DISTINCT as_of FROM market_brand UNION SELECT DISTINCT as_of FROM market_category"
    )
    final = _final(given)
    chunks = list(_chunks(con, chunk_rows))
    rows = sum(n for _, _, n in chunks)
    done = 0
    for i, (low, high, n) in enumerate(chunks):
        _build_chunk(con, low, high)
        con.execute(f"CREATE OR REPLACE TABLE features_base AS {final}" if i == 0 else f"INSERT INTO features_base {final}")
        done += n
        if progress is not None:
            progress(done, rows)
    if not chunks:
        _build_chunk(con, "", "")
        con.execute(f"CREATE OR REPLACE TABLE features_base AS {final}")
    _clean(con)
