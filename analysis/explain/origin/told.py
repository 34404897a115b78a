"""What a derived input says of a customer, in both languages, and how its contribution divides among what it was made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.explain.sayable import value_said, values_said
from analysis.i18n import phrase
from analysis.wording import plain_quantity, statement
from ple_model.numerals import Language, share
from ple_model.schema import FeatureColumn, FeatureSchema

Array = NDArray[np.float64]
REST = "rest"
"""The part of a contribution that no single fact carries."""
CIRCLE = re.compile(r"^hour_mean_(sin|cos)_")
"""An hour is an angle: its sine or cosine alone tells nobody whether it is early or late."""
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
    spoken: tuple[str, ...] = ()
    """Columns that the sentence speaks of."""
    weeks: tuple[int, ...] = ()
    """Of the last 26, those that it names."""
    counted: str = ""
    """Which daily sum (`DAILY`) moved most in those."""


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
    shared: NDArray[np.bool_] | None = None
    """Which nearly all customers have a value in; None: all."""

    def fact(self, column: int, language: Language) -> str:
        """`number of purchases in travel in the last 90 days: 8 (all customers: 1)`"""
        c = self.schema.columns[column]
        sentence = c.sentence_ko if language == "ko" else c.sentence_en
        own, typical = float(self.own[column]), float(self.typical[column])
        shared = self.shared is None or bool(self.shared[column])
        return lowered(beside_said(c.name, sentence, c.unit, own, typical, None, "value", language, shared=shared))

    def name(self, column: int, language: Language) -> str:
        """What the column says, as the subject of a longer sentence."""
        return column_said(self.schema.columns[column], language)

    def differs(self, column: int) -> bool:
        """Whether the customer's value is another than the typical one as both are written."""
        c = self.schema.columns[column]
        return plain_quantity(self.own[column], c.unit) != plain_quantity(self.typical[column], c.unit)


YEAR = 365
"""What a column of days since something holds where there was none in a year."""


def beside_said(
    name: str, sentence: str, unit: str, own: float, typical: float, similar: float | None, cell: Cell, language: Language,
    *, shared: bool = True,
) -> str:  # fmt: skip
    """A column's value beside the median of all (sampled) customers, which the effect is counted from, and, for orientation,
    that of similar ones where it is known. Nothing beside it where all of it is written alike. Not `shared`: the median is of
    those who have such a value."""
    column = sentence_said(sentence, language)
    if unit == "days":
        column = column.removesuffix(phrase("origin.in_days", language))
    others = (typical,) if similar is None or cell == "nothing" else (typical, similar)
    text, *beside = _values(name, sentence, unit, (own, *others), language)
    if cell == "nothing":
        return phrase("reason.nothing_all", language, column=column, all=beside[0])
    if set(beside) == {text}:
        text = never(sentence, own, language) or value_said(name, own, unit, sentence, language)
        return f"{column}: {_at_edge(text, sentence, own, cell, language)}"
    edge, key = _at_edge(text, sentence, own, cell, language), "_similar" if len(beside) > 1 else ""
    return phrase(
        f"reason.beside_{'all' if shared else 'those'}{key}",
        language,
        column=column,
        own=edge,
        all=beside[0],
        similar=beside[-1],
    )


def pair_of(column: FeatureColumn, own: float, other: float, language: Language) -> tuple[str, str]:
    """Two values of one column in the words of reasons."""
    sentence = column.sentence_ko if language == "ko" else column.sentence_en
    first, second = _values(column.name, sentence, column.unit, (own, other), language)
    return first, second


def _values(name: str, sentence: str, unit: str, values: tuple[float, ...], language: Language) -> tuple[str, ...]:
    texts = values_said(name, values, unit, sentence, language)
    return tuple(never(sentence, v, language) or text for v, text in zip(values, texts, strict=True))


def _at_edge(text: str, sentence: str, own: float, cell: Cell, language: Language) -> str:
    """`12 days or more`, where the model reads no further."""
    whole = cell == "value" or bool(never(sentence, own, language))
    return text if whole else phrase(f"reason.{cell}", language, value=text)


def column_said(column: FeatureColumn, language: Language) -> str:
    return sentence_said(column.sentence_ko if language == "ko" else column.sentence_en, language)


def sentence_said(sentence: str, language: Language) -> str:
    """A column's sentence as a subject; that an amount stands in its own scale is no matter to a reader, nor what number says
    that there was none (`never`) or from where to where a comparison goes; terms of the trade in plain words."""
    text, scale = statement(sentence, language), phrase("origin.own_scale", language)
    for term, plain in (pair.split("=") for pair in phrase("origin.plain_words", language).split(";")):
        text = text.replace(term, plain)
    text = text.removesuffix(scale).replace(f", {scale.strip('()')})", ")").rstrip(" ,")
    return text.removesuffix(phrase("origin.never_mark", language)).removesuffix(phrase("origin.from_to", language))


def never(sentence: str, value: float, language: Language) -> str:
    """`none in a year`, where the column counts days since something and this value says that there was none; else empty."""
    mark = phrase("origin.never_mark", language)
    return phrase("origin.never", language) if statement(sentence, language).endswith(mark) and value >= YEAR else ""


MOST = 0.5
"""Days, weeks or visits that carry less than half of what goes their way are not told for all of it."""


def carried(named: float, parts: Iterable[float], sign: float) -> str:
    """What the named part has of all that goes the way of `sign`: `84%`; empty where that is less than half (`MOST`). What goes
    the other way takes nothing off."""
    whole = sum(max(sign * v, 0.0) for v in parts)
    return share(sign * named / whole) if sign * named >= MOST * whole else ""


def listed(items: tuple[str, ...], language: Language) -> str:
    """`a, b and c`; in Korean `a, b, c`."""
    if len(items) < 2 or language == "ko":
        return ", ".join(items)
    return phrase("origin.and", language, first=", ".join(items[:-1]), last=items[-1])


def lowered(text: str) -> str:
    """As it begins within a sentence."""
    return text[:1].lower() + text[1:]
