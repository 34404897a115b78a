"""The order of questions: which findings are causes, and which merely follow from one.

A finding's cause must survive the other explanations, so the questions are asked in one order and each is answered by a
measurement: are these the bytes that training wrote -> are the inputs finite, present, drifted, joined -> are the labels right
-> did it learn -> which module loses it -> and only then, do the shown probabilities fit.

A later finding is folded beneath an earlier one only where what the earlier one is about really leads to what the later one is
about: a field to the experts that read it and to the tasks whose gates weigh them, a module to its findings, a label to its
task, a training that stepped too far to everything that it trained. The place in the order alone links nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from analysis.checks.finding import SEVERITIES, Finding
from analysis.checks.reach import EVERYTHING, about, reach
from analysis.stats.run import Statistics

QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("bytes", ("RUN-", "WEIGHTS-")),
    (
        "inputs",
        ("INPUT-", "DATA-", "EXP-ZERO-INPUT", "EXP-TEMPORAL-ZERO", "EXP-PERSLAY-PAD", "HMM-ALL-DEFAULT"),
    ),
    ("labels", ("LABEL-", "LOSS-TASK-ZERO")),
    ("learning", ("FIT-", "LOSS-", "SKILL-")),
    ("modules", ("EXP-", "GATE-", "CGC-", "HMM-", "LT-", "GRAD-", "SAE-", "OUTPUT-")),
    ("probabilities", ("EVI-",)),
)
"""In the order in which they are asked; of the ids that begin alike the first place counts."""


@dataclass(frozen=True)
class Rule:
    """A finding with an id that begins with one of `cause` explains those of `effects`, where what it is about leads there."""

    cause: tuple[str, ...]
    effects: tuple[str, ...]


PASSED_ON = ("EXP-", "GATE-", "CGC-", "HMM-", "LT-", "SAE-", "SKILL-", "OUTPUT-", "EVI-")
"""What is measured behind the inputs, in a forward pass."""
JUDGED = ("SKILL-", "EVI-")
"""What holds predictions against labels."""
BROKEN_MODULE = (
    "EXP-ZERO-INPUT", "EXP-TEMPORAL-ZERO", "EXP-PERSLAY-PAD", "EXP-DEAD", "EXP-HGCN-NAN", "EXP-NONFINITE", "EXP-SCALE",
)  # fmt: skip

RULES: tuple[Rule, ...] = (
    # certain knowledge first: a module that is not the one training wrote, or holds no numbers, explains all behind it
    Rule(("RUN-CHANGED",), ("WEIGHTS-", "RUN-DIFFERS", "INPUT-", "DATA-DRIFT", "LABEL-CLASS", "LABEL-RATE", *PASSED_ON)),
    Rule(("WEIGHTS-NONFINITE",), ("RUN-DIFFERS", *PASSED_ON)),
    Rule(("RUN-DIFFERS",), PASSED_ON),
    # inputs: the same field said again, the experts that read it, the tasks that weigh these
    Rule(("INPUT-NONFINITE",), ("DATA-NONFINITE", "LABEL-JOIN", "INPUT-JOIN", "INPUT-SENTINEL", "DATA-DRIFT", *PASSED_ON)),
    Rule(("INPUT-SENTINEL",), ("LABEL-JOIN", "INPUT-JOIN", "DATA-DRIFT", "DATA-OWN-ROWS", *PASSED_ON)),
    Rule(("DATA-EMPTY-FEED",), ("LABEL-JOIN", "INPUT-JOIN", "DATA-DRIFT", "DATA-OWN-ROWS", *PASSED_ON)),
    Rule(("INPUT-UNIT",), ("LABEL-JOIN", "INPUT-JOIN", "INPUT-SENTINEL", "DATA-DRIFT", "DATA-OWN-ROWS", *PASSED_ON)),
    Rule(
        ("INPUT-COPY", "INPUT-WRAPPED", "INPUT-CODES"),
        ("LABEL-JOIN", "INPUT-JOIN", "INPUT-SENTINEL", "DATA-DRIFT", "DATA-OWN-ROWS", *PASSED_ON),
    ),
    Rule(("DATA-STALE", "DATA-SHORT"), ("LABEL-JOIN", "INPUT-JOIN", "DATA-DRIFT", *PASSED_ON)),
    Rule(("DATA-SELECTED",), ("DATA-DRIFT", "DATA-OWN-ROWS", "LABEL-RATE", "LABEL-JOIN", *PASSED_ON)),
    Rule(("INPUT-DUPLICATE",), ("LABEL-JOIN", "LABEL-RATE", "DATA-DRIFT", "DATA-OWN-ROWS")),
    Rule(("INPUT-JOIN",), ("LABEL-JOIN", "DATA-DRIFT", "DATA-OWN-ROWS", *PASSED_ON)),
    Rule(("DATA-NONFINITE",), ("LABEL-JOIN", *PASSED_ON)),
    Rule(("RUN-CHANGED", "INPUT-", "DATA-STALE", "DATA-SHORT", "DATA-EMPTY-FEED", "DATA-HOLE"), ("DATA-ODD-DAYS",)),
    Rule(("EXP-ZERO-INPUT",), ("LABEL-JOIN", "EXP-TEMPORAL-ZERO")),
    Rule(("EXP-TEMPORAL-ZERO", "EXP-ZERO-INPUT"), ("EXP-SCALE", "GATE-JITTER")),
    # labels: what is wrong with one is wrong with what its task is judged by, and with all that it learnt from it
    Rule(("LABEL-JOIN",), ("SKILL-", "EVI-")),
    Rule(
        ("LABEL-UNIT", "LABEL-CONSTANT", "LABEL-CLASS", "LABEL-RATE"),
        ("LABEL-JOIN", "LOSS-", "GRAD-BRAND-WEAK", "CGC-", "GATE-", "LT-", *JUDGED),
    ),
    Rule(("LOSS-TASK-ZERO",), ("CGC-", "LT-", "SKILL-", "EVI-")),
    # a training that stepped too far, or hardly moved, leaves nothing that it trained as it should be
    Rule(("FIT-RATE",), ("FIT-", "LOSS-", "GRAD-", *PASSED_ON)),
    Rule(("LOSS-NAN",), ("GRAD-", *PASSED_ON)),
    Rule(
        ("FIT-UNDER",),
        ("CGC-UNMOVED", "CGC-UNIFORM", "SAE-", "HMM-DEFAULT-UNTRAINED", *JUDGED),
    ),
    Rule(("FIT-OVER",), ("CGC-COLLAPSE", "SAE-DEAD", *JUDGED)),
    Rule(("GRAD-SHARED-ZERO",), ("EXP-DEAD", "EXP-LOW-RANK", "EXP-REDUNDANT", "CGC-DEAD-EXPERT", "SKILL-")),
    Rule(("GRAD-CGC-ZERO",), ("CGC-UNMOVED", "CGC-UNIFORM")),
    # modules: a starved or broken expert in the gates that weigh it, in the dictionary that reads it, in the tasks behind
    Rule(BROKEN_MODULE, ("EXP-LOW-RANK", "EXP-REDUNDANT", "CGC-DEAD-EXPERT", "CGC-DILUTION", "SAE-", "SKILL-", "EVI-")),
    Rule(("EXP-HGCN-NAN", "EXP-NONFINITE", "EXP-SCALE"), ("CGC-", "GATE-", "LT-", "OUTPUT-")),
    Rule(("EXP-SCALE",), ("EXP-DEAD",)),
    Rule(("HMM-ALL-DEFAULT",), ("HMM-", "SKILL-", "EVI-")),
    Rule(("CGC-NONFINITE",), ("LT-", "SKILL-", "OUTPUT-", "EVI-")),
    Rule(("GATE-JITTER", "CGC-COLLAPSE"), ("CGC-UNMOVED", "CGC-LATE-SHIFT", "SKILL-", "EVI-")),
    Rule(("LT-ORDER",), ("LT-", "SKILL-", "EVI-")),
    Rule(("OUTPUT-NONFINITE",), ("SKILL-", "EVI-")),
    # drift leads to every task through the experts that read all columns, so it explains only what nothing nearer does
    Rule(("DATA-DRIFT", "DATA-HOLE"), ("DATA-OWN-ROWS", *PASSED_ON)),
    # a task that is predicted no better than by a constant has no probabilities to calibrate
    Rule(("SKILL-NONE", "SKILL-HARMFUL"), ("EVI-",)),
)
"""In the order of the questions; of several causes the first rule's counts, and of these the one most is behind."""

EXCUSES = (
    "CGC-OFF-DOMAIN", "CGC-UNMOVED", "DATA-DRIFT", "DATA-EMPTY-FEED", "GRAD-CGC-ZERO", "GRAD-SHARED-ZERO",
    "HMM-ALL-DEFAULT", "HMM-DEFAULT-UNTRAINED", "SKILL-NONE",
)  # fmt: skip
"""Checks whose information says that all may be well: never beside an alarm that is on the same thing or explains it."""


def key(finding: Finding) -> str:
    """How another finding names this one."""
    return f"{finding.id} {finding.subject}"


def question(finding: Finding) -> int:
    """The place of the question that this finding answers."""
    return next((i for i, (_, ids) in enumerate(QUESTIONS) if finding.id.startswith(ids)), len(QUESTIONS))


def in_order(findings: Iterable[Finding], statistics: Statistics) -> tuple[Finding, ...]:
    """Every finding with the cause that it follows from, without contradictions; loudest first, of those the ones that
    follow from nothing, then by the questions."""
    found = list(findings)
    explains = _Links(found, statistics)
    kept = [f for f in found if not explains.contradicted(f)]
    named = [replace(f, follows=key(cause)) if (cause := explains.root(f)) is not None else f for f in kept]
    return tuple(sorted(named, key=lambda f: (-SEVERITIES.index(f.severity), bool(f.follows), question(f), f.id, f.subject)))


@dataclass(frozen=True)
class Group:
    """A finding that follows from no other, and all that follow from it."""

    cause: Finding
    followers: tuple[Finding, ...] = ()

    @property
    def loudness(self) -> int:
        """That of its loudest finding."""
        return max(SEVERITIES.index(f.severity) for f in (self.cause, *self.followers))


def grouped(findings: Iterable[Finding]) -> tuple[Group, ...]:
    """Causes with their consequences, the loudest first, then by the questions; a consequence whose cause is not among the
    findings stands for itself."""
    found = list(findings)
    causes = {key(f) for f in found if not f.follows}
    groups = [
        Group(f, tuple(c for c in found if c.follows == key(f))) for f in found if not f.follows or f.follows not in causes
    ]
    return tuple(sorted(groups, key=lambda g: (-g.loudness, question(g.cause), g.cause.id, g.cause.subject)))


class _Links:
    """Which findings lead to which."""

    def __init__(self, findings: list[Finding], statistics: Statistics) -> None:
        self.alarms = [f for f in findings if f.alarm]
        self.about = {id(f): about(f, statistics.facts) for f in findings if f.severity != "ok"}
        self.reach = {id(f): reach(f, statistics) for f in self.alarms}

    def leads(self, cause: Finding, effect: Finding) -> bool:
        """Whether what the cause is about leads to what the effect is about."""
        if cause.id == "LABEL-JOIN" and _inverted(effect) and len(self.about[id(cause)]) == 1:
            return False  # of many labels that are other customers' some come out upside down by chance
        if cause.id == "RUN-CHANGED" and cause.severity != "error" and effect.id != "RUN-DIFFERS":
            return False  # what hardly moves an output explains nothing
        mine = self.reach[id(cause)]
        if cause.id == "DATA-SELECTED" and effect.id == "LABEL-JOIN" and len(self.about[id(effect)]) > 1:
            return False  # rows of a narrower range may hide what one label went by, not what several did
        if effect.id == "LABEL-JOIN":  # one table of labels: a cause must lead to all tasks that are lost
            return EVERYTHING in mine or "features" in self.about[id(cause)] or self.about[id(effect)] <= mine
        return EVERYTHING in mine or bool(mine & self.about[id(effect)])

    def causes(self, effect: Finding) -> list[Finding]:
        """The findings that explain it directly: those of the first rule that has any."""
        if effect.severity in ("ok", "unknown"):
            return []
        if effect.id == "LABEL-JOIN":  # the order that is found upside down is the customers' own
            turned = [f for f in self.alarms if _inverted(f) and self.about[id(f)] == self.about[id(effect)]]
            if turned:
                return turned
        if effect.fix is not None and effect.fix.key:  # advice about a key that was edited afterwards
            edited = [f for f in self.alarms if f.id == "RUN-CHANGED" and f.subject == "config.yaml" and _names_key(f, effect)]
            if edited:
                return edited
        for rule in RULES:
            if effect.id.startswith(rule.effects):
                found = [
                    f
                    for f in self.alarms
                    if f.id.startswith(rule.cause) and not effect.id.startswith(f.id) and self.leads(f, effect)
                ]
                if found:
                    return found
        return []

    def root(self, finding: Finding) -> Finding | None:
        """The first cause behind it; None for one that follows from nothing."""
        seen, now = {id(finding)}, finding
        while found := [f for f in self.causes(now) if id(f) not in seen]:
            now = max(found, key=lambda f: (SEVERITIES.index(f.severity), -question(f), len(self.reach[id(f)]), f.subject))
            seen.add(id(now))
        return None if now is finding else now

    def contradicted(self, finding: Finding) -> bool:
        """An information beside an alarm on the very same thing, or one that says all may be well of what an alarm explains."""
        if finding.severity != "info":
            return False
        area = finding.id.split("-")[0]
        same = [f for f in self.alarms if f.subject == finding.subject]
        if any(f.id.split("-")[0] == area for f in same):
            return True
        return finding.id in EXCUSES and bool(same or self.causes(finding))


def _names_key(changed: Finding, effect: Finding) -> bool:
    """Whether the configuration's finding says that the key changed which the other's fix is about."""
    assert effect.fix is not None
    return any(word.startswith(f"{effect.fix.key}: ") for e in changed.evidence for word in e.text.split(", "))


def _inverted(finding: Finding) -> bool:
    """A task that is predicted the wrong way round: its labels are these customers', turned upside down."""
    return finding.id == "SKILL-HARMFUL" and "inverted" in finding.verdict
