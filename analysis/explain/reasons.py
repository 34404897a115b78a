"""Attributions -> sentences a reviewer can check: the feature's meaning, the customer's value and the typical one in real
units,
and by how much it moves the prediction. At most one sentence a feature part; parts whose columns say nothing by themselves, and
inputs that are not columns, are told as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.explain.source_columns import CATEGORY
from analysis.i18n import phrase
from analysis.results.explanation import FeatureContribution, Reason
from analysis.wording import OPAQUE, Language, is_field, particle, quantity, statement, task_title, title
from ple_model.schema import FeatureSchema

Array = NDArray[np.float64]
LEAST = 0.01
"""A reason weaker than this beside the strongest is not worth a sentence."""


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
        what = f"'{self.target_name}'" if self.target_name else task_title(self.task, language) or self.task_title.lower()
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
    features: Sequence[FeatureContribution], groups: Mapping[str, float], subject: Subject, sign: float, limit: int = 3
) -> tuple[Reason, ...]:
    """The strongest reasons whose contribution has the sign of `sign`."""
    candidates: list[tuple[float, str, Callable[[], Reason]]] = []
    for f in features:
        if f.part not in OPAQUE and f.contribution * sign > 0:
            candidates.append((abs(f.contribution), f.part, lambda f=f: of_feature(f, subject)))  # type: ignore[misc]
    for group, value in groups.items():
        if (group in OPAQUE or is_field(group)) and value * sign > 0:
            candidates.append((abs(value), group, lambda g=group, v=value: of_group(g, v, subject)))  # type: ignore[misc]
    candidates.sort(key=lambda c: -c[0])
    candidates = [c for c in candidates if c[0] >= LEAST * candidates[0][0]]
    used: set[str] = set()
    found: list[Reason] = []
    for _, topic, make in candidates:
        if topic not in used and len(found) < limit:
            used.add(topic)
            found.append(make())
    return tuple(found)


def of_feature(f: FeatureContribution, subject: Subject) -> Reason:
    """`Days since the last purchase: 12 days, where 34 days is typical; this raises ... by 3.2 points.`"""

    def said(sentence: str, language: Language) -> str:
        effect = subject.effect(f.contribution, language)
        if f.unit == CATEGORY:  # its sentence holds the values
            return phrase("reason.category", language, column=sentence.rstrip("."), effect=effect)
        own, typical = quantity(f.value, f.unit, language), quantity(f.typical, f.unit, language)
        return phrase("reason.feature", language, column=statement(sentence, language), own=own, typical=typical, effect=effect)

    return Reason(said(f.sentence_en, "en"), said(f.sentence_ko, "ko"), (f.name,), f.contribution)


def of_group(group: str, contribution: float, subject: Subject) -> Reason:
    """One sentence for an input that has no single value: how it differs from the typical customer's."""

    def said(language: Language) -> str:
        name, pair = title(group, language), phrase("grammar.subject", language)
        named = f"{name}{particle(name, *pair.split('/'))}" if pair else f"{name[:1].upper()}{name[1:]}"
        return phrase("reason.group", language, group=named, effect=subject.effect(contribution, language))

    return Reason(said("en"), said("ko"), (group,), contribution)
