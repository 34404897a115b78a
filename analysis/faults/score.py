"""Scoring: recall over clear faults, three scores a fault (`causes`), precision over all alarms, each with Wilson's interval
(Wilson 1927).

- A clear case is found when every required finding is there, with its subject and at least its severity. A required finding
  that the healthy run has already proves nothing: such a case is *void* and counts neither way.
- A harmful fault is scored by what a reader learns: an alarm, the right subject, a usable cause. Harm is measured for faults of
  all families but `mechanics`, whose clear levels are taken to be harmful.
- An alarm (warning, error) is true if it is required or the oracle admits it. One that is neither true nor permitted, nor
  folded under a true one, is false, on faulty and on healthy runs alike. Precision is true alarms, each answer once, over those
  plus false alarms; permitted and folded alarms count on neither side.
- An alarm about the skill of a healthy run that other customers confirm (`measuring.confirmed`) is true of it and no fault's:
  it is counted and named apart, and on neither side of the precision, there and on the copies in which faults are planted. The
  same holds of a run that was trained anew with a fault, whose skill is its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.checks.finding import Finding
from analysis.faults.causes import CauseTold, excused, name, tell
from analysis.faults.fault import FAMILIES, Expect, Level, PlantedFault, unplantable
from analysis.faults.harm import Harm
from analysis.faults.oracle import Oracle, oracle_of
from analysis.faults.seeds import role
from analysis.faults.table import SCORES, lines
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
    family: str = "none"
    told: CauseTold | None = None
    true_alarms: tuple[str, ...] = ()
    """one for each answer that fits the fault, however many subjects it came with"""
    harm: Harm | None = None
    """None: not measured"""
    confirmed: tuple[Alarm, ...] = ()
    """alarms of a healthy run that other customers confirm: true of it"""

    @property
    def harmful(self) -> bool:
        """Counts for alarm, subject and cause."""
        return self.told is not None and not self.void and (self.clear if self.harm is None else self.harm.harmful)

    @property
    def void(self) -> bool:
        return any(h.already for h in self.hits) or (self.told is not None and self.told.already)

    @property
    def found(self) -> bool:
        return bool(self.hits) and all(h.found for h in self.hits)

    @property
    def judged(self) -> bool:
        """Counts for recall."""
        return self.clear and bool(self.hits) and not self.void

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "found": self.found if self.hits else None, "void": self.void, "harmful": self.harmful}


def judge(
    fault: PlantedFault,
    level: Level,
    seed: int,
    findings: Sequence[Finding],
    healthy: Sequence[Finding],
    oracle: Oracle | None = None,
    confirmed: Collection[str] = (),
) -> Case:
    """The case of a planted fault from what was found, beside what the healthy run of the same seed shows. `oracle`: that
    of the fault, with what is known only once it is planted; `confirmed`: "ID subject" of what is true of the healthy run."""
    answers = oracle_of(fault) if oracle is None else oracle
    hits = tuple(_hit(e, findings, healthy) for e in fault.required)
    asked, allowed = fault.required, fault.permitted
    alarms = [f for f in findings if f.alarm]
    true = [f for f in alarms if any(e.matches(f) for e in asked) or answers.admits(f)]
    named = {name(f) for f in true}
    rest = [f for f in alarms if name(f) not in named and not excused(f, findings, named)]
    may = [f for f in rest if name(f) in confirmed or any(e.matches(f) for e in allowed)]
    false = tuple(_alarm(f, healthy) for f in rest if f not in may)
    permitted = tuple(sorted({name(f) for f in may}))
    also = {f.id: name(f) for f in true if not f.follows and f.id not in fault.checks}
    once = {f"{h.id} {h.subject}" for h in hits if h.alarm} | set(also.values())
    rings = not asked or any(e.severity in ("warning", "error") for e in asked)
    told = tell(answers, findings, healthy) if rings else None
    return Case(
        fault.name, fault.kind, level.name, level.strength, level.clear, seed, hits, false, permitted,
        family=fault.family, told=told, true_alarms=tuple(sorted(once)),
    )  # fmt: skip


def judge_healthy(run: str, seed: int, findings: Sequence[Finding], confirmed: Collection[str] = ()) -> Case:
    """A run without a fault: whatever alarms is a false alarm, but for what other customers confirm ("ID subject")."""
    false, true = (
        tuple(_alarm(f, findings) for f in findings if f.alarm and (name(f) in confirmed) is known) for known in (False, True)
    )
    return Case(HEALTHY, "none", run, 0.0, clear=False, seed=seed, false_alarms=false, confirmed=true)


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
    once: tuple[dict[str, Any], ...] = ()
    """when the seed that is run once had been run before, if it is among the seeds"""

    @property
    def recall(self) -> Ratio:
        judged = [c for c in self.cases if c.judged]
        return Ratio(sum(c.found for c in judged), len(judged))

    @property
    def precision(self) -> Ratio:
        true = sum(len(c.true_alarms) for c in self.cases)
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

    def share(self, of: str, family: str | None = None) -> Ratio:
        """Harmful faults that were told: `of` is `alarm`, `subject`, `cause` or `first`."""
        told = [c.told for c in self.cases if c.harmful and family in (None, c.family) and c.told is not None]
        return Ratio(sum(bool(getattr(t, of)) for t in told), len(told))

    def by_kind(self) -> list[dict[str, Any]]:
        """A line a family of faults: the three scores over its harmful cases, and the precision of all its alarms."""
        return [self._family(f) for f in FAMILIES if any(c.family == f for c in self.cases)]

    def _family(self, family: str) -> dict[str, Any]:
        own = [c for c in self.cases if c.family == family]
        true, false = sum(len(c.true_alarms) for c in own), sum(len(c.false_alarms) for c in own)
        return {
            "kind": family,
            "faults": len({c.fault for c in own}),
            "cases": len(own),
            "harmful": sum(c.harmful for c in own),
            "harmless": sum(c.told is not None and not c.void and not c.harmful for c in own),
            **{of: self.share(of, family).to_dict() for of in SCORES},
            "precision": Ratio(true, true + false).to_dict(),
        }

    @property
    def untold(self) -> tuple[Case, ...]:
        """Harmful cases without a usable cause."""
        return tuple(c for c in self.cases if c.harmful and c.told is not None and not c.told.cause)

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
            **{of: self.share(of).to_dict() for of in SCORES},
            "harmful": sum(c.harmful for c in self.cases),
            "seeds": sorted({c.seed for c in self.cases}),
            "seed_roles": {str(s): role(s) for s in sorted({c.seed for c in self.cases})},
            "once_before": list(self.once),
            "healthy_runs": len(healthy),
            "healthy_alarms": sum(len(c.false_alarms) for c in healthy),
            "healthy_confirmed": sum(len(c.confirmed) for c in healthy),
            "healthy_silent": sum(not c.false_alarms and not c.confirmed for c in healthy),
            "fixes_tried": fixes.n,
            "fixes_that_clear": fixes.hits,
            "unplantable": unplantable(),
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `ple faults --json`."""
        return {
            "summary": self.summary(),
            "by_kind": self.by_kind(),
            "by_check": self.by_check(),
            "cases": [c.to_dict() for c in self.cases],
        }

    def __str__(self) -> str:
        return "\n".join(lines(self))

    __repr__ = __str__
