"""Columns in another unit, numbers that stand for "none", and rows that come twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.faults.changes import in_rows
from analysis.faults.fault import Columns, Level, Plant, fault
from analysis.faults.rows import some
from ple_model.schema import load_schema

ONE_COLUMN = "spend_90d"
SENTINEL_COLUMN = "session_recency_days"
SENTINEL = -999.0


def currency_columns() -> tuple[int, ...]:
    """Every amount that customers spend, as the card system delivers it."""
    return tuple(c.index for c in load_schema().columns if c.unit == "currency" and c.part in ("rfm", "raw_power_law"))


@fault(
    "units-in-thousands",
    "data",
    "Amounts arrive in thousands.",
    levels=(Level("strong: all spending columns", 2.0), Level("weak: one column", 1.0)),
    family="units",
)
def _thousands(strength: float) -> Plant:
    columns = [load_schema().column(ONE_COLUMN).index] if strength == 1 else list(currency_columns())

    def change(values: NDArray[np.float64], rng: np.random.Generator) -> None:
        values[:, columns] /= 1000

    return Plant(units=change)


@fault(
    "sentinel",
    "data",
    "Where a source knows nothing it writes -999, and the number was read as one.",
    levels=(Level("strong: the purchase columns of a third of the rows", 0.33), Level("weak: one column of a tenth", 0.1)),
    family="units",
)
def _sentinel(share: float) -> Plant:
    schema = load_schema()
    one = [schema.column(SENTINEL_COLUMN).index]
    place = np.array(one if share < 0.2 else range(*schema.parts["rfm"].indices(len(schema.columns))))

    def change(values: NDArray[np.float64], rng: np.random.Generator) -> None:
        hit = rng.random(len(values)) < share
        values[np.ix_(np.flatnonzero(hit), place)] = SENTINEL

    return Plant(units=change)


@in_rows(
    "rows-duplicated",
    "duplicates",
    "A join with more than one match repeats rows: those who churned, and in part everybody.",
    Level("strong: churned ones five times", 5.0),
    Level("weak: one row in ten twice", 0.1),
)
def _duplicated(columns: Columns, strength: float, rng: np.random.Generator) -> None:
    n = len(columns["customer_id"])
    if strength > 1:
        times = np.where(columns["y_churn"] == 1, int(strength), 1)
    else:
        times = 1 + some(columns, strength, rng).astype(int)
    order = np.repeat(np.arange(n), times)
    for name in list(columns):
        columns[name] = columns[name][order]
