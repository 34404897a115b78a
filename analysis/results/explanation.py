"""What an explanation of one customer's prediction consists of: plain values, ready for a page, JSON or the printed report.

Attributions are in the unit of the shown prediction (calibrated probability, class probability, or the label's unit) and add up
to `prediction - typical`, the prediction of the reference customer (integrated gradients: Sundararajan et al. 2017). Nothing
here imports torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from analysis.i18n import phrase, section
from analysis.naming import label_said
from analysis.results.explanation_parts import (
    Barred,
    Contribution,
    Counterfactual,
    Faithfulness,
    Fallback,
    FeatureContribution,
    Kind,
    Lacking,
    Offer,
    Reason,
    Similar,
    Standing,
    SubjectWeight,
    TaskPrediction,
    TransferStep,
    Unsaid,
    mark_said,
)
from analysis.results.printed_steps import PrintedSteps
from analysis.wording import given_title, quantity, task_title
from analysis.wording import title as input_title
from ple_model.barred_words import BARRED_KINDS
from ple_model.fields import NO_CUTOFF
from ple_model.numerals import Language, percent, share
from ple_model.reliability import CameTrue
from ple_model.sensitive_words import SENSITIVE_KINDS

ScoreUnit = Literal["probability", "value"]


LITTLE = 0.01
"""A smaller share of everything that moved the prediction is said to have had next to no effect: the least a reason is worth
beside the strongest (`analysis.explain.reasons.LEAST`)."""
UNCHANGEABLE = ("life_stage",)
"""Tasks whose answer is nothing that a change of facts should turn: what somebody is."""
Ground = Literal["", "skill", "dormant", "uncertain", "check", "reasons"]
"""Why a person must decide."""
REASONS = ("reasons", "against", "contradicted", "unseen", "subjects", "groups", "features", "experts", "concepts", "transfer")
"""What of an explanation says why."""


@dataclass(frozen=True)
class Explanation:
    """See the module docstring. `print(explanation)` gives the report as text; `to_dict` what `ple explain --json` prints."""

    run: str
    customer_id: str
    cutoff: str
    split: str
    segment: str
    cluster: int
    task: str
    title: str
    question: str
    target: int | None
    """Class that is explained; None for binary and regression."""
    target_name: str
    score_unit: ScoreUnit
    unit: str
    prediction: float
    typical: float
    """Prediction of the reference customer: median columns and mean sequences of the sample, same missing sources."""
    population: float
    """Mean prediction over the sample."""
    offers: tuple[Offer, ...]
    predictions: tuple[TaskPrediction, ...]
    reasons: tuple[Reason, ...]
    against: tuple[Reason, ...]
    """What speaks against, strongest first."""
    contradicted: tuple[Reason, ...] = field(default=(), kw_only=True)
    """Stronger than the last that is told on their side, and left out of both, strongest first: in their leading fact customers
    went the other way (`Link.contradicts`)."""
    unseen: tuple[Reason, ...] = field(default=(), kw_only=True)
    """The same of those of which nothing is seen among customers (`Link.unseen`)."""
    groups: tuple[Contribution, ...]
    """Feature parts and other input fields, strongest first; their values add up to prediction - typical."""
    features: tuple[FeatureContribution, ...]
    """The strongest single columns."""
    experts: tuple[Contribution, ...]
    """Shared experts, HMM modes and cluster embedding, against the mean representation."""
    experts_typical: float
    """Prediction at the mean representation: the experts' values add up to prediction - this."""
    concepts: tuple[Contribution, ...]
    """The strongest SAE latents' part in the experts' sum; the last entry is what the SAE does not explain."""
    transfer: tuple[TransferStep, ...]
    similar: tuple[Similar, ...]
    faithfulness: Faithfulness
    counterfactual: Counterfactual | None
    absent: tuple[str, ...]
    """Input fields and feature parts that this customer does not have: held fixed, they cannot be reasons."""
    statistic: Literal["", "mean", "median"] = field(default="", kw_only=True)
    """What the shown value of a task is whose label is a logarithm: means add up over customers, medians do not."""
    audit: dict[str, Any]
    """What is needed to repeat it: fingerprints, method, nodes, seeds, times."""
    undefined: dict[str, str] = field(default_factory=dict)
    """task -> why it has no prediction for this customer, in words (`tasks.Condition`)"""
    skill: Standing | None = field(default=None, kw_only=True)
    """None where it is not known."""
    compared: tuple[str, str] = field(default=("", ""), kw_only=True)
    """Whom the reasons call similar customers, in English and Korean; empty where there are none to compare with."""
    size: float = field(default=0.0, kw_only=True)
    """Sum of |contribution| over all that is not barred, a matter at a time (its own ups and downs added; what can be said of
    it and what cannot each by itself): what a reason's weight is a share of."""
    told: float = field(default=0.0, kw_only=True)
    """Their signed sum: with what is barred it adds up to prediction - typical within the gap that the checks allow."""
    counts: tuple[int, int] = field(default=(0, 0), kw_only=True)
    """How many matters and inputs that can be put into words raised the prediction, and how many lowered it."""
    subjects: tuple[SubjectWeight, ...] = field(default=(), kw_only=True)
    """All of it by subject, greatest first: they add up to `told` and `size`."""
    unsaid: Unsaid = field(default=Unsaid(), kw_only=True)
    """What of all that cannot be put into words: in no reason, and no other matter's sum."""
    unnamed: tuple[int, float] = field(default=(0, 0.0), kw_only=True)
    """Of how many matters and inputs something cannot be put into words, and what the strongest of that did."""
    unnamed_key: str = field(default="", kw_only=True)
    """The matter or input of that strongest one."""
    barred: Barred | None = field(default=None, kw_only=True)
    """None where the model reads nothing that is barred."""
    lacking: Lacking = field(default=Lacking(), kw_only=True)
    """The same as `absent`, by why it is missing."""
    came: tuple[float | None, str] = field(default=(None, ""), kw_only=True)
    """What happened, where the data know it: class index, 0 or 1, or in the task's unit; in words."""
    reliability: CameTrue | None = field(default=None, kw_only=True)
    """How often it came true of held-out customers who were given about this probability; None where that is not known."""
    fallback: Fallback | None = field(default=None, kw_only=True)
    """None where the run does not know its threshold, or the task has no evidential head."""
    anyway: bool = field(default=False, kw_only=True)
    """The reader asked for the reasons although the task has no skill."""

    @property
    def unskilled(self) -> bool:
        """The task is not predicted better than by its average: no reason for a prediction means anything."""
        return self.skill is not None and self.skill.has_skill is False

    @property
    def person_because(self) -> Ground:
        """Why a person must decide: the one ground that weighs most, empty for none that is known. Without skill no number
        means anything; then who did nothing for a year, or is among the most uncertain, is unlike those whom the model
        knows; then there may be no reason that can be shown, or none at all."""
        if self.unskilled:
            return "skill"
        if self.dormant:
            return "dormant"
        if self.fallback is not None and self.fallback.marked:
            return "uncertain"
        if self.faithfulness.withheld:
            return "check"
        return "reasons" if self.unreasoned else ""

    @property
    def unreasoned(self) -> bool:
        """Nothing with a plain name carries the prediction: there is no reason to tell, though none is withheld."""
        return not self.reasons and not self.against

    @property
    def trust(self) -> Literal["ok", "unknown", "withheld"]:
        """Of the sentence on the checks: never `ok` where a person must decide."""
        level: Literal["ok", "unknown", "withheld"] = "withheld" if self.unskilled else self.faithfulness.level
        return "unknown" if level == "ok" and self.person_because else level

    def checks_said(self, language: Language) -> str:
        """What was checked of the explanation, which is its arithmetic; where a check failed, `person_said` says so."""
        f = self.faithfulness
        return self.meaningless(language) or (f.verdict_ko if language == "ko" else f.verdict_en)

    def ground_said(self, language: Language) -> str:
        """The ground in one sentence; empty where none is known."""
        if not self.person_because:
            return ""
        if self.person_because == "skill":
            return self.meaningless(language)
        part = "" if self.fallback is None else share(self.fallback.share)
        return phrase(f"person.{self.person_because}", language, share=part)

    def person_said(self, language: Language) -> str:
        """That nobody may act on this alone, with the ground; empty where none is known."""
        ground = self.ground_said(language)
        return phrase("person.act", language, ground=ground) if ground else ""

    @property
    def first_choice(self) -> Offer | None:
        """What the model would choose, where another class was asked about; None where the explained class is its choice."""
        return self.offers[0] if self.offers and self.offers[0].index != self.target else None

    @property
    def decided(self) -> str:
        """The model's first choice by name, whichever class was asked about; empty for tasks without classes."""
        return self.target_name if self.first_choice is None else self.first_choice.name

    def label_said(self, name: str, language: Language) -> str:
        """A class of this task, by one name wherever it is spoken of."""
        return label_said(self.task, name, self.cutoff, language)

    def weight(self, reason: Reason) -> float:
        """The reason's share of everything that moved the prediction either way, from 0 to 1."""
        return self.share_of(abs(reason.contribution))

    def share_of(self, part: float) -> float:
        """Of a sum of sizes: its share of everything that moved the prediction either way, from 0 to 1."""
        size = self.size + (0.0 if self.barred is None else self.barred.size)
        return part / size if size > 0 else 0.0

    def unchanged_said(self, language: Language) -> str:
        """Why no change is looked for: an age is nothing to change, and a number has no line at which it would turn. Empty
        where one is."""
        if self.task in UNCHANGEABLE and not given_title(self.task, self.title):
            return phrase("counterfactual.fixed", language)
        return phrase("counterfactual.no_line", language) if self.score_unit == "value" else ""

    def change_said(self, language: Language, *, named: bool = True) -> str:
        """What would have to differ and what the answer would be then; or that nothing was found, with what was tried. Not
        `named`: the facts stand beside it."""
        c = self.counterfactual
        if said := self.unchanged_said(language):
            return said
        if c is None:
            return phrase("counterfactual.nobody", language)
        if not c.flips:
            return phrase("counterfactual.none" if c.tried else "counterfactual.held", language, tried=f"{c.tried:,}")
        own, label = self.label_said(self.target_name, language), self.label_said(c.label_after, language)
        facts, several = phrase("counterfactual.joint", language).join(x.said(language) for x in c.changes), len(c.changes) > 1
        if not named:
            facts = phrase("counterfactual.these_all" if several else "counterfactual.these", language, n=len(c.changes))
        elif several:
            facts = phrase("counterfactual.together", language, facts=facts)
        before, after = self.shown(c.before, language), self.shown(c.after, language)
        values = {"facts": facts, "own": own, "label": label, "before": before, "after": after}
        if c.label_after and c.value_after is not None:
            said = phrase("counterfactual.first", language, **values, first=self.shown(c.value_after, language))
        elif c.label_after:
            said = phrase("counterfactual.class", language, **values)
        else:
            side = "counterfactual.above" if c.after >= self.population else "counterfactual.below"
            said = phrase(side, language, **values, population=self.shown(self.population, language))
        whole = phrase("counterfactual.whole", language) if any(x.along for x in c.changes) else ""
        alike = phrase("counterfactual.near", language) if c.nearness is not None else ""
        return " ".join(filter(None, (said, whole, alike)))

    def barred_said(self, language: Language) -> str:
        """Whether what may not be a reason mattered, and how much; empty where the model reads nothing of the kind, or where
        no reasons are shown."""
        b = self.barred
        if b is None or self.withheld:
            return ""
        way, steps = self.barred_way(language), PrintedSteps.of(self, language)
        value = b.value if way == "much" else 10**-steps.decimals / steps.factor
        moved = self.shown(value, language, signed=way == "much")
        if self.score_unit == "probability":
            moved = phrase("barred.points", language, points=f"{100 * value:{'+' if way == 'much' else ''}.1f}")
        part = phrase("review.below", language, value=share(LITTLE)) if b.share < LITTLE else share(b.share)
        return phrase(
            f"barred.{way}", language, names=self.barred_names(language), share=part,
            value=moved if way == "much" else phrase("review.less_than", language, value=moved),
        )  # fmt: skip

    def unsaid_said(self, language: Language) -> str:
        """What moved the prediction and cannot be put into words, with its subjects; empty where nothing is, or where no
        reasons are shown."""
        u = self.unsaid
        if not u.size or self.withheld:
            return ""
        steps, part = PrintedSteps.of(self, language), self.share_of(u.size)
        value = self.shown(u.value, language, signed=True)
        if self.score_unit == "probability":
            value = phrase("barred.points", language, points=steps.said(steps.count(u.value)))
        weight = share(part) if part >= LITTLE else phrase("review.below", language, value=share(LITTLE))
        return phrase(
            "review.unsaid_said", language, value=value, share=weight, subjects=", ".join(s.named(language) for s in u.subjects)
        )  # fmt: skip

    def barred_way(self, language: Language) -> Literal["little", "cancel", "much"]:
        """What the facts that may be no reason did, by one measure for page and report: as much as is printed; ups and downs
        that cancel to less than is printed; or next to nothing either way."""
        b = self.barred
        if b is None or PrintedSteps.of(self, language).count(b.value):
            return "little" if b is None else "much"
        return "little" if b.share < LITTLE else "cancel"

    def barred_names(self, language: Language) -> str:
        """All that the configuration bars, then what a table of somebody's own marks so; said of each that this model does not
        read, also where it is what is asked for."""
        named = self.audit.get("barred") or ()
        read = () if self.barred is None else self.barred.named(language)
        titles = {n: BARRED_KINDS[n].title[language == "ko"] if n in BARRED_KINDS else input_title(n, language) for n in named}
        asked = titles.get("age") if self.task in UNCHANGEABLE and not given_title(self.task, self.title) else None
        said = [
            phrase("review.read", language, name=t)
            if t in read
            else phrase("review.unread_asked" if t == asked else "review.unread", language, name=t)
            for t in dict.fromkeys([*titles.values(), *read])
        ]
        return ", ".join(said) or phrase("review.nothing_barred", language)

    @property
    def sensitive(self) -> tuple[Kind, ...]:
        """The kinds of what the reasons that are told may be, once each; ("", "") for one without a kind."""
        return tuple(dict.fromkeys(r.kind or ("", "") for r in (*self.reasons, *self.against) if r.sensitive))

    def below_said(self, language: Language) -> tuple[str, ...]:
        """What stands below the reasons: with whom they compare, what their links are counted from, what cannot be put into
        words, what may not be a reason."""
        said = (
            self.similar_said(language), self.links_said(language), self.left_said("contradicted", language),
            self.left_said("unseen", language), self.unsaid_said(language), self.barred_said(language),
        )  # fmt: skip
        return tuple(filter(None, said))

    def left_said(self, ground: Literal["contradicted", "unseen"], language: Language) -> str:
        """Which matters are no reason to tell since customers went the other way, or nothing of it is seen among them, and what
        these did to the number; empty where none is."""
        left: tuple[Reason, ...] = getattr(self, ground)
        if not left or self.withheld:
            return ""
        steps = PrintedSteps.of(self, language)
        named = ", ".join(f"{r.about(language)} {steps.said(steps.count(r.contribution))}" for r in left)
        return phrase(f"review.{ground}_said", language, named=named, share=share(sum(map(self.weight, left))))

    def similar_said(self, language: Language) -> str:
        """Which median effects are counted from and which stands for orientation only, and whom the reasons call similar; empty
        where they speak of neither."""
        said, word = self.compared[language == "ko"], phrase("origin.similar.word", language)
        told = [r.ko if language == "ko" else r.en for r in (*self.reasons, *self.against)]
        similar = any(word in t for t in told)
        if similar:
            return f"{phrase('origin.median_similar', language)} {said}".rstrip()
        median = any(word in t for word in phrase("origin.median_words", language).split(";") for t in told)
        return phrase("origin.median", language) if median else ""

    def links_said(self, language: Language) -> str:
        """What the small print under the reasons is counted from; empty where there is none."""
        linked = any(r.link is not None for r in (*self.reasons, *self.against))
        return phrase("link.note", language) if linked else ""

    @property
    def withheld(self) -> bool:
        """Show the prediction, not the reasons: the task has no skill, or the explanation failed a check of itself."""
        return self.faithfulness.withheld or (self.unskilled and not self.anyway)

    def meaningless(self, language: Language = "en") -> str:
        """Why nothing explains a prediction of a task without skill; empty for one with."""
        if not self.unskilled:
            return ""
        title = given_title(self.task, self.title) or task_title(self.task, language) or self.title
        return phrase("faithfulness.unskilled", language, title=title)

    def answer_mark(self, language: Language) -> str:
        """That the answer itself may be sensitive, by what the class or the label is called; empty where it is not."""
        names = (self.target_name, given_title(self.task, self.title))
        kinds = [SENSITIVE_KINDS[n] for n in self.audit.get("sensitive") or () if n in SENSITIVE_KINDS]
        return mark_said(next((k.title for k in kinds if any(map(k.called, names))), None), language)

    @property
    def difference(self) -> float:
        return self.prediction - self.typical

    @property
    def sides(self) -> tuple[str, str]:
        """What `reasons` and `against` do: ("for", "against") a class that is named, else ("raises", "lowers") the number or
        probability, in the order that tells of the difference to a typical customer first."""
        if self.target is not None:
            return "for", "against"
        return ("raises", "lowers") if self.difference >= 0 else ("lowers", "raises")

    @property
    def dormant(self) -> bool:
        """No activity in the year before the cut-off: nothing recent to go by, and scores mark such customers."""
        return self.segment == "dormant"

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        found["faithfulness"]["withheld"] = self.faithfulness.withheld
        found["faithfulness"]["level"] = self.faithfulness.level
        found["withheld"] = self.withheld
        found["withheld_because"] = None if not self.withheld else "skill" if self.unskilled and not self.anyway else "check"
        found["unsaid"] |= {"value": self.unsaid.value, "size": self.unsaid.size, "share": self.share_of(self.unsaid.size)}
        found["warning"] = self.meaningless() or None
        found["person_because"] = self.person_because or None
        if found["withheld_because"] == "skill":
            found |= {part: [] for part in REASONS} | {"counterfactual": None, "unsaid": None}
        return found

    def __str__(self) -> str:
        return self.text()

    def text(self, language: Language = "en") -> str:
        """The report as text: the prediction beside a typical customer's, how far to trust it, and the reasons."""
        ko, words = language == "ko", section("text", language)
        verdict = self.faithfulness.verdict_ko if ko else self.faithfulness.verdict_en
        warning = self.meaningless(language)
        typical = f"{words['typical']} {self.shown(self.typical, language)}"
        lines = [said] if (said := self.person_said(language)) else []
        lines += [self.headline(language), *filter(None, [self.answer_mark(language)])]
        told = warning or self.person_because == "check"  # the first line says it
        lines.append(typical if told else f"{typical}; {verdict}")
        if self.statistic:
            lines.append(words[self.statistic])
        if self.dormant:
            lines.append(words["dormant"])
        own = next((p for p in self.predictions if p.task == self.task), None)
        if own is not None and own.uncertainty is not None:
            word = words["epistemic" if own.kind == "regression" else "vacuity"]
            lines.append(f"{words['uncertainty']}: {word} {own.uncertainty:.3f}")
        if self.offers:
            lines.append(
                f"{words['top']}: "
                + ", ".join(f"{self.label_said(o.name, language)} {o.probability:.1%}" for o in self.offers[:3])
            )
        if self.withheld:
            lines.append(warning or words["withheld"])
        else:
            for i, r in enumerate(self.reasons, 1):
                lines += [f"{i}. {r.said(language)}", *_under(r, language)]
            if self.against:
                lines.append(f"{section('page', language)[self.sides[1]]}:")
                for r in self.against:
                    lines += [f"- {r.said(language)}", *_under(r, language)]
            lines += self.below_said(language)
        return "\n".join(lines)

    def headline(self, language: Language = "en") -> str:
        """Customer, task and prediction in one line."""
        at = "" if self.cutoff == NO_CUTOFF else f" · {self.cutoff}" if language == "ko" else f" at {self.cutoff}"
        title = given_title(self.task, self.title) or task_title(self.task, language) or self.title
        answer = f"{self.label_said(self.target_name, language)} {self.shown(self.prediction, language)}".strip()
        return f"{self.customer_id}{at} · {title}: {answer}"

    def shown(self, value: float, language: Language = "en", *, signed: bool = False) -> str:
        """A prediction in the unit of this task, or a difference (`signed`: with a plus where it is one)."""
        if self.score_unit == "probability":
            return f"+{percent(value)}" if signed and value >= 5e-4 else percent(value)
        return quantity(value, self.unit, language, signed=signed)

    def entered(self, step: TransferStep, language: Language = "en") -> str:
        """The prediction that entered at a step of the transfer chain, for a reader of `language`."""
        found = next((p for p in self.predictions if p.task == step.source), None)
        return step.source_text if found is None else found.said(language)

    def outcome(self, one: Similar, language: Language = "en") -> str:
        """What happened with a similar customer, for a reader of `language`."""
        return self._outcome_said(one.outcome, one.outcome_text, language)

    def came_said(self, language: Language) -> str:
        """What happened with this one; empty where that is not known."""
        return self._outcome_said(*self.came, language)

    def _outcome_said(self, outcome: float | None, text: str, language: Language) -> str:
        if outcome is not None and self.score_unit == "value":
            return quantity(outcome, self.unit, language)
        return self.label_said(text, language)


def _under(reason: Reason, language: Language) -> tuple[str, ...]:
    """The line below a reason, where it has one."""
    said = reason.linked(language)
    return (f"   {said}",) if said else ()


@dataclass(frozen=True)
class CustomerRef:
    """A row that can be explained."""

    customer_id: str
    cutoff: str
    split: str
