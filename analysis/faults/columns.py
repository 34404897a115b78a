"""Columns that hold others' values or lost the upper part of their numbers, and customers that a filter left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.faults.data import AFTER_A_CUT
from analysis.faults.fault import Columns, Expect, Level, Plant, fault
from analysis.faults.rows import changed
from analysis.faults.units import currency_columns
from ple_model.fields import SEGMENTS
from ple_model.presence import part_key, presence_column
from ple_model.schema import PART_SLICES, load_schema

FILTERED = "session_recency_days"
BESIDE = (Expect("INPUT-UNIT"), Expect("INPUT-SENTINEL"), Expect("DATA-OWN-ROWS"), *AFTER_A_CUT)


@fault(
    "columns-copied",
    "data",
    "Columns of one window were selected under the names of another.",
    levels=(Level("four columns", 4.0), Level("one column", 1.0)),
    required=(Expect("INPUT-COPY", part_key("digital"), "error"),),
    permitted=BESIDE,
)
def _copied(count: float) -> Plant:
    first = range(*PART_SLICES["digital"].indices(len(load_schema().columns)))[0]

    def change(columns: Columns, rng: np.random.Generator) -> None:
        n, values = int(count), changed(columns, "features")
        values[:, first + n : first + 2 * n] = values[:, first : first + n]

    return Plant(rows=change)


@fault(
    "columns-in-few-bits",
    "data",
    "Amounts were cast to whole numbers of 8 bits and wrapped round.",
    levels=(Level("all spending columns", 8.0), Level("16 bits", 16.0, clear=False)),
    required=(Expect("INPUT-WRAPPED", f"{part_key('raw_power_law')}|{part_key('rfm')}", "error"),),
    permitted=BESIDE,
)
def _few_bits(bits: float) -> Plant:
    columns = list(currency_columns())

    def change(values: NDArray[np.float64], rng: np.random.Generator) -> None:
        values[:, columns] = np.floor(values[:, columns]) % 2**bits

    return Plant(units=change)


@fault(
    "customers-filtered",
    "data",
    "Only customers who used the app lately were delivered.",
    levels=(Level("three in ten missing", 0.3), Level("one in fifty missing", 0.02, clear=False)),
    required=(Expect("DATA-SELECTED", "rows"),),
    permitted=(Expect("LABEL-RATE"), *BESIDE),
)
def _filtered(share: float) -> Plant:
    column = load_schema().column(FILTERED)

    def change(columns: Columns, rng: np.random.Generator) -> None:
        x = columns["features"][:, column.index]
        there = columns.get(presence_column(part_key(column.part)), np.ones(len(x), dtype=bool)).astype(bool)
        kept = ~there | (x <= np.quantile(x[there], 1 - share))
        for name in list(columns):
            columns[name] = columns[name][kept]

    return Plant(rows=change)


@fault(
    "segments-renumbered",
    "data",
    "The segments' codes count from another start.",
    levels=(Level("moved on by one", 1.0),),
    required=(Expect("INPUT-CODES", "customer_segment", "error"),),
    permitted=BESIDE,
)
def _renumbered(by: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        codes = columns["customer_segment"]
        columns["customer_segment"] = ((codes + int(by)) % len(SEGMENTS)).astype(codes.dtype)

    return Plant(rows=change)
