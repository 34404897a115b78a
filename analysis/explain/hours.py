"""A time of day in words: an hour is an angle, whose sine and cosine the columns hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.i18n import phrase
from analysis.results.explanation_parts import FeatureContribution
from ple_model.numerals import Language

BANDS = ("night", "early_morning", "morning", "afternoon", "evening", "late_evening")
"""Of four hours each, from midnight on."""
SPREAD = 0.5
"""Mean resultant length below which hours are spread over the day: their circular deviation is then over 4.5 hours."""

NONE = 1e-6
"""Resultant length of no purchases: sine and cosine are both zero."""


def hour_of(sine: float, cosine: float) -> tuple[float, float]:
    """(hour in [0, 24), how close to it the hours keep: 0 anywhere, 1 always the same) of the mean sine and cosine."""
    return math.atan2(sine, cosine) * 12 / math.pi % 24, math.hypot(sine, cosine)


def hours_said(parts: Sequence[FeatureContribution], language: Language) -> str:
    """`around 20:00 (late evening), where the reference profile's is around 14:00 (afternoon)`."""
    if len(parts) < 2:  # half an angle is no hour
        return phrase("hour.other", language)
    ends = []
    for values in ((f.value for f in parts), (f.typical for f in parts)):
        known = dict(zip((f.name.split("_")[2] for f in parts), values, strict=True))
        ends.append(hour_of(known["sin"], known["cos"]))
    (own, close), (usual, typical) = ends
    if close < NONE:
        return phrase("hour.none", language)
    if round(own) % 24 == round(usual) % 24:
        side = "closer" if close > typical else "wider"
        return phrase(f"hour.{side}", language, at=_at(own, language))
    key = "spread" if close < SPREAD else "fixed"
    return phrase(f"hour.{key}", language, own=_at(own, language), usual=_at(usual, language))


def _at(hour: float, language: Language) -> str:
    whole = round(hour) % 24
    return phrase("hour.at", language, hour=f"{whole:02d}:00", band=phrase(f"hour.{BANDS[whole // 4]}", language))
