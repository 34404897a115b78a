"""The oracle: which findings name the cause of a planted fault, so that a reader can act on them.

Written from the nature of each fault, before and apart from what the checks answer. A finding is *usable* if its id and subject
are listed and its words (verdict, cause, fix) say what they must: a list of patterns, all of which must be found. A finding
that is *true* states a fact of the planted fault that leads nobody to it by itself: it is no false alarm, and no cause.
`subjects` are where a reader has to look: the field, task, expert or key that is broken.

For faults that are drawn from one check (family `mechanics`), what is required is what is usable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from analysis.checks.finding import Finding
from analysis.faults.fault import PlantedFault
from ple_model.presence import is_part, part_key, plain_name
from ple_model.tasks import TASKS


@dataclass(frozen=True)
class Usable:
    """An answer that counts: shell patterns of id and subject (several separated by `|`), regular expressions of its words."""

    id: str
    subject: str = "*"
    says: tuple[str, ...] = ()

    def given_by(self, finding: Finding) -> bool:
        return (
            any(fnmatchcase(finding.id, p) for p in self.id.split("|"))
            and any(fnmatchcase(finding.subject, p) for p in self.subject.split("|"))
            and all(re.search(p, words(finding), re.IGNORECASE) for p in self.says)
        )


@dataclass(frozen=True)
class Oracle:
    """What counts for one fault."""

    subjects: tuple[str, ...]
    usable: tuple[Usable, ...]
    true: tuple[Usable, ...] = ()

    def right_subject(self, finding: Finding) -> bool:
        return any(fnmatchcase(finding.subject, p) for p in self.subjects)

    def names(self, finding: Finding) -> bool:
        """Is this finding a usable cause?"""
        return any(a.given_by(finding) for a in self.usable)

    def admits(self, finding: Finding) -> bool:
        """Is what it says true of the planted fault?"""
        return self.names(finding) or any(a.given_by(finding) for a in self.true)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of usable answers that are no patterns."""
        return tuple(dict.fromkeys(i for a in self.usable for i in a.id.split("|") if "*" not in i))


def words(finding: Finding) -> str:
    """What a reader sees of a finding: subject, verdict, evidence, cause and fix."""
    fix = "" if finding.fix is None else f"{finding.fix.key} {finding.fix.text}"
    evidence = " ".join(f"{e.name} {e.text}" for e in finding.evidence)
    return f"{finding.subject} {finding.verdict} {evidence} {finding.cause} {fix}"


LABELS = ("labels", "label*", "run", "tasks", *TASKS)
OTHERS = r"join|shift|other customers|those customers|not theirs|belong"
INVERTED = r"invert|flip|revers|opposite|wrong way|exchanged|swapped"
# Measured facts that wrong labels, a leak or a failed training bring about, whatever their cause is said to be.
WORTHLESS = (Usable("SKILL-NONE|SKILL-HARMFUL|SKILL-BEHIND"),)


def _field(*keys: str) -> tuple[str, ...]:
    """Subjects that lead to an input field: itself, a column of it, an expert's reading of it."""
    parts = [plain_name(k) for k in keys if is_part(k)]
    return (*keys, *(f"{k}*" for k in keys), *(f"*.{k}" for k in keys), *(f"*{p}*" for p in parts))


def _joined(*keys: str, drifts: bool = False) -> Oracle:
    names = "|".join(_field(*keys))
    # of permuted columns some hold what a column elsewhere says too
    true = (Usable("DATA-DRIFT|INPUT-COPY", names),) if drifts else ()
    return Oracle(_field(*keys), (Usable("INPUT-JOIN", names),), true)


def _column(*names: str, part: str) -> tuple[str, ...]:
    """Words that name a column or its part."""
    return ("|".join((*names, part)),)


def _label(id: str, *tasks: str, says: tuple[str, ...] = ()) -> Oracle:
    return Oracle((*tasks, *(f"label {t}" for t in tasks)), (Usable(id, "|".join(tasks), says),), WORTHLESS)


SHIFTED = Oracle(
    LABELS,
    (Usable("LABEL-JOIN"), Usable("SKILL-*", says=("label", OTHERS))),
    (*WORTHLESS, Usable("EVI-UNINFORMATIVE")),
)
INVERTED_CHURN = Oracle(("churn", "label churn"), (Usable("SKILL-HARMFUL|LABEL-*", "churn", ("label", INVERTED)),), WORTHLESS)
SPENDING = "|".join((part_key("rfm"), part_key("raw_power_law")))
TWO_UNITS = _label("LABEL-UNIT", "ltv")
# A rate that is wrong is told by naming the key; that nothing moved or everything ran away is true of such a training.
RATE = Oracle(
    ("run", "training*", "optimi*", "learning*", "tasks", "gates", "total", "experts"),
    (Usable("FIT-RATE"), Usable("*", says=(r"training\.learning_rate|learning rate",))),
    (*WORTHLESS, Usable("FIT-*")),
)

ORACLES: dict[str, Oracle] = {
    "labels-shifted": SHIFTED,
    "training-labels-shifted": SHIFTED,
    "rows-shuffled-txn-seq": _joined("txn_seq"),
    "rows-shuffled-hmm-behavior": _joined("hmm_behavior"),
    "rows-shuffled-collaborative-features": _joined("collaborative_features"),
    "rows-shuffled-transaction-stats": _joined(part_key("transaction_stats")),
    "rows-shuffled-rfm": _joined(part_key("rfm")),
    "columns-permuted-collaborative-features": _joined("collaborative_features", drifts=True),
    "columns-permuted-hmm-journey": _joined("hmm_journey", drifts=True),
    "columns-permuted-rfm": _joined(part_key("rfm"), drifts=True),
    "sequence-reversed-txn-seq": _joined("txn_seq"),
    "sequence-reversed-session-seq": _joined("session_seq"),
    "hmm-modes-swapped": _joined("hmm_journey", "hmm_behavior", drifts=True),
    "labels-inverted": INVERTED_CHURN,
    "training-labels-inverted": INVERTED_CHURN,
    "label-in-two-units": TWO_UNITS,
    "training-label-in-two-units": TWO_UNITS,
    "training-label-constant": _label("LABEL-CONSTANT", "ltv", "life_stage"),
    "training-class-missing": _label("LABEL-CLASS", "life_stage"),
    "training-label-leak": Oracle(
        ("churn", "features*", "campaign*", "*campaign*"), (Usable("LABEL-LEAK", says=("churn", "campaign|column|features")),)
    ),
    "units-in-thousands": Oracle(
        _field(part_key("rfm"), part_key("raw_power_law")),
        (
            Usable("INPUT-*", says=_column("spend", part="rfm")),
            Usable("INPUT-UNIT", SPENDING),
            Usable("DATA-DRIFT", SPENDING, ("spend", "unit|currency|scale|thousand")),
        ),
        (Usable("DATA-DRIFT", SPENDING),),
    ),
    "sentinel": Oracle(
        _field(part_key("digital"), part_key("rfm")),
        (Usable("INPUT-SENTINEL", says=("session|digital|spend|purchase|recency|rfm",)),),
        (Usable("DATA-DRIFT|INPUT-JOIN", f"{part_key('digital')}|{part_key('rfm')}"),),
    ),
    "labels-renumbered": _label("LABEL-CLASS", "life_stage", says=("number|order|exchanged",)),
    "positives-lost": Oracle(
        ("retention", "label retention"), (Usable("LABEL-RATE", "retention", ("region|positives",)),), WORTHLESS
    ),
    "columns-displaced": Oracle(
        ("features*",), (Usable("INPUT-JOIN", "features", ("hold the values of columns|sorted otherwise",)),),
        (Usable("DATA-DRIFT|INPUT-JOIN", "features*"),),
    ),
    "clusters-renumbered": Oracle(
        ("cluster_ids", "cluster_probs", part_key("gmm")),
        (Usable("INPUT-JOIN", "cluster_probs|cluster_ids", ("number|order",)),), (Usable("DATA-DRIFT", "cluster_ids"),),
    ),
    "columns-in-two-units": Oracle(
        _field(part_key("raw_power_law")), (Usable("INPUT-UNIT", part_key("raw_power_law"), ("others|two units",)),),
        (Usable("DATA-DRIFT", SPENDING),),
    ),
    "default-value": Oracle(
        _field(part_key("rfm")), (Usable("INPUT-SENTINEL", part_key("rfm"), ("recency_days",)),),
        (Usable("DATA-DRIFT|INPUT-JOIN", part_key("rfm")),),
    ),
    "rows-duplicated": Oracle(("run", "rows", "customer*", "data", "dataset", "sample"), (Usable("INPUT-DUPLICATE"),)),
    "expert-reinitialised": Oracle(
        ("deepfm", "causal", "raw_scale", "experts*", "weights*", "model*", "*deepfm*"),
        (Usable("SKILL-*|EXP-*", says=(r"deepfm|causal|raw_scale", "initial|untrained|random|anew|not trained|lost")),),
    ),
    "expert-faint": Oracle(
        ("deepfm", "experts*", "weights*", "model*", "*deepfm*"),
        (Usable("EXP-SCALE|EXP-DEAD", "*deepfm*"), Usable("SKILL-*", says=("deepfm", "expert"))),
    ),
    "gates-loud": Oracle(("gates", "cgc*", "weights*", "model*", *TASKS), (Usable("GATE-JITTER"),)),
    "towers-reinitialised": Oracle(
        ("towers*", "weights*", "model*", "tasks", *TASKS),
        (Usable("SKILL-*", says=("head|tower",)),),
        WORTHLESS,
    ),
    "calibration-of-another-run": Oracle(
        ("*calibration*", "preprocess*", "run", *TASKS), (Usable("EVI-MISCALIBRATED", says=("calibrat",)),)
    ),
    "normaliser-of-another-run": Oracle(("*normali*", "preprocess*", "*context*", "run"), ()),
    "rate-high": RATE,
    "rate-low": RATE,
    "few-epochs": Oracle(
        ("run", "training*", "tasks", "epochs", *TASKS), (Usable("FIT-UNDER|SKILL-*", says=("epoch",)),), WORTHLESS
    ),
    "few-rows-no-dropout": Oracle(
        ("run", "training*", "tasks", *TASKS),
        (
            Usable("FIT-OVER", says=("dropout|epoch|patience|rows|decay",)),
            Usable("SKILL-*", says=("dropout|few rows|more rows",)),
        ),
        # 300 rows lack classes, teach a dictionary little, and are so few steps an epoch that adaTT measures at most of them
        (*WORTHLESS, Usable("LABEL-CLASS|SAE-*|GRAD-ADATT-MEMORY")),
    ),
}  # fmt: skip


def oracle_of(fault: PlantedFault) -> Oracle:
    """The fault's row of the table; of one that is drawn from a check, what it requires."""
    if fault.name in ORACLES:
        return ORACLES[fault.name]
    subjects = tuple(dict.fromkeys(p for e in fault.required for p in e.subject.split("|")))
    return Oracle(subjects, tuple(Usable(e.id, e.subject) for e in fault.required))


def with_changed(oracle: Oracle, changed: Iterable[str]) -> Oracle:
    """The same where tensors or files were changed after the training: that they were is certain knowledge, and a usable cause
    where it names the part."""
    parts = sorted({_part(name) for name in changed})
    if not parts:
        return oracle
    named = "|".join(rf"(?<![\w]){re.escape(p)}" for p in parts)
    return Oracle(
        (*oracle.subjects, *parts, *(f"*{p}*" for p in parts)),
        (*oracle.usable, Usable("RUN-CHANGED", says=(named,))),
        (*oracle.true, Usable("RUN-CHANGED")),
    )


def _part(name: str) -> str:
    """What a reader calls the part that a tensor or a file belongs to: `experts.deepfm.out.weight` -> `deepfm`."""
    if name.endswith((".json", ".npz", ".safetensors")):
        return name.rpartition(".")[0].removesuffix("r") if name.startswith("normalizer") else name.rpartition(".")[0]
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == "experts" else first
