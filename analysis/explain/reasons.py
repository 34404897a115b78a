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
from analysis.results.explanation import FeatureContribution, Reason
from analysis.wording import FIELD_TITLES, OPAQUE, particle, quantity, statement, task_title, title
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

    def effect(self, contribution: float, language: str) -> str:
        """`raises the probability of 'fund' by 3.2 points`."""
        size = abs(contribution)
        if self.probability:
            points = f"{100 * size:.1f}" if size >= 0.0005 else f"{100 * size:.2g}"
            what = f"'{self.target_name}'" if self.target_name else self.task_title.lower()
            if language == "ko":
                what = what if self.target_name else task_title(self.task, "ko") or what
                return f"{what} 확률을 {points}%p {'높입니다' if contribution > 0 else '낮춥니다'}"
            return f"{'raises' if contribution > 0 else 'lowers'} the probability of {what} by {points} points"
        amount = quantity(size, self.unit, "ko" if language == "ko" else "en")
        if language == "ko":
            return f"예측을 {amount} {'높입니다' if contribution > 0 else '낮춥니다'}"
        return f"{'raises' if contribution > 0 else 'lowers'} the prediction by {amount}"


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
        if (group in OPAQUE or group in FIELD_TITLES) and value * sign > 0:
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
    if f.unit == CATEGORY:
        en = f"{f.sentence_en.rstrip('.')}; this {subject.effect(f.contribution, 'en')}."
        return Reason(en, f"{f.sentence_ko.rstrip('.')}. {subject.effect(f.contribution, 'ko')}.", (f.name,), f.contribution)
    own, typical = quantity(f.value, f.unit), quantity(f.typical, f.unit)
    en = f"{statement(f.sentence_en)}: {own}, where {typical} is typical; this {subject.effect(f.contribution, 'en')}."
    own, typical = quantity(f.value, f.unit, "ko"), quantity(f.typical, f.unit, "ko")
    ko = f"{statement(f.sentence_ko, 'ko')}: {own}(일반적인 고객은 {typical}). {subject.effect(f.contribution, 'ko')}."
    return Reason(en, ko, (f.name,), f.contribution)


def of_group(group: str, contribution: float, subject: Subject) -> Reason:
    """One sentence for an input that has no single value: how it differs from the typical customer's."""
    en_title, ko_title = title(group), title(group, "ko")
    en = f"{en_title[:1].upper()}{en_title[1:]}: unlike a typical customer's; this {subject.effect(contribution, 'en')}."
    josa = particle(ko_title, "이", "가")
    ko = f"{ko_title}{josa} 일반적인 고객과 다릅니다. {subject.effect(contribution, 'ko')}."
    return Reason(en, ko, (group,), contribution)
