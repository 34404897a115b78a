"""What the real pipeline says of a run, without what no finding hangs on: a store to keep, vectors for pages, and interventions
whose effect is shown and not asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.checks import run_checks
from analysis.checks.finding import Finding
from analysis.engine.effects import Engine
from analysis.record import Recorder
from analysis.stats.run import Statistics
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run


class _Pass(Recorder):
    """The pass of `ple diagnose`, with the interventions alone that LT-OVERRELIANCE decides by. What ablating a dead expert
    does is shown by CGC-DEAD-EXPERT and does not decide over it."""

    def interventions(self, engine: Engine) -> Sequence[str]:
        return [f"edge.{e.key}=0" for e in engine.model.edges]


def findings_of(run: Run, data: Dataset | None = None, limit: int | None = None) -> tuple[Finding, ...]:
    """The findings of a run on `data` (its own sample: None), at most `limit` rows of it."""
    with np.errstate(all="ignore"):  # a fault may well put NaN into every statistic
        return run_checks(statistics_of(run, run.sample() if data is None else data, limit))


def statistics_of(run: Run, data: Dataset, limit: int | None = None) -> Statistics:
    """As `record` would store them."""
    if data.manifest.rows == 0:
        raise UserError(f"{data.path} has no rows")
    with tempfile.TemporaryDirectory(prefix="ple-faults-") as folder:
        return _Pass(run, data, limit, 0, None).measure(Path(folder))[0]
