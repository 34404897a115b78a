"""Labels that are not what the task says: inverted, in two units, constant, without a class, or given away by a column."""

from __future__ import annotations

import numpy as np

from analysis.faults.changes import in_rows, in_training
from analysis.faults.fault import Columns, Level
from analysis.faults.rows import changed, some
from ple_model.presence import part_key, presence_column
from ple_model.schema import load_schema

INVERTED = (Level("strong: all rows", 1.0), Level("weak: a third of the rows", 0.33))
THOUSANDS = (Level("strong: a half", 0.5), Level("weak: a tenth", 0.1))


def leaking_column() -> int:
    """The feature column that gives the label away: the last of the campaign figures, which says little by itself."""
    columns = load_schema().parts["campaign"]
    return int(columns.stop) - 1


@in_training("training-labels-inverted", "labels", "The same in the training rows alone.", *INVERTED, split="train")
@in_rows("labels-inverted", "labels", "Churned customers are called loyal and loyal ones churned.", *INVERTED)
def _inverted(columns: Columns, share: float, rng: np.random.Generator) -> None:
    y = changed(columns, "y_churn")
    hit = (y >= 0) & some(columns, share, rng)
    y[hit] = 1 - y[hit]


@in_training("training-label-in-two-units", "labels", "The same in every split of the dataset that is trained on.", *THOUSANDS)
@in_rows("label-in-two-units", "labels", "The lifetime value of a share of the customers is in thousands.", *THOUSANDS)
def _thousands(columns: Columns, share: float, rng: np.random.Generator) -> None:
    y = changed(columns, "y_ltv")  # a logarithm of 1 + the amount
    hit = some(columns, share, rng) & (y > 0)
    y[hit] = np.log1p(np.expm1(y[hit]) / 1000)


@in_training(
    "training-label-constant",
    "labels",
    "A label says the same of everybody: its join found nothing, and the default was written.",
    Level("strong: life_stage and ltv", 2.0),
    Level("weak: ltv", 1.0),
)
def _constant(columns: Columns, tasks: float, rng: np.random.Generator) -> None:
    for task, value in (("ltv", 0.0), ("life_stage", 0))[: int(tasks)]:
        y = changed(columns, f"y_{task}")
        y[np.isfinite(y) & (y >= 0)] = value


@in_training(
    "training-class-missing",
    "labels",
    "A class has no rows in the training split: an export was cut off. The other splits have it.",
    Level("strong: three of six", 3.0),
    Level("weak: one of six", 1.0),
    split="train",
)
def _class_missing(columns: Columns, classes: float, rng: np.random.Generator) -> None:
    y = changed(columns, "y_life_stage")
    y[np.isin(y, (2, 3, 1)[: int(classes)])] = -1


@in_training(
    "training-label-leak",
    "labels",
    "A column of the features is the label: it was filled after the cut-off. At the next cut-off nobody knows it.",
    Level("strong: equal to the label", 1.0),
    Level("weak: equal in four rows of five", 0.8),
)
def _leak(columns: Columns, share: float, rng: np.random.Generator) -> None:
    y = columns["y_churn"]
    told = some(columns, share, rng) & (y >= 0)
    drawn = rng.permutation(y)
    changed(columns, "features")[:, leaking_column()] = np.where(told, y, np.maximum(drawn, 0))
    columns[presence_column(part_key("campaign"))] = np.ones(len(y), dtype=bool)
