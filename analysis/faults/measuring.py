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
from analysis.faults.causes import name
from analysis.record import Recorder
from analysis.recording.ending import Ending
from analysis.stats.run import Statistics
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run

ABOUT_SKILL = "SKILL-"
OTHERS = 1_000
"""Customers at most on whom an alarm about skill is looked at again."""


class _Decisive(Ending):
    """With the interventions alone that LT-OVERRELIANCE decides by. What ablating a dead expert does is shown by
    CGC-DEAD-EXPERT and does not decide over it."""

    def interventions(self, engine: Engine) -> Sequence[str]:
        return [f"edge.{e.key}=0" for e in engine.model.edges]


class _Pass(Recorder):
    """The pass of `ple diagnose`."""

    ending: type[Ending] = _Decisive


def findings_of(run: Run, data: Dataset | None = None, limit: int | None = None) -> tuple[Finding, ...]:
    """The findings of a run on `data` (its own sample: None), at most `limit` rows of it."""
    with np.errstate(all="ignore"):  # a fault may well put NaN into every statistic
        return run_checks(statistics_of(run, run.sample() if data is None else data, limit))


def confirmed(run: Run, bank: Dataset | None, findings: Sequence[Finding]) -> frozenset[str]:
    """The alarms about skill ("ID subject") that the same run raises again on test customers of its bank whom the first
    measurement did not see: what two samples of customers say with their intervals is true of the run."""
    claimed = {name(f) for f in findings if f.alarm and f.id.startswith(ABOUT_SKILL)}
    if not claimed or bank is None:
        return frozenset()
    seen = set(run.sample().table(["customer_id"]).column("customer_id").to_pylist())
    table = bank.table(["customer_id", "split"])
    split, customer = (table.column(c).to_pylist() for c in ("split", "customer_id"))
    others = sorted({c for c, s in zip(customer, split, strict=True) if s == "test"} - seen)[:OTHERS]
    if not others:
        return frozenset()
    with tempfile.TemporaryDirectory(prefix="ple-faults-") as folder:
        again = findings_of(run, bank.extract(Path(folder) / "others", customers=others))
    return frozenset(claimed & {name(f) for f in again if f.alarm})


def statistics_of(run: Run, data: Dataset, limit: int | None = None) -> Statistics:
    """As `record` would store them."""
    if data.manifest.rows == 0:
        raise UserError(f"{data.path} has no rows")
    with tempfile.TemporaryDirectory(prefix="ple-faults-") as folder:
        return _Pass(run, data, limit, 0, None).measure(Path(folder))
