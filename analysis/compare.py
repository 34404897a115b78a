"""What differs between two runs: estimates side by side, what lies beyond noise, the largest first.

Noise is that of the customers drawn. Each estimate carries delete-a-group jackknife replicates (Kott 2001, Journal of Official
Statistics 17) over groups of customers; a customer is in the same group in every run, so what two runs on the same customers
have in common cancels, and rows of one customer are never taken for independent ones. Intervals hold for all comparisons of a
section at once (Bonferroni; Dunn 1961), because among a hundred comparisons five would leave out zero by chance. They say
nothing of the seed: two seeds of one configuration are two models.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from analysis.stats.base import MIN_ROWS, Array
from analysis.stats.training import TrainingStats

GROUPS = 64
"""Groups of customers that are left out one at a time; 63 degrees of freedom."""
LEVEL = 0.95
SAME = 1e-5
"""Relative distance below which two numbers computed in float32 are one number."""
ABSOLUTE = frozenset(("share", "probability", "variation", "deviations", "angle", "ratio", "constant", "vacuity"))
"""Units with a natural one of their own (a whole, a standard deviation, the own norm, the constant's loss)."""

Verdict = Literal["differs", "same", "size", "few", "chance"]
"""`size`: no interval can be had, so its place in the order is by size alone; `few`: too few rows to judge; `chance`: of a task
that had no label in the training of one of the runs, so that nothing is judged."""


class Key(NamedTuple):
    """`subject` is an expert, task, mode, edge or module; `part` the expert of a gate's cell."""

    subject: str
    measure: str
    part: str = ""


@dataclass(frozen=True, eq=False)
class Estimate:
    """One number of one run. `replicates` [GROUPS] leave one group of customers out each; `error` is a standard error where
    only that is known (samples then count as independent). Without either there is no interval."""

    value: float
    n: int
    unit: str
    replicates: Array | None = None
    error: float = math.nan


@dataclass(frozen=True, eq=False)
class RunNumbers:
    """The numbers of one run that a page compares, and the rows they are of."""

    n: int
    estimates: Mapping[Key, Estimate] = field(default_factory=dict)

    def subjects(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(k.subject for k in self.estimates))

    def parts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(k.part for k in self.estimates if k.part))


@dataclass(frozen=True)
class Difference:
    """One number of both runs; `difference` is a - b, `low` and `high` its interval (NaN where there is none)."""

    key: Key
    unit: str
    a: float
    b: float
    n_a: int
    n_b: int
    low: float
    high: float
    verdict: Verdict

    @property
    def difference(self) -> float:
        return self.a - self.b

    @property
    def size(self) -> float:
        """Comparable over units: in natural units as it is (cosine over its range of 2), other magnitudes over the larger."""
        d = abs(self.difference)
        if self.unit in ABSOLUTE:
            return d
        if self.unit == "cosine":
            return d / 2
        larger = max(abs(self.a), abs(self.b))
        return d / larger if larger > 0 else 0.0

    def span(self, scale: float = 1.0) -> str:
        """The interval in words, with as many decimals as its width has a use for; "" where there is none."""
        if math.isnan(self.low):
            return ""
        low, high = self.low * scale, self.high * scale
        width = high - low or abs(low)
        decimals = min(max(1 - math.floor(math.log10(width)), 0), 9) if width > 0 else 0
        return f"[{low:+.{decimals}f}, {high:+.{decimals}f}]"

    @property
    def shown(self) -> bool:
        """Is it among what differs: beyond noise, or with no noise known?"""
        return self.verdict in ("differs", "size")


@dataclass(frozen=True)
class Comparison:
    """Everything that both runs have, the largest difference first, and what only one of them has."""

    rows: tuple[Difference, ...]
    n_a: int
    n_b: int
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    parts_only_a: tuple[str, ...] = ()
    parts_only_b: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    """What both have, in the runs' own order; tasks that never learned, and edges to or from them, last."""

    @property
    def shown(self) -> tuple[Difference, ...]:
        return tuple(r for r in self.rows if r.shown)

    @property
    def judged(self) -> int:
        """Comparisons with an interval."""
        return sum(not math.isnan(r.low) for r in self.rows)

    @property
    def chance(self) -> tuple[Difference, ...]:
        """What differs of tasks that never learned."""
        return tuple(r for r in self.rows if r.verdict == "chance" and not math.isclose(r.a, r.b, rel_tol=SAME, abs_tol=1e-12))

    @property
    def few(self) -> tuple[Difference, ...]:
        """What could not be judged for want of rows."""
        return tuple(r for r in self.rows if r.verdict == "few")

    @property
    def enough(self) -> bool:
        """Are there enough rows in both runs for a verdict?"""
        return min(self.n_a, self.n_b) >= MIN_ROWS

    @property
    def alike(self) -> bool:
        """Does nothing differ, with something judged?"""
        unknown = all(r.verdict in ("few", "chance") for r in self.rows)
        return not self.shown and not unknown and not (self.only_a or self.only_b or self.parts_only_a or self.parts_only_b)

    def of(self, measure: str) -> tuple[Difference, ...]:
        return tuple(r for r in self.rows if r.key.measure == measure)


def leave_one_out(sums: Array, counts: Array) -> tuple[Array, Array]:
    """(means [C], replicates [G, C]) of columns from their sums and counts by group [G, C]; NaN where nothing is left."""
    total, n = sums.sum(0), counts.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(total / n), np.asarray((total - sums) / (n - counts))


def jackknife_error(replicates: Array) -> float:
    """Delete-a-group standard error of an estimate: root of (G - 1) / G times the replicates' summed squared deviations."""
    g = len(replicates)
    return float(np.sqrt((g - 1) / g * np.sum((replicates - np.mean(replicates)) ** 2)))


def interval(a: Estimate, b: Estimate, comparisons: int = 1) -> tuple[float, float]:
    """The interval of a - b that holds for all of so many comparisons at once; NaN where no noise is known."""
    from scipy.stats import norm as normal  # late: scipy.stats, which the first page does not need
    from scipy.stats import t as student  # late: as above

    tail = (1 - LEVEL) / (2 * max(comparisons, 1))
    if a.replicates is not None and b.replicates is not None:
        reach = jackknife_error(a.replicates - b.replicates) * float(student.isf(tail, len(a.replicates) - 1))
    else:
        reach = math.hypot(a.error, b.error) * float(normal.isf(tail))
    d = a.value - b.value
    if a.unit == "share":  # the difference of two shares cannot leave [-1, 1]
        return (max(d - reach, -1.0), min(d + reach, 1.0))
    return (d - reach, d + reach)


def compare(a: RunNumbers, b: RunNumbers, min_rows: int = MIN_ROWS, unlearned: Collection[str] = ()) -> Comparison:
    """What differs between two runs. `min_rows`: fewer rows in either are no ground for a verdict. `unlearned`: tasks that had
    no label in the training of either."""
    both = [k for k in a.estimates if k in b.estimates]
    silent = {s for s in (*a.subjects(), *b.subjects()) if not set(s.split(":")).isdisjoint(unlearned)}
    known: dict[Key, Verdict] = {
        k: "chance" if k.subject in silent else _judgeable(a.estimates[k], b.estimates[k], min_rows) for k in both
    }
    tested = sum(v == "differs" for v in known.values())
    rows = [_difference(k, a.estimates[k], b.estimates[k], known[k], tested) for k in both]
    subjects, parts = (a.subjects(), b.subjects()), (a.parts(), b.parts())
    return Comparison(
        tuple(sorted(rows, key=lambda r: (not r.shown, -r.size if math.isfinite(r.size) else 0.0))),
        a.n,
        b.n,
        tuple(s for s in subjects[0] if s not in subjects[1]),
        tuple(s for s in subjects[1] if s not in subjects[0]),
        tuple(p for p in parts[0] if p not in parts[1]),
        tuple(p for p in parts[1] if p not in parts[0]),
        tuple(sorted((s for s in subjects[0] if s in subjects[1]), key=silent.__contains__)),
    )


def _judgeable(a: Estimate, b: Estimate, min_rows: int) -> Verdict:
    """`differs` stands for "to be tested" here."""
    if min(a.n, b.n) < min_rows or not (math.isfinite(a.value) and math.isfinite(b.value)):
        return "few"
    return "size" if math.isnan(interval(a, b)[0]) else "differs"


def _difference(key: Key, a: Estimate, b: Estimate, verdict: Verdict, tested: int) -> Difference:
    low = high = math.nan
    if verdict == "differs":
        low, high = interval(a, b, tested)
    if verdict not in ("few", "chance") and (math.isclose(a.value, b.value, rel_tol=SAME, abs_tol=1e-12) or low <= 0 <= high):
        verdict = "same"
    return Difference(key, a.unit, a.value, b.value, a.n, b.n, low, high, verdict)


# --- training: no noise is known of a single training


def training_profile(stats: TrainingStats) -> RunNumbers:
    """One training's numbers: what was kept, how long it took, each task's validation loss and each module's gradient norm."""
    n = len(stats)
    found: dict[Key, Estimate] = {Key("", "epochs"): Estimate(float(n), n, "epochs")}
    kept = kept_epoch(stats)
    if kept is not None:
        found[Key("", "best_epoch")] = Estimate(float(stats.epoch[kept]), n, "epochs")
        found[Key("", "best_loss")] = Estimate(float(stats.series("valid", "mean_ratio")[kept]), n, "constant")
        for task, ratio in stats.table("valid", "ratio").items():
            found[Key(task, "task_loss")] = Estimate(float(ratio[kept]), n, "constant")
    for name, unit, values in (
        ("speed", "rows_s", stats.series("samples_per_s")),
        ("epoch_time", "seconds", stats.series("seconds")),
    ):
        found[Key("", name)] = Estimate(_mean(values), n, unit)
    memory = stats.series("rss_mb")
    found[Key("", "memory")] = Estimate(float(np.nanmax(memory)) if np.isfinite(memory).any() else math.nan, n, "mb")
    for module, norms in stats.table("grad_norm").items():
        moving = norms[norms > 0]  # frozen epochs would only say how long it was frozen
        found[Key(module, "gradient")] = Estimate(_mean(moving) if len(moving) else 0.0, n, "length")
    return RunNumbers(n, {k: e for k, e in found.items() if math.isfinite(e.value)})


def kept_epoch(stats: TrainingStats) -> int | None:
    """Index of the epoch whose weights were kept: the last one marked as best."""
    marked = [i for i, e in enumerate(stats.epochs) if e.get("best")]
    return marked[-1] if marked else None


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def config_changes(a: Any, b: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, value in a, value in b) wherever two plain nested configs differ; None where one lacks the key.

    What only one of them has is taken apart too, without the keys that are None in it: those say the default.
    """
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        if not (a is None or isinstance(a, Mapping)) or not (b is None or isinstance(b, Mapping)):
            return [(prefix.rstrip("."), a, b)]
        left, right = a or {}, b or {}
        return [c for k in {**left, **right} for c in config_changes(left.get(k), right.get(k), f"{prefix}{k}.")]
    return [] if _equal(a, b) else [(prefix.rstrip("."), a, b)]


def _equal(a: Any, b: Any) -> bool:
    sequences = isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str) and not isinstance(b, str)
    return list(a) == list(b) if sequences else bool(a == b)
