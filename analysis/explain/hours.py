"""A time of day in words: an hour is an angle, whose sine and cosine the columns hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.i18n import phrase
from analysis.results.explanation_parts import FeatureContribution
from ple_model.numerals import Language

APART = 1.0
"""Hours from which two hours are told as different: each is rounded by up to half of one."""
SPREAD = 0.5
"""Mean resultant length below which hours are spread over the day: their circular deviation is then over 4.5 hours."""

NONE = 1e-6
"""Resultant length of no purchases: sine and cosine are both zero."""


def hour_of(sine: float, cosine: float) -> tuple[float, float]:
    """(hour in [0, 24), how close to it the hours keep: 0 anywhere, 1 always the same) of the mean sine and cosine."""
    return math.atan2(sine, cosine) * 12 / math.pi % 24, math.hypot(sine, cosine)


def hours_said(parts: Sequence[FeatureContribution], language: Language) -> str:
    """`around 8 pm on average (sampled customers: around 2 pm)`; empty where they differ by less than they are rounded, where
    both are spread over the day, or where half of the angle is not known."""
    if len(parts) < 2:  # half an angle is no hour
        return ""
    ends = []
    for values in ((f.value for f in parts), (f.typical for f in parts)):
        known = dict(zip((f.name.split("_")[2] for f in parts), values, strict=True))
        ends.append(hour_of(known["sin"], known["cos"]))
    (own, close), (usual, typical) = ends
    if close < NONE:
        return phrase("hour.none", language)
    if close < SPREAD or typical < SPREAD:  # what is spread over the day has no hour
        if close < SPREAD and typical < SPREAD:
            return ""
        key, hour = ("spread", usual) if close < SPREAD else ("kept", own)
        return phrase(f"hour.{key}", language, hour=_at(hour, language))
    if abs((own - usual + 12) % 24 - 12) <= APART:
        return ""
    return phrase("hour.fixed", language, own=_at(own, language), usual=_at(usual, language))


def _at(hour: float, language: Language) -> str:
    """`around 2 pm`, `around noon`, in the words of the language."""
    whole = round(hour) % 24
    part = "midnight" if whole == 0 else "noon" if whole == 12 else "dawn" if whole < 6 else "am" if whole < 12 else "pm"
    return phrase(f"hour.{part}", language, hour=(whole - 1) % 12 + 1)
