"""What-if: one intervention, before and after per task. One engine serves the pages, `ple whatif` and the checks' *Try it*.

Interventions act between experts and towers, so the experts run once: the expensive half is cached and only the cheap half
repeats (`model.decode`). Nothing here imports torch before it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ple_model.data.dataset import Dataset
    from ple_model.intervention import Intervention
    from ple_model.run import Run


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval (2.5 % and 97.5 %, resampled by customer); NaN bounds where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class TaskEffect:
    """One task before and after. `metric` is "auc", "accuracy", "mae", "recall@5", or "" where there are too few labels."""

    task: str
    kind: str
    n: int
    mean_change: float
    """Mean absolute change of the prediction, in `change_unit`."""
    change_unit: str
    flips: int
    """Rows whose decision changes (binary: side of the base rate's quantile; multiclass: most probable class)."""
    n_labelled: int = 0
    metric: str = ""
    before: Interval | None = None
    after: Interval | None = None
    difference: Interval | None = None
    """after - before, from the same bootstrap samples."""
    mean_before: float = float("nan")
    mean_after: float = float("nan")

    @property
    def flip_share(self) -> float:
        """NaN for an amount, which has no decision to flip."""
        return self.flips / self.n if self.n and self.kind != "regression" else float("nan")


@dataclass(frozen=True)
class WhatIfResult:
    """Effects of one intervention on the n rows of a sample."""

    intervention: str
    """In words."""
    arguments: tuple[str, ...]
    """In the text form of `Intervention.parse`, to repeat it."""
    n: int
    seconds: float
    tasks: tuple[TaskEffect, ...]

    def task(self, name: str) -> TaskEffect:
        return next(t for t in self.tasks if t.task == name)

    def to_dict(self) -> dict[str, Any]:
        from dataclasses import asdict

        return asdict(self)

    def __str__(self) -> str:
        columns = f"{'task':<20}{'change':>10}{'flips':>8}  metric     before     after  difference [95 %]"
        head = f"{self.intervention} ({self.n} rows)\n{columns}"
        lines = [head]
        for t in self.tasks:
            flips = "" if t.flip_share != t.flip_share else f"{t.flip_share:.1%}"
            line = f"{t.task:<20}{t.mean_change:>10.4f}{flips:>8}"
            if t.before and t.after and t.difference:
                d = t.difference
                line += (
                    f"  {t.metric:<9}{t.before.value:>8.4f}{t.after.value:>10.4f}  {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
                )
            lines.append(line)
        return "\n".join(lines)


def whatif(
    run: Run | Path | str,
    intervention: Intervention | str | tuple[str, ...],
    *,
    dataset: Dataset | Path | None = None,
    sample: int = 10_000,
    seed: int = 0,
    bootstrap: int = 200,
) -> WhatIfResult:
    """Before and after of one intervention on a run's sample (or `dataset`).

    `intervention` is an `Intervention` or its text form, for example "ablate.temporal=zero" or ("edge.ctr:cvr=0",).
    """
    from analysis.explain.effects import Engine

    return Engine.cached(run, dataset=dataset, sample=sample, seed=seed).whatif(intervention, bootstrap=bootstrap)
