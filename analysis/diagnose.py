"""`diagnose(run)`: measure a run once, store what was found, and say what is wrong in findings.

The statistics are kept under a fingerprint of the run, the data and all source files that measure; findings are computed from
them on every load, because thresholds may differ between readers. Torch is imported only when something must be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.checks import run_checks
from analysis.checks.finding import SEVERITIES, Finding, Severity
from analysis.checks.order import Group, grouped
from analysis.checks.thresholds import Thresholds
from analysis.fingerprint import SENTENCES, Why, code_digest, fingerprint, run_digest
from analysis.opening import opened_dataset, opened_run
from analysis.results.progress import Progress
from analysis.stats.run import Statistics
from analysis.store import AnalysisStore, stored
from analysis.verdict import Verdict, verdict
from ple_model.errors import UserError

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.engine import ShardEngine
    from ple_model.run import Run


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is known of a run: statistics, findings (loudest first) and the store that cohorts are queried from."""

    run: Path
    statistics: Statistics
    findings: tuple[Finding, ...]
    store: AnalysisStore
    why: Why = "reused"
    """Why it was measured, or that it was read back (`SENTENCES` of `analysis.fingerprint`)."""

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """Warnings and errors."""
        return tuple(f for f in self.findings if f.alarm)

    @property
    def worst(self) -> Severity:
        """The loudest severity found."""
        return max((f.severity for f in self.findings), key=SEVERITIES.index, default="unknown")

    @cached_property
    def verdict(self) -> Verdict:
        """Is it any good? The word, and how many tasks were learnt."""
        return verdict(self.findings, self.statistics)

    def groups(self) -> tuple[Group, ...]:
        """Everything but what passed, each cause with what follows from it, the loudest first."""
        return grouped(f for f in self.findings if f.severity != "ok")

    def by_severity(self) -> dict[Severity, tuple[Finding, ...]]:
        """Loudest severity first; severities without findings are left out."""
        groups = {s: tuple(f for f in self.findings if f.severity == s) for s in reversed(SEVERITIES)}
        return {s: f for s, f in groups.items() if f}

    def of(self, *prefixes: str) -> tuple[Finding, ...]:
        """The findings whose id starts with one of these, for example of("EXP-", "DATA-")."""
        return tuple(f for f in self.findings if f.id.startswith(prefixes))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `ple diagnose --json`."""
        counts = {s: len(f) for s, f in self.by_severity().items()}
        return {
            "run": str(self.run),
            "rows": self.statistics.n,
            "fingerprint": self.store.fingerprint,
            "reuse": SENTENCES[self.why],
            "verdict": self.verdict.word.replace("_", " "),
            "tasks": self.verdict.to_dict(),
            "worst": self.worst,
            "counts": counts,
            "performance": {split: asdict(x) for split, x in self.statistics.performance.items()},
            "findings": [f.to_dict() for f in self.findings],
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{len(f)} {s}" for s, f in self.by_severity().items())
        lines = [f"{self.run.name}: {self.verdict.said()}", f"{self.statistics.n} rows; {counts}"]
        for group in self.groups():
            lines.append(_line(group.cause))
            if group.followers:
                lines.append(f"{'':11}{follow_from_this(len(group.followers))}:")
                lines += [f"{'':11}{_line(f)}" for f in group.followers]
        return "\n".join(lines)

    __repr__ = __str__


def follow_from_this(n: int) -> str:
    """What stands over the consequences of a finding."""
    return f"{n} more finding{'s follow' if n > 1 else ' follows'} from this"


def _line(f: Finding) -> str:
    return f"  {f.severity:<8} {f.id:<22} {f.subject}: {f.verdict}"


def load_diagnosis(run: Path | str, thresholds: Thresholds | None = None, *, own: bool = False) -> Diagnosis | None:
    """The newest stored diagnosis of a run folder that still holds: neither the run nor the program that measures has changed
    since. None when there is none; `own`: of the run's own sample alone. Never measures, never imports torch."""
    path = Path(run)
    now = (run_digest(path), code_digest())
    for store in stored(path):
        if (store.made_of.get("run"), store.made_of.get("code")) != now:
            continue
        if own and not store.meta.get("own_sample", True):
            continue
        statistics = store.statistics
        return Diagnosis(path, statistics, run_checks(statistics, thresholds), store)
    return None


def read_back(
    run: Run | Path | str, dataset: Dataset | Path | str | None = None, sample: int | None = None, *, seed: int = 0,
    thresholds: Thresholds | None = None,
) -> Diagnosis | None:  # fmt: skip
    """What `diagnose` would read back; None where it would measure. Never imports torch. `UserError` as there."""
    opened = opened_run(run)
    made_of = fingerprint(opened, opened_dataset(opened, dataset), sample, seed)
    try:
        store = AnalysisStore(opened.path / "analysis" / made_of.name)
    except UserError:
        return None
    statistics = store.statistics
    return Diagnosis(opened.path, statistics, run_checks(statistics, thresholds), store, "reused")


def diagnose(
    run: Run | Path | str,
    dataset: Dataset | Path | str | None = None,
    sample: int | None = None,
    progress: Progress | None = None,
    *,
    seed: int = 0,
    thresholds: Thresholds | None = None,
    force: bool = False,
    tell: Callable[[Why], None] = lambda why: None,
    engine: ShardEngine | None = None,
) -> Diagnosis:
    """Measure a run on `dataset` (default: the run's own sample) and check it.

    sample: use at most this many rows, chosen with `seed`; None: all. A stored result with the same fingerprint is returned at
    once unless `force`; `tell` hears at once which it is, and why. `engine` measures the rows in ranges, several at once.
    Raises `UserError` when the run or the data cannot be read.
    """
    from analysis.record import record  # late: torch

    told: list[Why] = []

    def hear(why: Why) -> None:
        told.append(why)
        tell(why)

    store = record(run, dataset, sample=sample, seed=seed, progress=progress, force=force, tell=hear, engine=engine)
    statistics = store.statistics
    return Diagnosis(store.path.parent.parent, statistics, run_checks(statistics, thresholds), store, told[-1])
