"""What a what-if finds: one intervention, before and after, on a sample or for one customer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from analysis.wording import quantity
from ple_model.interval import Interval


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
class Note:
    """What to know of a change itself, for example that a value lies outside the training range."""

    en: str
    ko: str

    def __str__(self) -> str:
        return self.en


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
    notes: tuple[Note, ...] = ()

    def task(self, name: str) -> TaskEffect:
        return next(t for t in self.tasks if t.task == name)

    def to_dict(self) -> dict[str, Any]:
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
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])


@dataclass(frozen=True)
class StrengthSweep:
    """The target of one transfer edge while the edge's strength goes from nothing to a multiple of the trained one."""

    edge: str
    n: int
    factors: tuple[float, ...]
    """Multiples of the trained strength; 1 is among them."""
    change: tuple[float, ...]
    """Mean absolute change of the target's prediction against the trained strength, in `change_unit`."""
    change_unit: str
    flips: tuple[float, ...]
    """Share of rows whose decision differs from the trained strength's; NaN for amounts."""
    metric: str = ""
    """As in `TaskEffect`; empty with too few labels."""
    n_labelled: int = 0
    values: tuple[Interval, ...] = ()
    """The metric at each factor."""
    differences: tuple[Interval, ...] = ()
    """The metric less that at the trained strength, from the same bootstrap samples."""

    @property
    def target(self) -> str:
        return self.edge.partition(":")[2]


@dataclass(frozen=True)
class TaskMove:
    """One task of one customer before and after: shown values, with the class they belong to where there are classes."""

    task: str
    title: str
    kind: str
    unit: str
    """Of a regression; "probability" for the others."""
    before: float
    after: float
    label_before: str
    label_after: str
    distance: float
    """How far the whole answer moved, in multiples of how far customers lie from the mean answer on average (class
    probabilities: total variation)."""

    @property
    def flips(self) -> bool:
        """Does another class become the most probable one?"""
        return self.label_before != self.label_after


@dataclass(frozen=True)
class CustomerWhatIf:
    """One intervention on one customer."""

    customer_id: str
    cutoff: str
    intervention: str
    arguments: tuple[str, ...]
    task: str
    target_name: str
    """The class whose probability `before` and `after` are; empty where there are none."""
    before: float
    after: float
    tasks: tuple[TaskMove, ...]
    """All tasks that had labels in training, the one that moves most first."""
    notes: tuple[Note, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.intervention} (customer {self.customer_id}, {self.cutoff})"]
        lines.append(f"{'task':<20}{'before':>28}{'after':>28}  moved, of customers' mean distance")
        for t in self.tasks:
            before, after = (
                quantity(v, t.unit) if t.kind == "regression" else f"{label} {v:.1%}".strip()
                for v, label in ((t.before, t.label_before), (t.after, t.label_after))
            )
            lines.append(f"{t.task:<20}{before:>28}{after:>28}  {t.distance:.2f}{' flips' if t.flips else ''}")
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])
