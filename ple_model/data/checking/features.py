"""All faults of a ready feature table, as sentences with a count and an example each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import duckdb
import numpy as np

from ple_model.data.checking.labels import classes_of
from ple_model.data.checking.table import CONTROL, NUMBER_TYPES, WHOLE_LIMIT
from ple_model.data.dataset.cache import TEXT_WIDTH
from ple_model.data.dataset.columns import SPLITS, is_class_task
from ple_model.data.events.sql import is_blank
from ple_model.errors import did_you_mean
from ple_model.schema import load_schema
from ple_model.sql_text import quote
from ple_model.tasks import TASKS

LARGEST = float(np.finfo(np.float32).max)
KEYS = ("customer_id", "cutoff", "split")
AT_ONCE = 24
"""Conditions a query: planning one query of hundreds takes longer than many passes over a few columns each."""


def feature_faults(
    con: duckdb.DuckDBPyConnection, types: Mapping[str, str], features: list[str], tasks: list[str]
) -> list[str]:
    """Faults of the view `source`, whose stored types are `types`; `features` and `tasks` are the columns taken as such."""
    faults = _misspelt(types)
    conditions: list[tuple[str, str, str]] = []
    numbers = (*NUMBER_TYPES, "BOOLEAN", "VARCHAR", '"NULL"')
    for column in (*features, *tasks):
        if column == "brand_prediction":
            continue
        if types[column].split("(")[0] not in numbers:
            faults.append(f"'{column}' has type {types[column]}, expected numbers")
            continue
        value = f"TRY_CAST({quote(column)} AS DOUBLE)"
        conditions.append((column, f"{quote(column)} IS NOT NULL AND {value} IS NULL", "are no number"))
        conditions.append((column, f"isinf({value})", "are not finite"))
        if column in TASKS and is_class_task(column):
            top = classes_of(column) - 1
            wrong = f"{value} < -1 OR {value} > {top} OR {value} != round({value})"
            conditions.append(
                (column, f"NOT isnan({value}) AND NOT isinf({value}) AND ({wrong})", f"are no class of 0 to {top}")
            )
        else:
            huge = f"isfinite({value}) AND abs({value}) > {LARGEST}"
            conditions.append((column, huge, "are too large for a 32-bit number"))
    conditions += _keys(types)
    for first in range(0, len(conditions), AT_ONCE):
        faults += _counted(con, conditions[first : first + AT_ONCE])
    return [*faults, *_repeated(con, types)]


def _counted(con: duckdb.DuckDBPyConnection, conditions: list[tuple[str, str, str]]) -> list[str]:
    parts = [f"count(*) FILTER ({where}), min({quote(c)}::VARCHAR) FILTER ({where})" for c, where, _ in conditions]
    row = con.execute(f"SELECT {', '.join(parts)} FROM source").fetchall()[0]
    faults = []
    for k, (column, _, what) in enumerate(conditions):
        if row[2 * k]:
            hint = did_you_mean(str(row[2 * k + 1]), SPLITS) if column == "split" else ""
            faults.append(f"'{column}' has {row[2 * k]:,} values that {what}, for example {row[2 * k + 1]!r}{hint}")
    return faults


def _keys(types: Mapping[str, str]) -> list[tuple[str, str, str]]:
    stored = types["customer_id"].split("(")[0]
    found = [
        ("customer_id", f"customer_id IS NULL OR {is_blank('customer_id')}", "are empty: rows without a customer_id"),
        ("customer_id", f"regexp_matches(customer_id, '{CONTROL}')", "hold control characters"),
        ("customer_id", f"length(customer_id) > {TEXT_WIDTH}", f"are longer than {TEXT_WIDTH} characters"),
    ]
    if limit := WHOLE_LIMIT.get(stored):
        beyond = f"abs(TRY_CAST(customer_id AS DOUBLE)) >= {limit}"
        found.append(("customer_id", beyond, f"are ids stored as {stored}, exact below {limit} only"))
    if "cutoff" in types:
        found.append(("cutoff", "TRY_CAST(cutoff AS DATE) IS NULL", "are no date such as 2024-07-01"))
    if "split" in types:
        known = ", ".join(f"'{s}'" for s in SPLITS)
        found.append(("split", f"split IS NULL OR split::VARCHAR NOT IN ({known})", "are no split"))
    return found


def _misspelt(types: Mapping[str, str]) -> list[str]:
    """Columns that nobody reads although they are nearly the name of one that is not there."""
    wanted = dict.fromkeys(load_schema().names, 0.9) | dict.fromkeys((*TASKS, *KEYS), 0.8)
    absent = [n for n in wanted if n not in types]
    lower = {n.lower(): n for n in absent}
    faults = []
    for column in types:
        if column in wanted:
            continue
        near = [lower[column.lower()]] if column.lower() in lower else difflib.get_close_matches(column, absent, 1, 0.8)
        if near and (column.lower() in lower or difflib.SequenceMatcher(None, column, near[0]).ratio() >= wanted[near[0]]):
            faults.append(f"column '{column}' is no feature, task or key; did you mean '{near[0]}'?")
    return faults


def _repeated(con: duckdb.DuckDBPyConnection, types: Mapping[str, str]) -> list[str]:
    keys = ["customer_id", *(["cutoff"] if "cutoff" in types else [])]
    named = ", ".join(keys)
    rows = con.execute(f"SELECT {named}, count(*) AS n FROM source GROUP BY {named} HAVING n > 1 ORDER BY ALL").fetchall()
    if not rows:
        return []
    example = ", ".join(f"{k}={v}" for k, v in zip(keys, rows[0], strict=False))
    extra = sum(int(r[-1]) - 1 for r in rows)
    return [f"{extra:,} rows repeat ({named}), for example {example}"]
