"""What was delivered whole but written otherwise: classes and clusters numbered anew, columns in other places, a second unit, a
default, and events that one part of the customers lacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.faults.changes import in_rows
from analysis.faults.fault import Columns, Level, Plant, fault
from analysis.faults.rows import changed
from ple_model.schema import load_schema

FROM = 300
"""Feature column from which the others are displaced."""


@in_rows(
    "labels-renumbered",
    "labels",
    "The classes of life_stage were numbered anew: an encoding was fitted again on other rows.",
    Level("strong: all classes, by one place", 0.0),
    Level("weak: two of six are exchanged", 2.0),
)
def _renumbered(columns: Columns, exchanged: float, rng: np.random.Generator) -> None:
    y = changed(columns, "y_life_stage")
    order = np.array([1, 0, 2, 3, 4, 5] if exchanged else [5, 0, 1, 2, 3, 4])
    y[y >= 0] = order[y[y >= 0]]


@in_rows(
    "positives-lost",
    "labels",
    "The events that make retention were not delivered for the first regions of the alphabet.",
    Level("strong: two regions", 2.0),
    Level("weak: one region", 1.0),
)
def _positives_lost(columns: Columns, wanted: float, rng: np.random.Generator) -> None:
    regions = np.array([str(r).split("/")[0] for r in columns["raw:region"]])
    gone = np.isin(regions, np.unique(regions)[: int(wanted)])
    y = changed(columns, "y_retention")
    y[gone & (y == 1)] = 0


@in_rows(
    "columns-displaced",
    "join",
    "A column of the features was dropped upstream, and all behind it are read one place early; or two blocks are exchanged.",
    Level("strong: all from 300 on", 1.0),
    Level("weak: two blocks of forty columns", 0.0),
)
def _displaced(columns: Columns, strength: float, rng: np.random.Generator) -> None:
    x = changed(columns, "features")
    if strength:
        x[:, FROM:-1] = x[:, FROM + 1 :].copy()
        x[:, -1] = 0
    else:
        one, other = slice(FROM, FROM + 40), slice(FROM + 100, FROM + 140)
        x[:, one], x[:, other] = x[:, other].copy(), x[:, one].copy()


@in_rows(
    "clusters-renumbered",
    "join",
    "The clustering was fitted again: the same groups of customers have other numbers.",
    Level("strong: all clusters", 1.0),
    Level("weak: half of them", 0.5),
)
def _clusters(columns: Columns, share: float, rng: np.random.Generator) -> None:
    probs, ids = changed(columns, "cluster_probs"), changed(columns, "cluster_ids")
    k = probs.shape[1]
    order = np.arange(k)
    moved = np.random.default_rng(5).permutation(k)[: round(share * k)]  # the same in every file of the dataset
    order[moved] = np.roll(moved, 1)
    probs[:, order] = probs.copy()
    known = (ids >= 0) & (ids < k)
    ids[known] = order[ids[known]]


@fault(
    "columns-in-two-units",
    "data",
    "A second source system delivers the spending windows of its customers in cents.",
    levels=(Level("strong: half of the rows", 0.5), Level("weak: a quarter of the rows", 0.25)),
    family="units",
)
def _two_units(share: float) -> Plant:
    columns = np.array([c.index for c in load_schema().columns if c.unit == "currency" and c.part == "raw_power_law"])

    def change(values: NDArray[np.float64], rng: np.random.Generator) -> None:
        hit = np.flatnonzero(rng.random(len(values)) < share)
        values[np.ix_(hit, columns)] *= 100

    return Plant(units=change)


@fault(
    "default-value",
    "data",
    "Where no purchase is known the days since the last one are a default that looks like a number of days.",
    levels=(Level("strong: 9999 days in a fifth of the rows", 0.2), Level("weak: in a tenth", 0.1)),
    family="units",
)
def _default(share: float) -> Plant:
    column = load_schema().column("recency_days").index

    def change(values: NDArray[np.float64], rng: np.random.Generator) -> None:
        values[rng.random(len(values)) < share, column] = 9999.0

    return Plant(units=change)
