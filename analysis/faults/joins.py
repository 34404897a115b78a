"""Data that were joined wrongly: every value is one that the bank knows, and belongs to somebody or something else."""

from __future__ import annotations

import numpy as np

from analysis.faults.fault import Columns, Level, Plant, fault
from analysis.faults.rows import changed, present, some
from ple_model.presence import is_part, part_key, plain_name, presence_column
from ple_model.schema import PART_SLICES
from ple_model.tasks import TASKS

BY_ROWS = (Level("strong: all rows", 1.0), Level("weak: a fifth of the rows", 0.2))
EVERY_LABEL, A_FEW = tuple(TASKS), ("churn", "ltv")


def _shift(columns: Columns, tasks: tuple[str, ...], split: str | None = None) -> None:
    """Each row gets the label of the row before it, in the order of the file."""
    rows = np.flatnonzero(columns["split"] == split) if split else np.arange(len(columns["split"]))
    for task in tasks:
        if f"y_{task}" in columns and len(rows):
            y = changed(columns, f"y_{task}")
            y[rows] = np.roll(y[rows], 1, axis=0)


@fault(
    "labels-shifted",
    "data",
    "The labels were joined by position, and one row is missing above: everybody has the label of the row before.",
    levels=(Level("strong: all labels", 1.0), Level("weak: churn and ltv", 0.0)),
    family="join",
)
def _labels_shifted(strength: float) -> Plant:
    return Plant(rows=lambda columns, rng: _shift(columns, EVERY_LABEL if strength else A_FEW))


@fault(
    "training-labels-shifted",
    "training",
    "The same in the training rows alone; validation and test customers have their own labels.",
    levels=(Level("strong: all labels", 1.0), Level("weak: churn and ltv", 0.0)),
    family="join",
)
def _training_shifted(strength: float) -> Plant:
    return Plant(training_rows=lambda columns, rng: _shift(columns, EVERY_LABEL if strength else A_FEW, "train"))


def _shuffled(key: str) -> None:
    base, part = ("features", plain_name(key)) if is_part(key) else (key, "")

    @fault(
        f"rows-shuffled-{(part or base).replace('_', '-')}",
        "data",
        f"{key} was joined to the wrong customers: its rows are shuffled among those who have it.",
        levels=BY_ROWS,
        family="join",
    )
    def _planted(share: float) -> Plant:
        def change(columns: Columns, rng: np.random.Generator) -> None:
            rows = np.flatnonzero(present(columns, key) & some(columns, share, rng))
            values = changed(columns, base)
            place = PART_SLICES[part] if part else slice(None)
            values[rows, place] = values[rng.permutation(rows), place]

        return Plant(rows=change)


for _key in ("txn_seq", "hmm_behavior", "collaborative_features", part_key("transaction_stats"), part_key("rfm")):
    _shuffled(_key)


def _permuted(key: str) -> None:
    base, part = ("features", plain_name(key)) if is_part(key) else (key, "")

    @fault(
        f"columns-permuted-{(part or base).replace('_', '-')}",
        "data",
        f"The columns of {key} arrive in another order than in training.",
        levels=(Level("strong: all columns", 1.0), Level("weak: a fifth of the columns", 0.2)),
        family="join",
    )
    def _planted(share: float) -> Plant:
        def change(columns: Columns, rng: np.random.Generator) -> None:
            there = present(columns, key)
            values = changed(columns, base)
            place = np.arange(values.shape[-1])[PART_SLICES[part] if part else slice(None)]
            order = np.random.default_rng(3)  # the same in every file of the dataset
            moved = np.sort(order.choice(place, max(2, round(share * len(place))), replace=False))
            # a step round the circle of a random order: no column stays where it was
            circle = order.permutation(moved)
            block = values[np.ix_(there, np.roll(circle, 1))]
            values[np.ix_(there, circle)] = block

        return Plant(rows=change)


for _key in ("collaborative_features", "hmm_journey", part_key("rfm")):
    _permuted(_key)


def _reversed(field: str) -> None:
    @fault(
        f"sequence-reversed-{field.replace('_', '-')}",
        "data",
        f"The steps of {field} arrive newest first; padding is where it was.",
        levels=BY_ROWS,
        family="join",
    )
    def _planted(share: float) -> Plant:
        def change(columns: Columns, rng: np.random.Generator) -> None:
            values = changed(columns, field)
            for row in np.flatnonzero(some(columns, share, rng)):
                filled = np.flatnonzero(values[row].any(-1))
                values[row, filled] = values[row, filled[::-1]]

        return Plant(rows=change)


_reversed("txn_seq")
_reversed("session_seq")


@fault(
    "hmm-modes-swapped",
    "data",
    "The vectors of two HMMs are exchanged: what is called journey is behaviour.",
    levels=BY_ROWS,
    family="join",
)
def _swapped(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        rows = some(columns, share, rng)
        modes = [f"hmm_{mode}" for mode in ("journey", "behavior")]
        for names in (modes, [presence_column(m) for m in modes]):
            if all(n in columns for n in names):
                one, other = (changed(columns, n) for n in names)
                one[rows], other[rows] = other[rows].copy(), one[rows].copy()

    return Plant(rows=change)
