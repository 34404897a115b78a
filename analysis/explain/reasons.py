"""Attributions -> sentences a reviewer can check: the feature's meaning, the customer's value and the typical one in real
units, and by how much it moves the prediction. Columns that say the same are one reason, told by the strongest of them;
derived inputs are told by what they were made of (`origin`), or as a summary where that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analysis.explain.hours import hours_said
from analysis.explain.origin.told import CIRCLE, Cell, OriginSentence, level, never, sentence_said, topic_of
from analysis.explain.source_columns import CATEGORY
from analysis.i18n import phrase
from analysis.naming import said_name
from analysis.particles import particle
from analysis.results.explanation_parts import FeatureContribution, Reason
from analysis.wording import OPAQUE, is_field, plain_quantity, quantity, task_title, title
from ple_model.numerals import LANGUAGES, Language
from ple_model.schema import FeatureSchema

Array = NDArray[np.float64]
LEAST = 0.01
"""A reason weaker than this beside the strongest is not worth a sentence."""
FOR, AGAINST = 4, 2
"""At most so many reasons a side."""
Teller = Callable[[str, float], OriginSentence | None]
"""What an input (or family of inputs) with this contribution was made of; None where that is not known."""
Alike = Callable[[str], Iterable[str]]
"""The columns that say the same as one, itself included."""
Beside = Callable[[str, Language], str]
"""How the customer's value in a column stands among those of similar customers; empty where there is nothing to say."""


CellOf = Callable[[str], Cell]
"""How the customer's value in a column is to be read."""


def as_read(name: str) -> Cell:
    """Every column has the value that it reads."""
    return "value"


def alone(name: str, language: Language) -> str:
    """No similar customers to compare with."""
    return ""


@dataclass(frozen=True)
class Subject:
    """What is being explained, for the end of each sentence. `probability`: contributions are in probability."""

    task: str
    task_title: str
    target_name: str
    probability: bool
    unit: str

    def effect(self, contribution: float, language: Language) -> str:
        """`raises the probability of 'fund' by 3.2 points`."""
        size, direction = abs(contribution), "raises" if contribution > 0 else "lowers"
        if not self.probability:
            return phrase(f"reason.{direction}_value", language, amount=quantity(size, self.unit, language))
        points = f"{100 * size:.1f}" if size >= 0.0005 else f"{100 * size:.2g}"
        what = (
            f"'{said_name(self.target_name, language)}'"
            if self.target_name
            else task_title(self.task, language) or self.task_title.lower()
        )
        return phrase(f"reason.{direction}_probability", language, what=what, points=points)


def feature_contributions(
    schema: FeatureSchema, contributions: Array, own: Array, typical: Array, limit: int | None = 30
) -> tuple[FeatureContribution, ...]:
    """The strongest columns; contributions, own and typical are [734], the latter two in real units."""
    order = np.argsort(-np.abs(contributions), kind="stable")
    found = []
    for i in order[: limit if limit is not None else len(order)]:
        if contributions[i] == 0:
            break
        c = schema.columns[int(i)]
        found.append(
            FeatureContribution(
                c.name, c.part, c.group, c.unit, float(own[i]), float(typical[i]), float(contributions[i]), c.sentence_en,
                c.sentence_ko,
            )
        )  # fmt: skip
    return tuple(found)


def reasons(
    features: Sequence[FeatureContribution], groups: Mapping[str, float], subject: Subject, sign: float, limit: int = FOR,
    *, teller: Teller = lambda topic, value: None, alike: Alike = lambda name: (name,),
    beside: Beside = alone, cell: CellOf = as_read,
) -> tuple[Reason, ...]:  # fmt: skip
    """The strongest reasons whose contribution has the sign of `sign`."""
    candidates: list[tuple[float, Callable[[], Reason]]] = []
    for leader, together, value in merged(features, alike, cell):
        if value * sign > 0:
            hour = (
                partial(of_hour, [f for f in features if f.name in together], subject) if CIRCLE.search(leader.name) else None
            )
            candidates.append((abs(value), hour or partial(of_features, leader, together, value, subject, beside, cell)))
    for topic, (members, value) in topics(groups).items():
        if value * sign > 0:
            candidates.append((abs(value), partial(of_topic, topic, members, value, subject, teller)))
    candidates.sort(key=lambda c: -c[0])
    return tuple(make() for size, make in candidates[:limit] if size >= LEAST * candidates[0][0])


def merged(
    features: Sequence[FeatureContribution], alike: Alike, cell: CellOf = as_read
) -> list[tuple[FeatureContribution, tuple[str, ...], float]]:
    """(who speaks, whose contributions are taken together, their sum): columns that say the same are one reason. The strongest
    of those that pull the way of the sum speaks, one whose value is known before others."""
    open_ = {f.name: f for f in features if f.part not in OPAQUE}
    found = []
    for f in list(open_.values()):
        if f.name not in open_:
            continue
        together = [open_.pop(n) for n in dict.fromkeys((f.name, *alike(f.name))) if n in open_]
        value = sum(x.contribution for x in together)
        leader = max(together, key=lambda x: x.contribution * np.sign(value))
        if cell(leader.name) != "value":
            known = [x for x in together if x.contribution * value > 0 and cell(x.name) == "value"]
            leader = max(known, key=lambda x: x.contribution * np.sign(value), default=leader)
        found.append((leader, tuple(x.name for x in together), value))
    return found


def topics(groups: Mapping[str, float]) -> dict[str, tuple[tuple[str, ...], float]]:
    """topic -> (inputs, their contribution) of all that are no columns that speak for themselves."""
    found: dict[str, tuple[tuple[str, ...], float]] = {}
    for group, value in groups.items():
        if group in OPAQUE or is_field(group):
            members, so_far = found.get(topic_of(group), ((), 0.0))
            found[topic_of(group)] = (*members, group), so_far + value
    return found


def of_features(
    f: FeatureContribution, together: tuple[str, ...], contribution: float, subject: Subject, beside: Beside = alone,
    cell: CellOf = as_read,
) -> Reason:  # fmt: skip
    """`of_feature` for all columns that say the same: their sum, in the words of one."""
    return replace(of_feature(replace(f, contribution=contribution), subject, beside, cell(f.name)), sources=together)


def of_hour(parts: Sequence[FeatureContribution], subject: Subject) -> Reason:
    """The sine and the cosine of an hour are one fact: the hour."""
    value = sum(f.contribution for f in parts)
    en, ko = (phrase("reason.hour", x, hour=hours_said(parts, x), effect=subject.effect(value, x)) for x in LANGUAGES)
    return Reason(en, ko, tuple(f.name for f in parts), value)


def of_topic(topic: str, members: tuple[str, ...], contribution: float, subject: Subject, teller: Teller) -> Reason:
    """By what the input was made of; as a summary where that is not known."""
    told = teller(topic, contribution)
    if told is None:
        return replace(of_group(members[0], contribution, subject), sources=members)
    en, ko = (
        phrase("reason.told", language, told=text, effect=subject.effect(contribution, language))
        for language, text in zip(LANGUAGES, (told.en, told.ko), strict=True)
    )
    return Reason(en, ko, members, contribution, told.through)


def of_feature(f: FeatureContribution, subject: Subject, beside: Beside = alone, cell: Cell = "value") -> Reason:
    """`Days since the last purchase: 12 days, where the median is 34 days (below that of 80% of similar customers); this
    raises ... by 3.2 points.`"""

    def said(sentence: str, language: Language) -> str:
        effect = subject.effect(f.contribution, language)
        if f.unit == CATEGORY:  # its sentence holds the values
            return phrase("reason.category", language, column=sentence.rstrip("."), effect=effect)
        column, placed = sentence_said(sentence, language), beside(f.name, language)
        if cell == "nothing":
            typical = never(sentence, f.typical, language) or plain_quantity(f.typical, f.unit, language)
            key = "nothing" if level(0, 1, f.unit) is None else "nothing_level"
            return phrase(f"reason.{key}", language, column=column, typical=typical, effect=effect)
        if (side := level(f.value, f.typical, f.unit)) is not None:
            said_level = phrase(f"origin.{side}", language)
            if placed:
                said_level = phrase("reason.placed", language, said=said_level, beside=placed)
            return phrase("reason.level", language, column=column, level=said_level, effect=effect)
        own, typical = (never(sentence, v, language) or plain_quantity(v, f.unit, language) for v in (f.value, f.typical))
        if cell != "value" and not never(sentence, f.value, language):
            own = phrase(f"reason.{cell}", language, value=own)
        if placed and not never(sentence, f.value, language):  # a share of days says nothing of who had none at all
            return phrase(
                "reason.feature_beside", language, column=column, own=own, typical=typical, beside=placed, effect=effect
            )
        return phrase("reason.feature", language, column=column, own=own, typical=typical, effect=effect)

    return Reason(said(f.sentence_en, "en"), said(f.sentence_ko, "ko"), (f.name,), f.contribution)


def of_group(group: str, contribution: float, subject: Subject) -> Reason:
    """One sentence for an input that has no single value: how it differs from the typical customer's."""

    def said(language: Language) -> str:
        name, pair = title(group, language), phrase("grammar.subject", language)
        named = f"{name}{particle(name, *pair.split('/'))}" if pair else f"{name[:1].upper()}{name[1:]}"
        return phrase("reason.group", language, group=named, effect=subject.effect(contribution, language))

    return Reason(said("en"), said("ko"), (group,), contribution)
