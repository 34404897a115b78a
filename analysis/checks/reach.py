"""What a finding is about, and what that leads to in this run: fields -> experts and HMM modes -> gates -> tasks.

`about` is what a finding names, `reach` all that lies behind it in the forward pass; one finding can explain another where
what the first reaches is what the second is about.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.checks.finding import Finding
from analysis.stats.base import MIN_ROWS
from analysis.stats.run import Facts, Statistics
from ple_model.presence import is_part, part_key
from ple_model.schema import PARTS
from ple_model.tasks import HMM_MODES

EVERYTHING = "*"
"""What a finding leads to that concerns the whole run."""
READ_ALL = frozenset({"gates", "sae", "shared experts"})
"""What reads every expert's output: a change in one changes these too."""
PARTS_OF_MODEL: dict[str, frozenset[str]] = {
    "cgc": frozenset({"gates", "tasks"}),
    "basket": frozenset({"tasks"}),
    "cluster_embedding": frozenset({"tasks"}),
    "hmm": frozenset({*HMM_MODES, "tasks"}),
    "transfer": frozenset({"tasks"}),
    "towers": frozenset({"tasks"}),
    "direct": frozenset({"tasks"}),
    "auxiliary": frozenset({"tasks"}),
    "brands": frozenset({"tasks"}),
    "context": frozenset({"tasks"}),
    "calibration": frozenset({"tasks"}),
    "evidential": frozenset({"evidential"}),
    "sae": frozenset({"sae"}),
    "weighting": frozenset(),
    "adatt": frozenset(),
    "sample": frozenset(),
    "model.safetensors": frozenset({EVERYTHING}),
}
"""What lies behind a part of the run that is no expert: two act in training alone, and what is wrong with the stored customers
is said by what is found in them."""
FIELDS: dict[str, frozenset[str]] = {"EXP-TEMPORAL-ZERO": frozenset({"txn_seq"})}
"""Checks of one field whose subject is the expert that reads it."""
CLUSTERS = frozenset({"cluster_ids", "cluster_probs"})
WHOLE_RUN = ("INPUT-DUPLICATE", "DATA-SELECTED", "RUN-", "WEIGHTS-", "FIT-", "LOSS-NAN", "LABEL-", "GRAD-CGC")
"""Checks that mean all of the run where they name no part of it."""


def about(finding: Finding, facts: Facts) -> frozenset[str]:
    """The fields, experts, tasks, gates and HMM modes that a finding names. A field counts before the expert it is named with;
    where the subject is no name of the run's, the names in its evidence count."""
    if finding.id in FIELDS:
        return FIELDS[finding.id]
    named = _names((finding.subject,), facts)
    if fields := {n for n in named if _is_field(n, facts)}:
        return frozenset(fields)
    if not named:
        named = _names((e.text for e in finding.evidence if e.text), facts)
    if finding.id.startswith(("CGC-", "GATE-")):
        named = {f"gate of {n}" if n in facts.tasks else n for n in named}
    if finding.id.startswith("EVI-"):
        named.add("evidential")
    return frozenset(named or {finding.subject})


def reach(finding: Finding, s: Statistics) -> frozenset[str]:
    """All that what the finding is about leads to, itself included."""
    facts, mine = s.facts, about(finding, s.facts)
    known = {n for n in mine if _known(n, facts)}
    if not known and finding.id.startswith(WHOLE_RUN):
        return frozenset({EVERYTHING})
    fields = {n for n in mine if _is_field(n, facts)}
    # a gate that leans on an expert is no fault of the expert, nor of the other gates that weigh it
    gate = any(n.startswith("gate of ") for n in mine)
    experts = set() if gate else {e for e in facts.experts if e in mine or any(_reads(facts, e, f) for f in fields)}
    modes: set[str] = {m for m in HMM_MODES if m in mine or f"hmm_{m}" in fields}
    parts = {n for p in mine & PARTS_OF_MODEL.keys() for n in PARTS_OF_MODEL[p]}
    if experts or "shared experts" in mine:
        parts |= READ_ALL
    same = {f for f in _fields(facts) if is_part(f)} if "features" in fields else set()
    if any(is_part(f) for f in fields):
        same.add("features")
    if mine & CLUSTERS:  # two readings of one clustering
        same |= CLUSTERS
    tasks = _tasks(finding, mine, parts, experts, modes, s)
    learnt = finding.id.startswith(("LABEL-", "LOSS-"))  # what a label was wrong for in training, its gate learnt too
    gates = set(facts.tasks) if "gates" in mine | parts else tasks if learnt else set()
    return frozenset({*mine, *experts, *modes, *parts, *same, *tasks, *(f"gate of {k}" for k in gates)})


def _tasks(
    finding: Finding, mine: frozenset[str], parts: set[str], experts: set[str], modes: set[str], s: Statistics
) -> set[str]:
    """The tasks behind: all of them behind a part that all share, else those named, those whose gates weigh the experts, and
    those of the HMM modes; where it was measured which a field reaches, these."""
    facts = s.facts
    named = {k for k in facts.tasks if k in mine or f"gate of {k}" in mine}
    measured = [e.text for e in finding.evidence if e.name == "tasks it reaches"]
    if measured and finding.id == "RUN-CHANGED":  # of a tower the rows of one task may have changed
        return named | _names(measured, facts) & set(facts.tasks)
    lost = bool(experts) and finding.id.endswith(("-NONFINITE", "-NAN")) and not finding.id.startswith("INPUT-")
    if "tasks" in parts or "gates" in mine or lost:  # what is no number stays none under any weight above 0
        return set(facts.tasks)
    if measured:
        return named | _names(measured, facts) & set(facts.tasks)
    return named | _weighing(s, experts) | {k for k, m in facts.hmm_modes.items() if m in modes}


def _known(name: str, facts: Facts) -> bool:
    task = name.removeprefix("gate of ")
    return (
        name in READ_ALL
        or name in PARTS_OF_MODEL
        or name in facts.experts
        or name in HMM_MODES
        or task in facts.tasks
        or _is_field(name, facts)
    )


def _names(texts: Iterable[str], facts: Facts) -> set[str]:
    """What of the run these texts name: "temporal.txn_seq", "ctr:cvr", "churn, ltv", "features:rfm", "features[12]"."""
    known = {*facts.experts, *facts.tasks, *HMM_MODES, *READ_ALL, *PARTS_OF_MODEL}
    out: set[str] = set()
    for word in (w.strip(" `") for text in texts for w in text.split(",")):
        if whole := _field(word, facts):
            out.add(whole)
            continue
        pieces = {word} if word in known else set(word.replace(":", ".").split("."))
        out |= pieces & known
        out |= {field for p in pieces - known if (field := _field(p, facts))}
    return out


def _field(word: str, facts: Facts) -> str:
    """An input field by its presence key ("txn_seq", "features:rfm", "features" for all columns); "" for anything else."""
    base, bracket, rest = word.partition("[")
    if base == "features" and bracket:
        number = rest.rstrip("]")
        return _part_at(int(number), facts) if number.isdigit() else "features"
    if _is_field(word, facts):
        return word
    return ""


def _is_field(name: str, facts: Facts) -> bool:
    return name == "features" or name in _fields(facts)


def _fields(facts: Facts) -> set[str]:
    parts = facts.own_parts or [part for _, part, _ in PARTS]
    read = {f for reads in facts.reads.values() for f in reads}
    return read | {part_key(p) for p in parts} | {f"hmm_{m}" for m in HMM_MODES}


def _part_at(column: int, facts: Facts) -> str:
    return next((part_key(p) for p, where in facts.parts.items() if where.start <= column < where.stop), "features")


def _reads(facts: Facts, expert: str, field: str) -> bool:
    reads = facts.reads.get(expert, ())
    return field in reads or (field == "features" and any(is_part(r) for r in reads))


def _weighing(s: Statistics, experts: set[str]) -> set[str]:
    """Tasks whose gate gives one of these experts at least an even share of its weight; all where no gate was measured."""
    if not experts:
        return set()
    g = s.gates
    if g is None or g.n < MIN_ROWS:
        return set(s.facts.tasks)
    columns = [i for i, e in enumerate(g.experts) if e in experts]
    # a weight that is no number compares as False: such a gate hides nothing
    return {task for i, task in enumerate(g.tasks) if not (g.mean[i, columns] < 1 / len(g.experts)).all()}
