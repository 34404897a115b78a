"""A fault that is one change of a table: of the customers that are diagnosed, or of the dataset that is trained on.

Most of what is joined, labelled or counted wrongly is of this shape. The same change may be planted in both (`in_rows` and
`in_training` stand above one another); a bug may also have met one split alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.faults.fault import Columns, Family, Level, Plant, RowChange, fault

TableChange = Callable[[Columns, float, np.random.Generator], None]
"""Changes decoded columns in place, by a level's strength."""
Register = Callable[[TableChange], TableChange]


def in_rows(name: str, family: Family, summary: str, *levels: Level) -> Register:
    """Register a change of the customers that are diagnosed."""

    def register(change: TableChange) -> TableChange:
        fault(name, "data", summary, levels=levels, family=family)(lambda strength: Plant(rows=_at(change, strength)))
        return change

    return register


def in_training(name: str, family: Family, summary: str, *levels: Level, split: str = "") -> Register:
    """Register a change of the dataset that is trained on, in the rows of `split` alone where one is named."""

    def register(change: TableChange) -> TableChange:
        def plant(strength: float) -> Plant:
            return Plant(training_rows=_at(change, strength, split))

        fault(name, "training", summary, levels=levels, family=family)(plant)
        return change

    return register


def _at(change: TableChange, strength: float, split: str = "") -> RowChange:
    def apply(columns: Columns, rng: np.random.Generator) -> None:
        if not split:
            change(columns, strength, rng)
            return
        mine = columns["split"] == split
        if not mine.any():
            return
        part = {k: v[mine] for k, v in columns.items()}
        change(part, strength, rng)
        for name, values in part.items():
            if name not in columns:
                raise KeyError(f"{name}: a change of one split cannot add a column")
            if not mine.all():
                values = _placed(columns[name], mine, values)
            columns[name] = values

    return apply


def _placed(whole: np.ndarray, mine: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The rows `mine` replaced; decoded columns may be read-only views."""
    out = np.array(whole)
    out[mine] = values
    return out
