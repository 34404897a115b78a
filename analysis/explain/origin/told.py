"""What a derived input says of a customer, in both languages, and how its contribution divides among what it was made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.i18n import phrase
from analysis.wording import plain_quantity, statement, title
from ple_model.numerals import LANGUAGES, Language
from ple_model.schema import FeatureColumn, FeatureSchema

Array = NDArray[np.float64]
REST = "rest"
"""The part of a contribution that no single fact carries."""
CIRCLE = re.compile(r"^hour_mean_(sin|cos)_")
"""An hour is an angle: its sine or cosine alone tells nobody whether it is early or late."""
ABSTRACT = ("nats", "score", "log currency", "log ratio", "log days")
"""Units in which a number says nothing to a reader; only whether it is more or less than usual."""
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "cluster": ("cluster_probs", "gmm"),
    "shape": (
        "tda_short", "tda_long", "tda_features", "tda_short_diagrams", "tda_long_diagrams", "tda_global_stats",
    ),
    "phase_transition": ("phase_transition", "tda_phase_transition"),
}  # fmt: skip
"""Inputs that are made of one thing speak once, for all of them."""


Cell = Literal["value", "nothing", "at_least", "at_most"]
"""Of a column: its value is what it reads, it has none, or it lies at or beyond the last that is read."""


@dataclass(frozen=True)
class OriginSentence:
    """`en`, `ko`: a sentence without its effect. `through`: what carries the contribution, which it adds up to."""

    en: str
    ko: str
    through: tuple[tuple[str, float], ...] = ()


def topic_of(group: str) -> str:
    """The family of an input, or itself."""
    return next((name for name, members in FAMILIES.items() if group in members), group)


@dataclass(frozen=True, eq=False)
class Columns:
    """The customer's feature columns beside the typical ones, in real units [columns], and which of them the customer has."""

    schema: FeatureSchema
    own: Array
    typical: Array
    known: NDArray[np.bool_]

    def fact(self, column: int, language: Language) -> str:
        """`number of purchases in travel in the last 90 days: 8 (median 1)`"""
        c = self.schema.columns[column]
        if (side := level(self.own[column], self.typical[column], c.unit)) is not None:
            said = phrase(f"origin.{side}", language)
            return phrase("origin.level", language, column=_lowered(self.name(column, language)), level=said)
        sentence = c.sentence_ko if language == "ko" else c.sentence_en
        own, typical = (
            never(sentence, float(v[column]), language) or plain_quantity(v[column], c.unit, language)
            for v in (self.own, self.typical)
        )
        return phrase("origin.fact", language, column=_lowered(self.name(column, language)), own=own, typical=typical)

    def name(self, column: int, language: Language) -> str:
        """What the column says, as the subject of a longer sentence."""
        return column_said(self.schema.columns[column], language)

    def differs(self, column: int) -> bool:
        """Whether the customer's value is another than the typical one as both are written."""
        c = self.schema.columns[column]
        return plain_quantity(self.own[column], c.unit) != plain_quantity(self.typical[column], c.unit)


YEAR = 365
"""What a column of days since something holds where there was none in a year."""


def level(own: float, typical: float, unit: str) -> str | None:
    """`high` or `low` where the number itself tells a reader nothing, None where it does."""
    return None if unit not in ABSTRACT or own == typical else "high" if own > typical else "low"


def column_said(column: FeatureColumn, language: Language) -> str:
    return sentence_said(column.sentence_ko if language == "ko" else column.sentence_en, language)


def sentence_said(sentence: str, language: Language) -> str:
    """A column's sentence as a subject; that an amount stands in its own scale is no matter to a reader, nor what number says
    that there was none (`never`)."""
    text, scale = statement(sentence, language), phrase("origin.own_scale", language)
    text = text.removesuffix(scale).replace(f", {scale.strip('()')})", ")").rstrip(" ,")
    return text.removesuffix(phrase("origin.never_mark", language))


def never(sentence: str, value: float, language: Language) -> str:
    """`none in a year`, where the column counts days since something and this value says that there was none; else empty."""
    mark = phrase("origin.never_mark", language)
    return phrase("origin.never", language) if statement(sentence, language).endswith(mark) and value >= YEAR else ""


def of_part(columns: Columns, where: slice, values: Array, value: float, group: str) -> OriginSentence | None:
    """A part whose columns are figures of a series: the two that pull most in the direction of `value`, in their own words."""
    sign = 1.0 if value >= 0 else -1.0
    order = [where.start + int(i) for i in np.argsort(-sign * values) if sign * values[i] > 0]
    chosen = [i for i in order if columns.known[i] and columns.differs(i)][:2]
    if not chosen:
        return None
    en, ko = (
        phrase(
            "origin.part",
            x,
            group=title(group, x),
            facts=("; " if x == "en" else ", ").join(columns.fact(i, x) for i in chosen),
        )
        for x in LANGUAGES
    )
    named = [(columns.schema.columns[where.start + i].name, float(v)) for i, v in enumerate(values) if v != 0]
    return OriginSentence(f"{en[:1].upper()}{en[1:]}", ko, (*named, (REST, value - float(values.sum()))))


def listed(items: tuple[str, ...], language: Language) -> str:
    """`a, b and c`; in Korean `a, b, c`."""
    if len(items) < 2 or language == "ko":
        return ", ".join(items)
    return phrase("origin.and", language, first=", ".join(items[:-1]), last=items[-1])


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
