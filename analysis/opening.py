"""A run or a dataset as callers give it: opened, or where it lies.

Opening loads torch (a second): it is imported late, here, so that `import analysis` stays light.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run


def opened_run(run: Run | Path | str) -> Run:
    """The run itself. `UserError` for a folder that is none."""
    if not isinstance(run, str | Path):
        return run
    from ple_model.run import load_run  # late: torch

    return load_run(run)


def opened_dataset(run: Run, dataset: Dataset | Path | str | None) -> Dataset:
    """`dataset`, or the run's own sample where None is given. `UserError` for a folder that is none."""
    if dataset is None:
        return run.sample()
    if not isinstance(dataset, str | Path):
        return dataset
    from ple_model.data.dataset.reader import Dataset  # late: torch

    return Dataset.open(Path(dataset))
