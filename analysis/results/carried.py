"""Which reasons carry a prediction, for whom: what the explanations of a draw of customers have in common, as plain values for
a page, a terminal and JSON.

Shares are of the customers whose reasons can be shown, with Wilson's interval (Wilson 1927). Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from analysis.i18n import phrase
from analysis.naming import said_name
from analysis.results.explanation import ScoreUnit
from analysis.results.explanation_parts import Kind, Standing, mark_said
from analysis.wording import given_title, quantity, task_title
from ple_model.numerals import Language, percent, share

NO_REASONS = ("check", "reasons", "outside", "broken")
"""Why a customer got no reasons: the explanation failed a check of itself, nothing with a plain name carries the prediction,
the task is not defined for the customer, or the row could not be explained."""
A_PERSON = ("uncertain", "dormant")
"""Why a person must decide although there are reasons (`Explanation.person_because`)."""


@dataclass(frozen=True)
class FactWay:
    """The fact that speaks for a reason of more than half of its customers, and which way."""

    fact: tuple[str, str]
    """In English and Korean."""
    above: bool
    """Above the median of the sampled customers, or below."""
    flag: bool
    """It is so or not so, and no number."""
    count: int
    """So many customers are told it so."""

    def said(self, of: int, language: Language) -> str:
        """`Days since the last purchase: above the median (14 of 18)`"""
        way = f"flag.{'yes' if self.above else 'no'}" if self.flag else f"carried.{'above' if self.above else 'below'}"
        return phrase(
            "carried.usually", language, fact=self.fact[language == "ko"], way=phrase(way, language), n=self.count, of=of
        )


@dataclass(frozen=True)
class CarriedReason:
    """A matter, a derived input or a column of one's own, that is among the first reasons of `count` customers."""

    key: str
    titles: tuple[str, str]
    """In English and Korean."""
    count: int
    low: float
    high: float
    """Ends of the 95 % interval of the share."""
    effect: float
    """Median of what it does to the prediction there, in the unit of the prediction."""
    usual: FactWay | None
    """None where no single fact with a number speaks for more than half."""
    sensitive: bool
    """What is told of it may be sensitive, for one of these customers or more."""
    kind: Kind | None
    examples: tuple[str, ...]
    """Customers whom it moves most, the strongest first."""

    def said(self, language: Language) -> str:
        """Its title, with its mark where it may be sensitive."""
        mark = mark_said(self.kind, language, short=True) if self.sensitive else ""
        name = self.titles[language == "ko"]
        return f"{name} [{mark}]" if mark else name

    def way(self, language: Language) -> str:
        """What is usually told of it; a dash where no single fact is."""
        return "–" if self.usual is None else self.usual.said(self.count, language)


@dataclass(frozen=True)
class CarriedCase:
    """One customer as an example: of those whose first reason it is, the one whom it moves most."""

    customer_id: str
    prediction: float
    facts: tuple[str, str]
    """The first reason without its effect, with its mark, in English and Korean."""
    effect: float
    """Of that reason."""


@dataclass(frozen=True)
class CarriedReasons:
    """What a draw of explanations has in common. `target` None: customers whose number lies above the mean of the cohort."""

    run: str
    task: str
    title: str
    target: int | None
    target_name: str
    score_unit: ScoreUnit
    unit: str
    customers: int
    """Of the cohort, each at the latest cut-off, whose first choice it is."""
    drawn: int
    seed: int
    told: int
    """Of those drawn, who got reasons."""
    without: Mapping[str, int]
    """How many got none, by a key of `NO_REASONS`."""
    person: Mapping[str, int]
    """Of those with reasons, for how many a person must decide all the same, by a key of `A_PERSON`."""
    reasons: tuple[CarriedReason, ...]
    """The most frequent first."""
    cases: tuple[CarriedCase, ...]
    skill: Standing | None
    """How well the task is foretold at all; None where that is not known."""
    unsaid: float | None = None
    """Median, over those with reasons, of the share of what moved the prediction that has no words; None of nobody."""

    @property
    def unskilled(self) -> bool:
        """Nothing was worked out: a task without skill has no reason that means anything."""
        return self.skill is not None and self.skill.has_skill is False

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "unskilled": self.unskilled}

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> CarriedReasons:
        """The inverse of `to_dict`. `KeyError`, `TypeError` or `ValueError` for what it did not make."""
        given = {k: v for k, v in plain.items() if k != "unskilled"}
        reasons = tuple(
            CarriedReason(**r | {
                "titles": tuple(r["titles"]), "examples": tuple(r["examples"]), "kind": r["kind"] and tuple(r["kind"]),
                "usual": r["usual"] and FactWay(**r["usual"] | {"fact": tuple(r["usual"]["fact"])}),
            })
            for r in given["reasons"]
        )  # fmt: skip
        cases = tuple(CarriedCase(**c | {"facts": tuple(c["facts"])}) for c in given["cases"])
        skill = None if given["skill"] is None else Standing(**given["skill"])
        return CarriedReasons(**given | {"reasons": reasons, "cases": cases, "skill": skill})

    def named(self, customer: Callable[[str], str]) -> CarriedReasons:
        """The same with customers as they are shown to others."""
        reasons = tuple(replace(r, examples=tuple(map(customer, r.examples))) for r in self.reasons)
        return replace(self, reasons=reasons, cases=tuple(replace(c, customer_id=customer(c.customer_id)) for c in self.cases))

    def effect_said(self, value: float, language: Language) -> str:
        """What a reason does, in points of percent or in the unit of the number, with its sign."""
        if self.score_unit == "probability":
            return phrase("barred.points", language, points=f"{100 * value:+.1f}")
        return quantity(value, self.unit, language, signed=True)

    def shown(self, value: float, language: Language) -> str:
        """A prediction."""
        return percent(value) if self.score_unit == "probability" else quantity(value, self.unit, language)

    def group_said(self, language: Language) -> str:
        """Whose reasons these are."""
        title = given_title(self.task, self.title) or task_title(self.task, language) or self.title
        key = "above_mean" if self.target is None else "first_choice"
        return phrase(f"carried.{key}", language, title=title, name=said_name(self.target_name, language))

    def drawn_said(self, language: Language) -> str:
        """How many of how many, and how many of them got reasons."""
        key = "nobody" if not self.customers else "all" if self.drawn == self.customers else "drawn"
        values = {"n": f"{self.drawn:,}", "of": f"{self.customers:,}", "seed": self.seed, "told": f"{self.told:,}"}
        return phrase(f"carried.{key}", language, **values)

    def without_said(self, language: Language) -> str:
        """How many got no reasons, by ground, and for how many of the others a person must decide; empty for none of either."""
        said = []
        for key, counts in (("without", self.without), ("person", self.person)):
            listed = [phrase(f"carried.ground.{g}", language, n=n) for g, n in counts.items() if n]
            if listed:
                text = phrase(f"carried.{key}", language, n=sum(counts.values()), grounds=", ".join(listed))
                said.append(text)
        return " ".join(said)

    def unsaid_said(self, language: Language) -> str:
        """How much of what moved the prediction no reason tells; empty where nobody got reasons."""
        return "" if self.unsaid is None else phrase("carried.unsaid", language, share=share(self.unsaid))

    def unskilled_said(self, language: Language) -> str:
        """Why nothing was worked out; empty where something was."""
        if not self.unskilled:
            return ""
        title = given_title(self.task, self.title) or task_title(self.task, language) or self.title
        return f"{phrase('faithfulness.unskilled', language, title=title)} {phrase('carried.unskilled', language)}"

    def text(self, language: Language = "en") -> str:
        """Both tables as text."""
        lines = [self.group_said(language)]
        if self.unskilled:
            return "\n".join([*lines, self.unskilled_said(language)])
        lines += [self.drawn_said(language), *filter(None, (self.without_said(language), self.unsaid_said(language)))]
        for r in self.reasons:
            part = f"{share(r.count / self.told)} ({share(r.low)} … {share(r.high)})"
            lines.append(f"{r.count:>5}  {part:<22} {self.effect_said(r.effect, language):>14}  {r.said(language)}")
            if r.usual is not None:
                lines.append(f"{'':7}{r.way(language)}")
            lines.append(f"{'':7}{phrase('carried.strongest', language, customers=', '.join(r.examples))}")
        if self.cases:
            lines.append(phrase("carried.cases", language))
        lines += [
            f"  {c.customer_id}  {self.shown(c.prediction, language)}  {c.facts[language == 'ko']} "
            f"({self.effect_said(c.effect, language)})"
            for c in self.cases
        ]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()
