"""The parts of an explanation: what is offered, what contributed, who is similar, what a check found, what would change it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from analysis.i18n import catalogue, phrase
from analysis.naming import said_name
from analysis.wording import OPAQUE, is_field, module_title, plain_quantity, quantity, statement, title
from ple_model.numerals import Language, percent

Kind = tuple[str, str]
"""What kind of sensitive fact something may be, in English and Korean; both empty where it was named without one."""
OWN_SUBJECT = "own:"
"""What the key of a subject begins with that is a part of somebody's own table: such a part may be called as ours are."""
LinkSide = Literal["above", "below", "equal", "nothing", "hour", "spread", "group", "days", "months"]
"""Where a customer stands in a fact: above or below the middle of all, with the same answer, about the same hour, at no hour,
in the same group, with latest days or months of the same kind."""
LinkVerdict = Literal["same", "other", "none", "few"]
"""Whether customers who stand there did it more or less often than others, as the reason has it: so they did, the other way, no
clear difference, or too few to tell."""
Test = Literal["completeness", "deletion", "insertion", "infidelity", "randomisation", "sensitivity"]


def matter_said(matter: str, language: Language) -> str:
    """What a matter is called within a sentence; empty for none."""
    if not matter:
        return ""
    name, _, category = matter.partition(":")
    return phrase(f"matter.{name}", language, category=said_name(category, language))


def mark_said(kind: Kind | None, language: Language, *, short: bool = False) -> str:
    """That a fact may be sensitive, as a sentence, or `short` for the cell of a table; empty where it is not."""
    if kind is None:
        return ""
    key = f"reason.sensitive{'_short' if short else ''}{'_kind' if any(kind) else ''}"
    return phrase(key, language, kind=kind[language == "ko"])


@dataclass(frozen=True)
class Offer:
    """One class of the explained task (an offer, a category, a brand), most probable first."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class TaskPrediction:
    """One task's prediction as people read it. `uncertainty` is the evidential head's, not the tower's."""

    task: str
    title: str
    kind: str
    value: float
    """Binary: calibrated probability; multiclass and contrastive: probability of the most probable class; regression: in
    `unit`."""
    unit: str
    label: str
    """Most probable class or brand; empty for binary and regression."""
    calibrated: bool
    uncertainty: float | None
    """Vacuity K/S in (0, 1] (classes), epistemic standard deviation in standard deviations of the label (regression), None
    where the task has no head."""
    aleatoric: float | None
    """Expected entropy in nats (classes); standard deviation of the noise, standardised (regression)."""
    rank: float | None
    """Share of the reference customers whose uncertainty is lower: 0.9 is among the least certain tenth."""

    def said(self, language: Language = "en") -> str:
        """The prediction in a few words: `$1,234.50`, `fund 34.0%`."""
        if self.kind == "regression":
            return quantity(self.value, self.unit, language)
        return f"{said_name(self.label, language)} {percent(self.value)}".strip()


@dataclass(frozen=True)
class Contribution:
    """One group's part in `prediction - typical`."""

    key: str
    title: str
    kind: Literal["part", "field", "expert", "hmm", "cluster", "direct", "latent", "rest", "barred"]
    value: float
    share: float
    """|value| as a share of all groups' |value|."""

    def named(self, language: Language) -> str:
        """The title in this language; own labels of latents stay as they were written."""
        if self.kind in ("part", "field"):
            return title(self.key, language)
        if self.kind == "barred":
            return phrase("barred.title", language)
        return module_title(self.key, language) if self.kind in ("expert", "hmm", "cluster", "direct") else self.title


@dataclass(frozen=True)
class SubjectWeight:
    """What all facts of one subject did to the prediction, in its unit: `raised` >= 0, `lowered` <= 0."""

    key: str
    raised: float
    lowered: float

    @property
    def size(self) -> float:
        """Both ways together, which its weight is a share of."""
        return self.raised - self.lowered

    def named(self, language: Language) -> str:
        """For a reviewer; of a part of somebody's own table, its name and no title of the package's."""
        if self.key.startswith(OWN_SUBJECT):
            return self.key.removeprefix(OWN_SUBJECT).replace("_", " ")
        return catalogue(language).get(f"subject.{self.key}") or title(self.key, language)


@dataclass(frozen=True)
class Unsaid:
    """All that moved the prediction and cannot be put into words (statistics, coordinates, guesses of the model's own), over
    all matters: it is no reason to give to anybody. `subjects`: what of each raised and lowered, the greatest first."""

    subjects: tuple[SubjectWeight, ...] = ()

    @property
    def raised(self) -> float:
        return sum(s.raised for s in self.subjects)

    @property
    def lowered(self) -> float:
        return sum(s.lowered for s in self.subjects)

    @property
    def value(self) -> float:
        """Signed sum, in the unit of the prediction."""
        return self.raised + self.lowered

    @property
    def size(self) -> float:
        """Both ways together, which its weight is a share of."""
        return self.raised - self.lowered


@dataclass(frozen=True)
class FeatureContribution:
    """One feature column's part, with the customer's and the typical value in real units."""

    name: str
    part: str
    group: str
    unit: str
    value: float
    typical: float
    contribution: float
    sentence_en: str
    sentence_ko: str
    sensitive: Kind | None = field(default=None, kw_only=True)
    """What it may be, where it may be sensitive."""

    def told(self, language: Language) -> str:
        """The column's sentence, with its mark where it may be sensitive."""
        sentence = self.sentence_ko if language == "ko" else self.sentence_en
        mark = mark_said(self.sensitive, language, short=True)
        return f"{sentence} ({mark})" if mark else sentence

    def shown(self, language: Language) -> str:
        """The customer's value with its unit; a dash where there is none."""
        return "–" if math.isnan(self.value) else quantity(self.value, self.unit, language)


@dataclass(frozen=True)
class Link:
    """What a reason's leading fact goes with among customers whose outcome is known (`analysis.explain.links`): of those who
    stand where this one stands in `column`, and of the others, the share of whom it came true, or their mean in the task's
    unit."""

    column: str
    side: LinkSide
    middle: float | None
    """What `above` and `below` are counted from, in the column's unit."""
    n: int
    others: int
    value: float
    others_value: float
    low: float | None
    high: float | None
    """95 % interval of `value - others_value`."""
    verdict: LinkVerdict
    everyone: bool
    """All held-out customers of the dataset were counted; those of the run's sample alone otherwise."""
    en: str
    ko: str

    def said(self, language: Language) -> str:
        return self.ko if language == "ko" else self.en

    @property
    def contradicts(self) -> bool:
        """Customers went the other way: no reason to tell anybody."""
        return self.verdict == "other"

    @property
    def unseen(self) -> bool:
        """Nothing of it is seen among customers, or too few are known to see anything: nobody could defend it."""
        return self.verdict in ("few", "none")


@dataclass(frozen=True)
class Reason:
    """A sentence in both languages, as a customer may be told it. `sources` are feature columns or input fields; `through` is
    what a derived input hands its contribution on to (columns, days, or `rest`), which adds up to it; empty for columns."""

    en: str
    ko: str
    sources: tuple[str, ...]
    contribution: float
    through: tuple[tuple[str, float], ...] = ()
    facts: tuple[str, str] = field(default=("", ""), kw_only=True)
    """The fact alone, in English and Korean, for where the effect stands beside it."""
    sensitive: bool = field(default=False, kw_only=True)
    """It may be sensitive, which the bank has to check. The sentence itself does not say so: a customer may be sent it."""
    kind: Kind | None = field(default=None, kw_only=True)
    """What kind of sensitive fact it may be; None where it is none."""
    matter: str = field(default="", kw_only=True)
    """What all its columns are about (`analysis.explain.matters`); empty for a derived input and a table of one's own."""
    told: tuple[str, ...] = field(default=(), kw_only=True)
    """The columns, or the input, that the sentence speaks of; `sources` are all whose contributions are in it."""
    above: bool | None = field(default=None, kw_only=True)
    """Whether the customer's value in the one column that is told lies above that of the reference customer, from which the
    effect is counted; None where several facts speak, or where there is no number to compare."""
    link: Link | None = field(default=None, kw_only=True)
    """None where no outcome is known, or where it is no fact that customers can be parted by."""

    def linked(self, language: Language) -> str:
        """What the leading fact goes with among the bank's customers; empty where that is not known."""
        return "" if self.link is None else self.link.said(language)

    def fact(self, language: Language) -> str:
        """For a reviewer: what is so of the customer, without what it does to the prediction, with its mark where it may be
        sensitive."""
        whole = self.ko if language == "ko" else self.en
        return self._marked(self.facts[language == "ko"] or whole, language)

    def about(self, language: Language) -> str:
        """Its matter by name, or what the derived input is called; the fact in short of a table of one's own."""
        first = self.sources[0] if self.sources else ""
        if not self.matter and (is_field(first) or first in OPAQUE):
            return title(first, language)
        return matter_said(self.matter, language) or self.fact(language).partition(":")[0]

    def said(self, language: Language) -> str:
        """For a reviewer: the whole sentence, with its mark where it may be sensitive."""
        return self._marked(self.ko if language == "ko" else self.en, language)

    def _marked(self, text: str, language: Language) -> str:
        mark = mark_said(self.kind, language, short=True) if self.sensitive else ""
        return f"{text} [{mark}]" if mark else text


@dataclass(frozen=True)
class TransferStep:
    """One edge on the way to the explained task: which prediction entered, and what cutting it changes."""

    edge: str
    source: str
    target: str
    source_text: str
    effect: float
    """Shown prediction minus the one with this edge cut."""
    ratio: float
    """Norm of what the edge adds, relative to the target's own representation."""


@dataclass(frozen=True)
class Similar:
    """A customer of the sample whose shared representation is near."""

    customer_id: str
    cutoff: str
    distance: float
    """Root mean squared difference in standard deviations of each dimension."""
    prediction: float
    outcome: float | None
    """What happened, where the sample knows: class index, 0 or 1, or in the unit of the prediction."""
    outcome_text: str


@dataclass(frozen=True)
class FaithfulnessCheck:
    """One test of the explanation. `passed` None: not decided (too little to test)."""

    name: Test
    value: float
    threshold: float | None
    passed: bool | None
    text_en: str
    text_ko: str


@dataclass(frozen=True)
class Faithfulness:
    """The badge. `withheld`: a deciding check failed, so reasons must not be shown as reasons."""

    checks: tuple[FaithfulnessCheck, ...]
    verdict_en: str
    verdict_ko: str

    @property
    def withheld(self) -> bool:
        return any(c.passed is False for c in self.checks)

    @property
    def level(self) -> Literal["ok", "unknown", "withheld"]:
        if self.withheld:
            return "withheld"
        return "ok" if all(c.passed for c in self.checks if c.threshold is not None) else "unknown"

    def check(self, name: str) -> FaithfulnessCheck | None:
        return next((c for c in self.checks if c.name == name), None)


@dataclass(frozen=True)
class Standing:
    """How well the explained task is predicted at all, on rows that the model did not learn from: skill, 1 - loss / loss of a
    constant, with its 95 % interval. `has_skill` False: not beyond a constant; None: too few rows to say."""

    value: float
    low: float
    high: float
    rows: int
    has_skill: bool | None


@dataclass(frozen=True)
class Barred:
    """What the model reads, but may not be given as a reason, and how much it moved the prediction."""

    titles: tuple[tuple[str, str], ...]
    """What is barred, in English and Korean: only what this model reads."""
    value: float
    """Signed sum of its contributions, in the unit of the prediction."""
    size: float
    """Sum of their absolute values, number by number: what pulls up and what pulls down do not cancel."""
    share: float
    """`size` as a share of everything that moved the prediction either way, barred or not."""

    def named(self, language: Language) -> tuple[str, ...]:
        return tuple(dict.fromkeys(t[language == "ko"] for t in self.titles))


@dataclass(frozen=True)
class Lacking:
    """Inputs that a customer is without, by why."""

    none: tuple[str, ...] = ()
    """The bank records it; the customer had nothing of the kind."""
    short: tuple[str, ...] = ()
    """It is worked out of what a customer did, which was too little."""
    unrecorded: tuple[str, ...] = ()
    """No customer of the sample has it."""
    empty: tuple[str, ...] = ()
    """A cell of a table of one's own that holds nothing for this customer, though it does for others."""

    def said(self, language: Language) -> str:
        """`None on record: credit, insurance. Too little activity to tell: ...`; empty where nothing is missing."""
        kinds = (("none", self.none), ("short", self.short), ("unrecorded", self.unrecorded), ("empty", self.empty))
        return " ".join(
            phrase(f"lacking.{kind}", language, names=", ".join(title(n, language) for n in names))
            for kind, names in kinds
            if names
        )


@dataclass(frozen=True)
class Fallback:
    """Whether the answer is too uncertain to act on: the mark that `ple predict` sets, at its default share."""

    marked: bool
    threshold: float
    share: float
    """Share of validation customers above the threshold."""
    n: int
    """Validation customers behind it."""


@dataclass(frozen=True)
class FeatureChange:
    """One feature moved in a counterfactual, in real units."""

    name: str
    before: float
    after: float
    unit: str
    sentence_en: str
    sentence_ko: str
    along: tuple[tuple[str, float], ...] = ()
    """Columns that say the same fact, with what they hold then: its other windows, its copy in its own scale."""
    sensitive: Kind | None = field(default=None, kw_only=True)
    """What it may be, where it may be sensitive."""
    words: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)
    """(now, then) in English and in Korean, as reasons say such values; empty: as plain quantities."""

    def shown(self, language: Language) -> tuple[str, str]:
        """(what is so now, what it would be)."""
        if self.words:
            return self.words[language == "ko"]
        return plain_quantity(self.before, self.unit, language), plain_quantity(self.after, self.unit, language)

    def named(self, language: Language) -> str:
        """`Contacts in person (shop or branch) in the last 90 days`: without its scale; values follow in units."""
        name = statement(self.sentence_ko if language == "ko" else self.sentence_en, language)
        scale = phrase("origin.own_scale", language)
        name = name.removesuffix(scale).replace(f", {scale.strip('()')})", ")").rstrip(" ,")
        name = name.removesuffix(phrase("origin.never_mark", language)).removesuffix(phrase("origin.from_to", language))
        mark = mark_said(self.sensitive, language, short=True)
        return f"{name} ({mark})" if mark else name

    def said(self, language: Language) -> str:
        """`contacts in person (shop or branch) in the last 90 days: 11 instead of 0`"""
        name = self.named(language)
        now, then = self.shown(language)
        return phrase("counterfactual.fact", language, name=name[:1].lower() + name[1:], then=then, now=now)


@dataclass(frozen=True)
class Counterfactual:
    """The fewest changeable facts, as a real customer with another result has them, that change the decision. `flips` False and
    no changes: no plausible one was found."""

    changes: tuple[FeatureChange, ...]
    before: float
    after: float
    label_after: str
    flips: bool
    immutable: tuple[str, ...]
    """Parts that were held fixed."""
    facts: int = field(default=0, kw_only=True)
    """How many facts differ; of a category two changes are one fact."""
    nearness: float | None = field(default=None, kw_only=True)
    """Share of the real customers with that result who lie farther from the nearest other one than the changed customer does,
    in the parts of the input that are touched."""
    rechecked: bool = field(default=False, kw_only=True)
    """The customer's cluster was computed again from the changed columns."""
    value_after: float | None = field(default=None, kw_only=True)
    """Probability of the class that would come first."""
    tried: int = field(default=0, kw_only=True)
    """How many combinations of facts were put to the model."""
