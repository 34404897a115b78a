"""How many positives does a label have, against training and against what the model expects of these very rows, and where are
those that are missing? The limits below are judgement, but for chance; the tests plant rows on both sides of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array
from analysis.stats.labels import Missing, Rate
from ple_model.sql_text import quote as q

EXPECTED = 8.0
"""Positives that must be expected of a value's rows for their lack to say something."""
LOST = 0.25
"""Share of the expected positives below which a value's rows have lost theirs."""
CHANCE = 1e-4
"""Chance of so few positives in any of the values of all columns."""
VALUES = 60
"""Different values of a column beyond which it names no group."""


def rate(y: Array, p: Array, trained: tuple[int, ...], customers: int) -> Rate | None:
    """Of labels [n] 0 or 1 and the model's probabilities [n]; None where either side has none."""
    known = np.isfinite(p)
    if len(trained) != 2 or not sum(trained) or not known.all() or not len(y):
        return None
    independent = min(1.0, customers / len(y))
    spread = float(np.sqrt((p * (1 - p)).sum() / independent))
    return Rate(len(y), customers, float(y.mean()), trained[1] / sum(trained), float(p.mean()), spread / len(y))


@dataclass(frozen=True)
class _WordGroup:
    """Rows of the same word in a column, by task: positives expected, positives seen, labelled rows."""

    name: str
    told: NDArray[np.float64]
    """[tasks, 3]"""


def missing(
    c: duckdb.DuckDBPyConnection, columns: Sequence[str], tasks: Sequence[str], *, fresh: bool = False
) -> dict[str, Missing]:
    """By task: in which rows hardly a positive is found although the model expects some, and the others have theirs.
    `columns` of the recorded `rows` hold words; `fresh`: rows that trained the model are left out."""
    if not tasks:
        return {}
    groups = [(column, some) for column in columns for some in _groups(c, column, tasks, fresh=fresh)]
    tests = max(sum(len(some) for _, some in groups) * len(tasks), 1)
    found: dict[str, Missing] = {}
    for i, task in enumerate(tasks):
        for column, some in groups:
            one = _lost(column.removeprefix("raw:"), some, i, CHANCE / tests)
            best = found.get(task)
            # of two columns that show it the one that explains most, and of these the one with the fewest values
            if one is not None and (best is None or _weight(one) > _weight(best)):
                found[task] = one
    return found


def _weight(one: Missing) -> tuple[float, int]:
    return one.expected - one.seen, -len(one.values)


def _lost(column: str, groups: Sequence[_WordGroup], task: int, chance: float) -> Missing | None:
    from scipy.stats import poisson  # late: scipy.stats, which the first page does not need

    expected, seen, rows = np.stack([g.told[task] for g in groups]).T
    few = poisson.cdf(seen, np.maximum(expected, 1e-9)) < chance
    lost = (expected >= EXPECTED) & (seen < LOST * expected) & few
    kept = ~lost & (expected > 0)
    if not lost.any() or not kept.any() or seen[kept].sum() < 0.5 * expected[kept].sum():
        return None
    return Missing(
        column, tuple(groups[int(k)].name for k in np.flatnonzero(lost)), float(rows[lost].sum() / rows.sum()),
        float(expected[lost].sum()), float(seen[lost].sum()), float(seen[kept].sum() / expected[kept].sum()),
    )  # fmt: skip


def _groups(c: duckdb.DuckDBPyConnection, column: str, tasks: Sequence[str], *, fresh: bool) -> list[list[_WordGroup]]:
    """By the column's values, and where these are paths ("North/12") by what they begin with."""
    sums = ", ".join(_sums(q(f"p:{task}"), q(f"y:{task}")) for task in tasks)
    where = " WHERE split <> 'train'" if fresh else ""
    rows = c.execute(f"SELECT {q(column)}::VARCHAR AS word, {sums} FROM rows{where} GROUP BY word ORDER BY word").fetchall()
    every = [_WordGroup(str(r[0] or ""), np.array([v or 0.0 for v in r[1:]], dtype=float).reshape(-1, 3)) for r in rows]
    begun: dict[str, _WordGroup] = {}
    for group in every:
        name = group.name.split("/")[0]
        begun[name] = _WordGroup(name, group.told + (begun[name].told if name in begun else 0.0))
    found = [every] if len(begun) == len(every) else [every, list(begun.values())]
    return [some for some in found if 1 < len(some) <= VALUES]


def _sums(p: str, y: str) -> str:
    known = f"FILTER (WHERE {y} IS NOT NULL AND {p} IS NOT NULL)"
    return f"sum({p}::DOUBLE) {known}, sum({y}::DOUBLE) {known}, count(*) {known}"
