"""Labels that are not what the task says: inverted, in two units, constant, without a class, or given away by a column."""

from __future__ import annotations

import numpy as np

from analysis.faults.fault import Columns, Level, Plant, fault
from analysis.faults.rows import changed, some
from ple_model.presence import part_key, presence_column
from ple_model.schema import load_schema


def leaking_column() -> int:
    """The feature column that gives the label away: the last of the campaign figures, which says little by itself."""
    columns = load_schema().parts["campaign"]
    return int(columns.stop) - 1


def _inverted(columns: Columns, share: float, rng: np.random.Generator, split: str | None = None) -> None:
    y = changed(columns, "y_churn")
    hit = (y >= 0) & some(columns, share, rng)
    if split:
        hit &= columns["split"] == split
    y[hit] = 1 - y[hit]


@fault(
    "labels-inverted",
    "data",
    "Churned customers are called loyal and loyal ones churned.",
    levels=(Level("strong: all rows", 1.0), Level("weak: a third of the rows", 0.33)),
    family="labels",
)
def _labels_inverted(share: float) -> Plant:
    return Plant(rows=lambda columns, rng: _inverted(columns, share, rng))


@fault(
    "training-labels-inverted",
    "training",
    "The same in the training rows alone.",
    levels=(Level("strong: all rows", 1.0), Level("weak: a third of the rows", 0.33)),
    family="labels",
)
def _training_inverted(share: float) -> Plant:
    return Plant(training_rows=lambda columns, rng: _inverted(columns, share, rng, "train"))


def _thousands(columns: Columns, share: float, rng: np.random.Generator) -> None:
    y = changed(columns, "y_ltv")  # a logarithm of 1 + the amount
    hit = some(columns, share, rng) & (y > 0)
    y[hit] = np.log1p(np.expm1(y[hit]) / 1000)


@fault(
    "label-in-two-units",
    "data",
    "The lifetime value of a share of the customers is in thousands.",
    levels=(Level("strong: a half", 0.5), Level("weak: a tenth", 0.1)),
    family="labels",
)
def _two_units(share: float) -> Plant:
    return Plant(rows=lambda columns, rng: _thousands(columns, share, rng))


@fault(
    "training-label-in-two-units",
    "training",
    "The same in every split of the dataset that is trained on.",
    levels=(Level("strong: a half", 0.5), Level("weak: a tenth", 0.1)),
    family="labels",
)
def _training_units(share: float) -> Plant:
    return Plant(training_rows=lambda columns, rng: _thousands(columns, share, rng))


@fault(
    "training-label-constant",
    "training",
    "A label says the same of everybody: its join found nothing, and the default was written.",
    levels=(Level("strong: life_stage and ltv", 2.0), Level("weak: ltv", 1.0)),
    family="labels",
)
def _constant(tasks: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        for task, value in (("ltv", 0.0), ("life_stage", 0))[: int(tasks)]:
            y = changed(columns, f"y_{task}")
            y[np.isfinite(y) & (y >= 0)] = value

    return Plant(training_rows=change)


@fault(
    "training-class-missing",
    "training",
    "A class has no rows in the training split: an export was cut off. The other splits have it.",
    levels=(Level("strong: three of six", 3.0), Level("weak: one of six", 1.0)),
    family="labels",
)
def _class_missing(classes: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        y = changed(columns, "y_life_stage")
        gone = np.isin(y, (2, 3, 1)[: int(classes)]) & (columns["split"] == "train")
        y[gone] = -1

    return Plant(training_rows=change)


@fault(
    "training-label-leak",
    "training",
    "A column of the features is the label: it was filled after the cut-off. At the next cut-off nobody knows it.",
    levels=(Level("strong: equal to the label", 1.0), Level("weak: equal in four rows of five", 0.8)),
    family="labels",
)
def _leak(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        y = columns["y_churn"]
        told = some(columns, share, rng) & (y >= 0)
        drawn = rng.permutation(y)
        changed(columns, "features")[:, leaking_column()] = np.where(told, y, np.maximum(drawn, 0))
        columns[presence_column(part_key("campaign"))] = np.ones(len(y), dtype=bool)

    return Plant(training_rows=change)
