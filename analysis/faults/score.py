"""Scoring: recall over clear faults, precision over all alarms, each with Wilson's interval (Wilson 1927).

- A clear case is found when every required finding is there, with its subject and at least its severity. A required finding
  that the healthy run has already proves nothing: such a case is *void* and counts neither way.
- An alarm (warning, error) that is neither required nor permitted is false, on faulty and on healthy runs alike. Precision is
  required alarms that fired over those plus false alarms; permitted alarms count on neither side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.checks.finding import Finding
from analysis.faults.fault import Expect, Level, PlantedFault, unplantable
from ple_model.wilson import wilson

HEALTHY = "healthy"


@dataclass(frozen=True)
class Hit:
    """One required finding of a case."""

    id: str
    subject: str
    found: bool
    alarm: bool
    """it was found as a warning or an error"""
    already: bool
    """the healthy run has it too"""
    fix: str | None = None
    """the suggested `key=value`, where the fix is one"""
    fix_clears: bool | None = None
    """does training with the fix make the finding go away; None: not tried, or not a config key"""


@dataclass(frozen=True)
class Alarm:
    """A false alarm."""

    id: str
    severity: str
    subject: str
    verdict: str
    healthy: bool
    """the healthy run raises it too"""


@dataclass(frozen=True)
class Case:
    """One fault at one level on one seed, or one healthy run."""

    fault: str
    kind: str
    level: str
    strength: float
    clear: bool
    seed: int
    hits: tuple[Hit, ...] = ()
    false_alarms: tuple[Alarm, ...] = ()
    permitted: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str | None = None

    @property
    def void(self) -> bool:
        return any(h.already for h in self.hits)

    @property
    def found(self) -> bool:
        return bool(self.hits) and all(h.found for h in self.hits)

    @property
    def judged(self) -> bool:
        """Counts for recall."""
        return self.clear and bool(self.hits) and not self.void

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "found": self.found if self.hits else None, "void": self.void}


def judge(fault: PlantedFault, level: Level, seed: int, findings: Sequence[Finding], healthy: Sequence[Finding]) -> Case:
    """The case of a planted fault from what was found, beside what the healthy run of the same seed shows."""
    hits = tuple(_hit(e, findings, healthy) for e in fault.required)
    asked, allowed = fault.required, fault.permitted
    alarms = [f for f in findings if f.alarm and not any(e.matches(f) for e in asked)]
    false = tuple(_alarm(f, healthy) for f in alarms if not any(e.matches(f) for e in allowed))
    permitted = tuple(sorted({f"{f.id} {f.subject}" for f in alarms if any(e.matches(f) for e in allowed)}))
    return Case(fault.name, fault.kind, level.name, level.strength, level.clear, seed, hits, false, permitted)


def judge_healthy(name: str, seed: int, findings: Sequence[Finding]) -> Case:
    """A run without a fault: whatever alarms is a false alarm."""
    false = tuple(_alarm(f, findings) for f in findings if f.alarm)
    return Case(HEALTHY, "none", name, 0.0, clear=False, seed=seed, false_alarms=false)


def _hit(expect: Expect, findings: Sequence[Finding], healthy: Sequence[Finding]) -> Hit:
    met = [f for f in findings if expect.met(f)]
    old = {f.subject for f in healthy if expect.met(f)}
    # where any subject will do, one that the healthy run does not have is the one that was planted
    new = [f for f in met if f.subject not in old]
    chosen = next(iter(new or met), None)
    override = chosen.fix.override() if chosen is not None and chosen.fix is not None else None
    subject = chosen.subject if chosen is not None else expect.subject
    return Hit(expect.id, subject, bool(met), any(f.alarm for f in met), bool(met) and not new, override)


def _alarm(finding: Finding, healthy: Sequence[Finding]) -> Alarm:
    same = any(f.alarm and (f.id, f.subject) == (finding.id, finding.subject) for f in healthy)
    return Alarm(finding.id, finding.severity, finding.subject, finding.verdict, same)


@dataclass(frozen=True)
class Ratio:
    """`hits` of `n`, its value and Wilson's 95 % interval; None where n is 0."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        if not self.n:
            return None
        low, high = wilson(self.hits, self.n)
        return float(low), float(high)

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "interval": self.interval, "hits": self.hits, "n": self.n}

    def __str__(self) -> str:
        if self.value is None or self.interval is None:
            return "not measured"
        return f"{self.value:.3f} ({self.hits} of {self.n}; 95 % {self.interval[0]:.3f} to {self.interval[1]:.3f})"


@dataclass(frozen=True)
class BenchmarkScore:
    """All cases, and what they come to."""

    cases: tuple[Case, ...]

    @property
    def recall(self) -> Ratio:
        judged = [c for c in self.cases if c.judged]
        return Ratio(sum(c.found for c in judged), len(judged))

    @property
    def precision(self) -> Ratio:
        true = sum(h.alarm for c in self.cases for h in c.hits)
        return Ratio(true, true + len(self.false_alarms))

    @property
    def precision_once(self) -> Ratio:
        """The same, but what the healthy run raises already is counted there alone, and not again on each of its copies."""
        true = self.precision.hits
        return Ratio(true, true + sum(c.fault == HEALTHY or not a.healthy for c, a in self.false_alarms))

    @property
    def false_alarms(self) -> tuple[tuple[Case, Alarm], ...]:
        return tuple((c, a) for c in self.cases for a in c.false_alarms)

    @property
    def misses(self) -> tuple[tuple[Case, Hit], ...]:
        """Required findings of clear cases that did not fire."""
        return tuple((c, h) for c in self.cases if c.judged for h in c.hits if not h.found)

    @property
    def fixes(self) -> Ratio:
        tried = [h.fix_clears for c in self.cases for h in c.hits if h.fix_clears is not None]
        return Ratio(sum(map(bool, tried)), len(tried))

    def by_check(self) -> list[dict[str, Any]]:
        """A line a check: how often it was planted clearly and found, its false alarms, whether its fix clears it."""
        ids = {h.id for c in self.cases for h in c.hits} | {a.id for _, a in self.false_alarms}
        return [self._line(id) for id in sorted(ids)]

    def _line(self, id: str) -> dict[str, Any]:
        clear = [h for c in self.cases if c.judged for h in c.hits if h.id == id]
        subtle = [h for c in self.cases if not c.clear and not c.void for h in c.hits if h.id == id]
        fixes = [h.fix_clears for c in self.cases for h in c.hits if h.id == id and h.fix_clears is not None]
        return {
            "check": id,
            "faults": sorted({c.fault for c in self.cases for h in c.hits if h.id == id}),
            "clear": len(clear),
            "found": sum(h.found for h in clear),
            "recall": sum(h.found for h in clear) / len(clear) if clear else None,
            "subtle": len(subtle),
            "subtle_found": sum(h.found for h in subtle),
            "void": sum(h.already for c in self.cases for h in c.hits if h.id == id),
            "false_alarms": sum(a.id == id for _, a in self.false_alarms),
            "fix_tried": len(fixes),
            "fix_clears": sum(map(bool, fixes)),
        }

    def summary(self) -> dict[str, Any]:
        healthy = [c for c in self.cases if c.fault == HEALTHY]
        recall, precision, fixes = self.recall, self.precision, self.fixes
        return {
            "recall": recall.value,
            "recall_interval": recall.interval,
            "recall_cases": recall.n,
            "precision": precision.value,
            "precision_interval": precision.interval,
            "precision_alarms": precision.n,
            "precision_once": self.precision_once.value,
            "faults": len({c.fault for c in self.cases if c.fault != HEALTHY}),
            "cases": len(self.cases) - len(healthy),
            "void": sum(c.void for c in self.cases),
            "seeds": sorted({c.seed for c in self.cases}),
            "healthy_runs": len(healthy),
            "healthy_alarms": sum(len(c.false_alarms) for c in healthy),
            "fixes_tried": fixes.n,
            "fixes_that_clear": fixes.hits,
            "unplantable": unplantable(),
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `ple faults --json`."""
        return {"summary": self.summary(), "by_check": self.by_check(), "cases": [c.to_dict() for c in self.cases]}

    def __str__(self) -> str:
        return "\n".join(_table(self))

    __repr__ = __str__


def _table(score: BenchmarkScore) -> Iterable[str]:
    s = score.summary()
    seeds = ", ".join(map(str, s["seeds"]))
    yield f"{s['faults']} faults in {s['cases']} cases on seeds {seeds}; {s['healthy_runs']} healthy runs"
    yield f"recall of clear faults  {score.recall}"
    yield f"precision of alarms     {score.precision}"
    yield f"  each healthy one once {score.precision_once}"
    yield f"fixes that clear        {score.fixes}"
    yield ""
    yield f"{'check':<22} {'clear':>5} {'found':>5} {'subtle':>8} {'void':>4} {'false':>5} {'fix':>6}  planted by"
    for c in score.by_check():
        subtle = f"{c['subtle_found']}/{c['subtle']}" if c["subtle"] else ""
        fix = f"{c['fix_clears']}/{c['fix_tried']}" if c["fix_tried"] else ""
        void = c["void"] or ""
        yield (
            f"{c['check']:<22} {c['clear']:>5} {c['found']:>5} {subtle:>8} {void:>4} {c['false_alarms'] or '':>5} {fix:>6}  "
            f"{', '.join(c['faults'])}"
        )
    for title, lines in (("missed", _misses(score)), ("false alarms", _false(score)), ("not plantable", _unplantable())):
        if lines:
            yield ""
            yield f"{title}:"
            yield from (f"  {line}" for line in lines)


def _misses(score: BenchmarkScore) -> list[str]:
    return [
        f"{h.id} {h.subject}: {c.fault} ({c.level}), seed {c.seed}{f'; {c.error}' if c.error else ''}" for c, h in score.misses
    ]


def _false(score: BenchmarkScore) -> list[str]:
    on = "also on the healthy run"
    return [
        f"{a.severity} {a.id} {a.subject}: {c.fault} ({c.level}), seed {c.seed}{f'; {on}' if a.healthy and c.hits else ''}"
        for c, a in score.false_alarms
    ]


def _unplantable() -> list[str]:
    return [f"{id}: {why}" for id, why in unplantable().items()]
