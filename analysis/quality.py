"""Numbers that need the stored scalars: AURC, AUROC and adaptive ECE by task from at most 100,000 rows; how many customers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np

from analysis.nullable import filled
from analysis.rows_relation import rows_relation
from analysis.stats import evidence
from analysis.stats.drift import DriftGroups
from analysis.stats.run import Facts, RowQuality
from ple_model.metrics import auc, worst_probability
from ple_model.safe_arrays import open_parquet
from ple_model.sql_paths import to_read
from ple_model.sql_text import quote as q

LIMIT = 100_000


def row_quality(rows: Path, facts: Facts, split: str) -> dict[str, RowQuality]:
    """task -> quality on the labelled rows of `split`; tasks without labels or heads are left out."""
    found = {}
    with open_parquet(rows) as file:
        have = set(file.schema_arrow.names)
    asked = [c for task in facts.tasks for c in (f"p:{task}", f"y:{task}", f"c:{task}", f"u:{task}") if c in have]
    with rows_relation(rows, ["row", "split", *asked]) as connection:
        for task in facts.tasks:
            names = [f"p:{task}", f"y:{task}"] + [c for c in (f"c:{task}", f"u:{task}") if c in have]
            if f"y:{task}" not in have:
                continue
            select = ", ".join(f"{q(c)}::DOUBLE AS {q(c)}" for c in names)
            data = connection.execute(
                f"SELECT {select} FROM rows WHERE split = ? AND {q(f'y:{task}')} IS NOT NULL "
                f"AND isfinite({q(f'y:{task}')}::DOUBLE) ORDER BY hash(row) LIMIT {LIMIT}",
                [split],
            ).fetchnumpy()
            values = {k: filled(v).astype(np.float64) for k, v in data.items()}
            if len(values[f"y:{task}"]):
                found[task] = _quality(facts.kinds[task], task, values)
    return found


def distinct_customers(rows: Path, n: int) -> int:
    """Customers of the n stored rows; beyond LIMIT rows an estimate in constant memory (HyperLogLog)."""
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        count = "count(DISTINCT customer_id)" if n <= LIMIT else "approx_count_distinct(customer_id)"
        return int(connection.execute(f"SELECT {count} FROM read_parquet({to_read(rows)})").fetchall()[0][0])


def rows_twice(rows: Path) -> tuple[int, str, int, str]:
    """(rows of a customer and cut-off that is there more than once, one such customer, those of them that are in more than one
    split, the splits that most of these are in)."""
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        found = connection.execute(
            "SELECT string_agg(DISTINCT split, ', ' ORDER BY split) AS splits, count(*) AS n, min(customer_id) AS one FROM "
            f"read_parquet({to_read(rows)}) GROUP BY customer_id, cutoff HAVING count(*) > 1"
        ).fetchall()
    across: dict[str, int] = {}
    for splits, n, _ in found:
        if "," in splits:
            across[splits] = across.get(splits, 0) + int(n)
    most = max(across, key=lambda k: (across[k], k), default="")
    return sum(int(n) for _, n, _ in found), min((str(one) for *_, one in found), default=""), sum(across.values()), most


def with_customers(unseen: DriftGroups, rows: Path) -> DriftGroups:
    """The groups, each with the number of its customers (exact or not as `distinct_customers`)."""
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        few = sum(g.n for g in unseen.groups.values()) <= LIMIT
        count = "count(DISTINCT customer_id)" if few else "approx_count_distinct(customer_id)"
        found = connection.execute(
            f"SELECT cutoff || ' ' || split, {count} FROM read_parquet({to_read(rows)}) WHERE split <> 'train' GROUP BY 1"
        ).fetchall()
    known = {str(k): int(n) for k, n in found}
    return DriftGroups({k: replace(g, customers=known.get(k, 0)) for k, g in unseen.groups.items()})


def _quality(kind: str, task: str, values: dict[str, np.ndarray]) -> RowQuality:
    p, y = values[f"p:{task}"], values[f"y:{task}"]
    lost = ~np.isfinite(p)  # a prediction that is no number is a miss, see ple_model.metrics
    u = values.get(f"u:{task}")
    nan = float("nan")
    adaptive, area, accuracy = nan, nan, nan
    if kind == "regression" and lost.any():
        return RowQuality(len(y))
    if kind == "binary":
        adaptive = _with_lost(evidence.adaptive_ece(p[~lost], y[~lost]), lost)
        p = worst_probability(y, p)
        error = np.abs(p - y)
        wrong = (p >= 0.5) != (y >= 0.5)
        area, accuracy = auc(y, p), float(np.mean(~wrong))
    elif kind == "regression":
        error = np.abs(p - y)
        wrong = error > np.median(error)
    else:
        wrong = values[f"c:{task}"] != y
        error = wrong.astype(np.float64)
        wrong = wrong | lost
        error = wrong.astype(np.float64)
        adaptive = _with_lost(evidence.adaptive_ece(p[~lost], 1 - error[~lost]), lost)
        accuracy = float(1 - error.mean())
    risk, excess, pointing = nan, nan, nan
    if u is not None and np.isfinite(u).all():
        risk, excess = evidence.aurc(u, error)
        pointing = auc(wrong, u)
    return RowQuality(len(y), adaptive, risk, excess, pointing, accuracy, area)


def _with_lost(error: float, lost: np.ndarray) -> float:
    """A calibration error of the rows that state a probability, the others counted as gaps of 1."""
    share = float(lost.mean())
    return share if share == 1 else error * (1 - share) + share
