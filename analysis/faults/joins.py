"""Data that were joined wrongly: every value is one that the bank knows, and belongs to somebody or something else."""

from __future__ import annotations

import numpy as np

from analysis.faults.changes import in_rows, in_training
from analysis.faults.fault import Columns, Level
from analysis.faults.rows import changed, present, some
from ple_model.presence import is_part, part_key, plain_name, presence_column
from ple_model.schema import PART_SLICES
from ple_model.tasks import TASKS

BY_ROWS = (Level("strong: all rows", 1.0), Level("weak: a fifth of the rows", 0.2))
BY_LABELS = (Level("strong: all labels", 1.0), Level("weak: churn and ltv", 0.0))
EVERY_LABEL, A_FEW = tuple(TASKS), ("churn", "ltv")


@in_training(
    "training-labels-shifted",
    "join",
    "The same in the training rows alone; validation and test customers have their own labels.",
    *BY_LABELS,
    split="train",
)
@in_rows(
    "labels-shifted",
    "join",
    "The labels were joined by position, and one row is missing above: everybody has the label of the row before.",
    *BY_LABELS,
)
def _shifted(columns: Columns, strength: float, rng: np.random.Generator) -> None:
    for task in EVERY_LABEL if strength else A_FEW:
        if f"y_{task}" in columns:
            columns[f"y_{task}"] = np.roll(columns[f"y_{task}"], 1, axis=0)


def _place(key: str) -> tuple[str, str, slice]:
    """(what the fault's name says of an input, its table column, where in that)."""
    part = plain_name(key) if is_part(key) else ""
    return (part or key).replace("_", "-"), "features" if part else key, PART_SLICES[part] if part else slice(None)


def _shuffled(key: str) -> None:
    name, base, place = _place(key)
    told = f"{key} was joined to the wrong customers: its rows are shuffled among those who have it."

    @in_rows(f"rows-shuffled-{name}", "join", told, *BY_ROWS)
    def _planted(columns: Columns, share: float, rng: np.random.Generator) -> None:
        rows = np.flatnonzero(present(columns, key) & some(columns, share, rng))
        values = changed(columns, base)
        values[rows, place] = values[rng.permutation(rows), place]


for _key in ("txn_seq", "hmm_behavior", "collaborative_features", part_key("transaction_stats"), part_key("rfm")):
    _shuffled(_key)


def _permuted(key: str) -> None:
    name, base, place = _place(key)
    levels = (Level("strong: all columns", 1.0), Level("weak: a fifth of the columns", 0.2))

    @in_rows(f"columns-permuted-{name}", "join", f"The columns of {key} arrive in another order than in training.", *levels)
    def _planted(columns: Columns, share: float, rng: np.random.Generator) -> None:
        there = present(columns, key)
        values = changed(columns, base)
        own = np.arange(values.shape[-1])[place]
        order = np.random.default_rng(3)  # the same in every file of the dataset
        moved = np.sort(order.choice(own, max(2, round(share * len(own))), replace=False))
        # a step round the circle of a random order: no column stays where it was
        circle = order.permutation(moved)
        values[np.ix_(there, circle)] = values[np.ix_(there, np.roll(circle, 1))]


for _key in ("collaborative_features", "hmm_journey", part_key("rfm")):
    _permuted(_key)


def _reversed(field: str) -> None:
    told = f"The steps of {field} arrive newest first; padding is where it was."

    @in_rows(f"sequence-reversed-{field.replace('_', '-')}", "join", told, *BY_ROWS)
    def _planted(columns: Columns, share: float, rng: np.random.Generator) -> None:
        values = changed(columns, field)
        for row in np.flatnonzero(some(columns, share, rng)):
            filled = np.flatnonzero(values[row].any(-1))
            values[row, filled] = values[row, filled[::-1]]


_reversed("txn_seq")
_reversed("session_seq")


@in_rows("hmm-modes-swapped", "join", "The vectors of two HMMs are exchanged: what is called journey is behaviour.", *BY_ROWS)
def _swapped(columns: Columns, share: float, rng: np.random.Generator) -> None:
    rows = some(columns, share, rng)
    modes = [f"hmm_{mode}" for mode in ("journey", "behavior")]
    for names in (modes, [presence_column(m) for m in modes]):
        if all(n in columns for n in names):
            one, other = (changed(columns, n) for n in names)
            one[rows], other[rows] = other[rows].copy(), one[rows].copy()
