"""Three scores of a planted fault, as a reader would keep them: does anything ring, where does it point, does it say why.

Only what the healthy run of the same seed does not show counts. Headlines are the causes as they are shown (`order.grouped`),
of groups in which something is new. What is folded under another neither points nor says why, and is no false alarm where what
it follows is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.checks.finding import Finding
from analysis.checks.order import grouped
from analysis.faults.oracle import Oracle


@dataclass(frozen=True)
class CauseTold:
    """What the findings told of one fault."""

    alarm: bool
    """a warning or an error that the healthy run does not have"""
    subject: bool
    """a headline about what is broken"""
    cause: bool
    """a headline that names a usable cause"""
    first: bool
    """the first headline does"""
    named: str = ""
    """"ID subject" of the usable one"""
    headlines: tuple[str, ...] = ()
    """"ID subject" of all headlines, in the order in which they are shown"""
    folded: int = 0
    already: bool = False
    """the healthy run names such a cause too: nothing is proved either way"""


def name(finding: Finding) -> str:
    return f"{finding.id} {finding.subject}"


def new_alarms(findings: Iterable[Finding], healthy: Iterable[Finding]) -> list[Finding]:
    """Alarms that the healthy run does not have, in their order."""
    old = {name(f) for f in healthy if f.alarm}
    return [f for f in findings if f.alarm and name(f) not in old]


def tell(oracle: Oracle, findings: Sequence[Finding], healthy: Sequence[Finding]) -> CauseTold:
    """What a reader learns of a fault whose oracle this is."""
    alarms = new_alarms(findings, healthy)
    new = {name(f) for f in alarms}
    groups = [g for g in grouped(findings) if any(name(f) in new for f in (g.cause, *g.followers))]
    heads = [g.cause for g in groups]
    usable = [f for f in heads if oracle.names(f)]
    return CauseTold(
        alarm=bool(alarms),
        subject=bool(usable) or any(oracle.right_subject(f) for f in heads),
        cause=bool(usable),
        first=bool(usable) and usable[0] is heads[0],
        named=name(usable[0]) if usable else "",
        headlines=tuple(map(name, heads)),
        folded=sum(len(g.followers) for g in groups),
        already=not usable and any(f.alarm and oracle.names(f) for f in healthy),
    )


def excused(finding: Finding, findings: Sequence[Finding], true: Iterable[str]) -> bool:
    """Is it folded, at any depth, under a finding that is true of the fault (`true`: their "ID subject")?"""
    known, by_name = set(true), {name(f): f for f in findings}
    seen: set[str] = set()
    root = finding.follows
    while root and root not in seen:
        if root in known:
            return True
        seen.add(root)
        root = by_name[root].follows if root in by_name else ""
    return False
