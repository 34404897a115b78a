"""Which facts a person can say to a customer, and how their numbers are written.

A statistic of a series, a coordinate or a guess of the model's own is no reason to give to anybody: it stays in the sum of what
has no plain name. Guesses about shopping (is the customer still active, how often will they come) are told as the counts and
days that they rest on. A comparison from -1 to 1 is told as how many times, a difference of shares in points.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from analysis.i18n import catalogue, phrase, section
from analysis.wording import OPAQUE, plain_quantity
from ple_model.money import decimals_of, is_money
from ple_model.numerals import Language, number
from ple_model.schema import FeatureSchema

ABSTRACT = ("nats", "score", "log currency", "log ratio", "log days")
"""Units in which a number says nothing to a reader."""
UNNAMED_PARTS = (*OPAQUE, "interference", "epidemic", "bandit")
"""Parts of statistics whose columns nobody would say."""
UNNAMED_TOPICS = ("shape", "phase_transition", "hmm_summary", "lnn", "coldstart_features", "anonymous_features")
"""Inputs that no single fact stands for."""
STATISTIC = re.compile(
    r"_cv(_|$)|_std(_|$)|_slope_|_gini_|_hhi_|_volatility|_day_spread|_concentration|_smoothing|_correlation|_skewness|"
    r"burstiness|acceleration|permanent_share|activated_share|_tenure_year|^amount_p\d|^gap_p\d|mix_change|_balance_change_|"
    r"^chemical_|activity_radius|unusual_amount|autocorrelation|payday_week"
)
"""Columns that are statistics by their names."""
RESTS_ON: Mapping[str, tuple[str, ...]] = {
    "probability_alive": ("recency_days", "active_days_365d", "first_purchase_days"),
    "days_to_expected_purchase": ("recency_days", "active_days_365d", "first_purchase_days"),
    "expected_shopping_days_28d": ("active_days_365d", "first_purchase_days"),
}
"""Estimates, and the facts that each is worked out from."""
AGAINST = re.compile(r"_ratio_\d+d_to_previous_\d+d$|_trend_\w*\d+d$|^income_growth_84d$")
"""(later - earlier) / (later + earlier): from -1 where nothing came later to 1 where nothing came earlier."""
POINTS = re.compile(r"_share_shift_|^credit_utilisation_change_")
"""Differences of two shares."""
TIMES = re.compile(
    r"^recency_to_usual_gap$|^month_\d+_spend_ratio$|_last_to_mean$|season_spend_ratio|ticket_ratio|^spend_to_income|"
    r"_spend_to_limit_|_loss_ratio_"
)
"""One amount as a multiple of another."""
Form = Literal["plain", "against", "points", "times"]
SAME = 1e-4
"""What a normaliser leaves of a comparison's 0, -1 and 1."""
MANY = 10
"""From so many times on the number says no more than that: it is mostly one amount that was next to nothing."""
WHOLE = 1e-3
"""What a normaliser leaves of whole days."""


def sayable(schema: FeatureSchema, name: str) -> bool:
    """Whether a column's value can be a reason by itself. All of a table of one's own can: its owner named them."""
    column = schema.columns[schema.index[name]] if name in schema.index else None
    if column is None or schema.own:
        return True
    return column.unit not in ABSTRACT and column.part not in UNNAMED_PARTS and STATISTIC.search(name) is None


LONG = 48.0
"""So many hours and more are told as days."""


def form_of(name: str) -> Form:
    if AGAINST.search(name):
        return "against"
    if POINTS.search(name):
        return "points"
    return "times" if TIMES.search(name) else "plain"


def counted(value: float, sentence: str, language: Language) -> str:
    """A count with the word that a language counts such things with, by what the column's sentence counts; plain in English."""
    for counter in section("counter", language).values():
        word, _, things = counter.partition("=")
        if things and re.search(things, sentence):
            return f"{number(value)}{word}"
    return plain_quantity(value, "count", language)


def value_said(name: str, value: float, unit: str, sentence: str, language: Language, decimals: int | None = None) -> str:
    """A value as a person says it: `28`, `none` of an amount of nothing, `13.1 times`, `-38 points`, `nothing any more`.
    `decimals`: as many, where the same sentence has another number with so many."""
    form = form_of(name)
    if form == "against":
        return _against(value, decimals, language)
    if form == "points":
        return phrase("value.points", language, value=_digits(100 * value, decimals))
    if form == "times":
        return phrase("value.times", language, value=_digits(value, decimals))
    if is_money(unit) and abs(value) < 0.5 * 10.0 ** -decimals_of(unit):
        return phrase("value.none", language)
    if unit == "share" and decimals is not None:
        return f"{100 * (0.0 if abs(value) < 5e-4 else value):.{decimals}f}%"
    if unit == "count":
        return counted(value, sentence, language)
    if unit == "hours" and abs(value) >= LONG:
        return value_said(name, value / 24, "days", sentence, language, decimals)
    known = catalogue(language)
    if decimals is not None and f"unit.{unit}" in known and unit not in ("count", "ratio", "score"):
        text = _digits(value, decimals)
        return known.get(f"unit.{unit}_one" if text == "1" else "", known[f"unit.{unit}"]).format(value=text)
    return plain_quantity(value, unit, language)


def _against(value: float, decimals: int | None, language: Language) -> str:
    """The later amount as a multiple of the earlier one; from ten times on, or down to a tenth, no more than that."""
    if abs(value) > 1 + SAME:
        return phrase("value.unclear", language)
    if abs(value) >= 1 - SAME:
        return phrase(f"value.{'stopped' if value < 0 else 'new'}", language)
    if abs(value) < SAME:
        return phrase("value.same", language)
    times = (1 + value) / (1 - value)
    if times > MANY or times < 1 / MANY:
        return phrase(f"value.{'many' if times > 1 else 'few'}", language, n=MANY)
    return phrase("value.times", language, value=_digits(times, decimals))


def told_against(name: str, value: float, *, kept: bool) -> bool:
    """Whether a comparison of two spans can be told of a customer: not beyond its ends, where refunds took it, and of a dataset
    that does not keep which cells are empty (not `kept`) not at 0, which then also stands for nothing in either span."""
    return form_of(name) != "against" or (abs(value) <= 1 + SAME and (kept or abs(value) >= SAME))


def values_said(name: str, values: Sequence[float], unit: str, sentence: str, language: Language) -> tuple[str, ...]:
    """Values of one column, the customer's own first, with equally many decimals. Whole things and days stay whole."""
    if unit == "hours" and max(map(abs, values)) >= LONG:
        return values_said(name, [v / 24 for v in values], "days", sentence, language)
    texts = tuple(value_said(name, v, unit, sentence, language) for v in values)
    if unit in ("count", "flag") or is_money(unit):
        return texts
    if unit == "days" and abs(values[0] - round(values[0])) < WHOLE:
        return value_said(name, round(values[0]), unit, sentence, language), *texts[1:]
    found = [len(m[1]) for t in texts if (m := re.search(r"\d\.(\d+)", t)) is not None]
    most = min(max(found, default=0), 1 if max(map(abs, values)) >= 0.05 else 3)
    return tuple(value_said(name, v, unit, sentence, language, most) for v in values)


def _digits(value: float, decimals: int | None) -> str:
    if decimals is None:
        return number(value)
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text
