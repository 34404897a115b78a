"""A feed that never arrives, as a stopped upstream job leaves it behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.faults.fault import Columns
from analysis.faults.rows import remove, rewrite
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean


def cut_feed(dataset: Dataset, out: Path, fields: Sequence[str], *, share: float = 1.0, seed: int = 0) -> Dataset:
    """The same dataset at `out` in which a `share` of rows never received `fields`: zero and recorded as absent.

    `fields` are input fields (not `features:<part>`), and a row loses all of them or none. `UserError` if the dataset has no
    such field.
    """
    for name in fields:
        if name not in dataset.manifest.fields:
            raise UserError(f"{dataset.path} has no input field '{name}'{did_you_mean(name, dataset.manifest.fields)}")

    def cut(columns: Columns, rng: np.random.Generator) -> None:
        state = rng.bit_generator.state
        for name in fields:
            rng.bit_generator.state = state  # the same rows for every field
            remove(columns, name, share, rng)

    return rewrite(dataset, out, cut, seed=seed)
