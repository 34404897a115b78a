"""Facts that are told by where a customer stands among all, since their own number says nothing to a reader.

That purchases follow one another unevenly everybody understands, a coefficient of variation of 1.3 hardly anybody. Such a
column is told by its quality in plain words and by how many of the run's sampled customers it is less (or more) true of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from analysis.i18n import phrase
from ple_model.numerals import Language

QUALITIES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "amounts": r"amount_std_(?P<span>\w+)",
        "amounts_beside": r"amount_(?:cv|log_std)_(?P<span>\w+)",
        "amounts_unequal": r"purchase_gini_(?P<span>\w+)",
        "stand_out": r"amount_skewness_(?P<span>\w+)",
        "usual_amount": r"amount_log_mean_(?P<span>\w+)",
        "small_amounts": r"amount_p(?P<part>10|25)_(?P<span>\w+)",
        "large_amounts": r"amount_p(?P<part>75|90)_(?P<span>\w+)",
        "gaps": r"gap_std_(?P<span>\w+)",
        "unevenly": r"gap_(?:cv|burstiness)_(?P<span>\w+)",
        "pauses": r"gap_p90_(?P<span>\w+)",
        "by_day": r"daily_spend_std_(?P<span>\w+)",
        "by_week": r"weekly_spend_std_(?P<span>\w+)",
        "by_week_beside": r"weekly_spend_cv_(?P<span>\w+)",
        "by_month": r"monthly_spend_std_(?P<span>\w+)",
        "by_month_beside": r"monthly_spend_cv_(?P<span>\w+)",
        "grew": r"(?:weekly|monthly)_spend_slope_(?P<span>\w+)",
        "faster": r"spend_acceleration_12w",
        "categories": r"category_entropy_(?P<span>\w+)",
        "shops": r"mcc_l2_entropy_(?P<span>\w+)",
        "brands": r"brand_entropy_(?P<span>\w+)",
        "channels": r"channel_entropy_(?P<span>\w+)",
        "topics": r"consultation_kind_entropy_(?P<span>\w+)",
        "investments": r"investment_kind_entropy_(?P<span>\w+)",
        "insurances": r"insurance_kind_entropy_(?P<span>\w+)",
        "products": r"product_balance_entropy",
        "weekdays": r"weekday_entropy_(?P<span>\w+)",
        "hours": r"hour_entropy_(?P<span>\w+)",
        "few_industries": r"mcc_l1_visit_hhi_(?P<span>\w+)",
        "regions": r"merchant_activity_radius",
        "fixed_hour": r"hour_concentration_(?P<span>\w+)",
        "hour_moved": r"hour_shift_(?P<span>\w+)",
        "week_before": r"weekly_autocorrelation_lag1",
        "weeks_before": r"weekly_autocorrelation_lag(?P<n>[24])",
        "day_before": r"daily_count_autocorrelation_lag1",
        "same_weekday": r"daily_count_autocorrelation_lag7",
        "money_kept": r"deposit_net_volatility",
        "money_in": r"deposit_inflow_cv",
        "payday_moves": r"deposit_inflow_day_spread",
        "income": r"income_monthly_cv",
        "payday": r"income_payday_concentration",
        "steady_income": r"income_permanent_share",
        "investment_sizes": r"investment_size_cv_(?P<span>\w+)",
        "premiums": r"insurance_premium_cv_(?P<span>\w+)",
        "tenure": r"membership_log_tenure",
        "bought_since": r"membership_activated_share",
        "spent_since": r"membership_spend_per_tenure_year",
        "opened_since": r"membership_products_per_tenure_year",
        "balance_grew": r"product_balance_change_84d",
        "follows_income": r"spend_income_correlation",
        "beside_others": r"lifestyle_premium_(?P<span>\w+)",
        "swings": r"consumption_smoothing",
        "after_payday": r"payday_week_spend_share_365d",
        "another_follows": r"chemical_reaction_rate",
        "treat_follows": r"chemical_forward_rate",
        "needs_follow": r"chemical_backward_rate",
        "until_another": r"chemical_reaction_hours",
        "mix_changed": r"chemical_mix_change_90d",
        "treats": r"chemical_equilibrium",
        "unusual": r"crime_unusual_amount_share_28d",
    }.items()
}
"""Phrase -> the columns that it is said of."""
COUNTED_OVER: Mapping[str, str] = {
    r"(?:category|mcc_l2|brand|weekday|hour)_entropy_(\w+)": r"purchase_count_\1",
    r"channel_entropy_(\w+)": r"channel_contact_count_\1",
    r"consultation_kind_entropy_(\w+)": r"consultation_count_\1",
    r"investment_kind_entropy_(\w+)": r"investment_kinds_\1",
    r"insurance_kind_entropy_(\w+)": r"insurance_event_count_\1",
    r"product_balance_entropy": r"product_open_count",
    r"merchant_activity_radius": r"purchase_count_365d",
}
"""Columns that read the same of nothing at all as of a single thing, and the count that tells the two apart."""
ENOUGH = 20
"""Among fewer customers a place says nothing: by judgement, as the next."""
ALL_BUT = 0.995
"""From here on it is nearly everybody: no percentage is rounded to all."""


@dataclass(frozen=True)
class Rank:
    """Whether the customer lies above the middle, and the share of the others who lie below (or above) the customer."""

    more: bool
    share: float


@cache
def _of(column: str) -> tuple[str, Mapping[str, str]] | None:
    for name, pattern in QUALITIES.items():
        if (m := pattern.fullmatch(column)) is not None:
            return name, m.groupdict()
    return None


def ranked(column: str) -> bool:
    """Whether a column is told by a place among all customers."""
    return _of(column) is not None


@cache
def counted_over(column: str) -> str | None:
    """The count that must not be nothing for a column to say something."""
    for pattern, count in COUNTED_OVER.items():
        if (m := re.fullmatch(pattern, column)) is not None:
            return m.expand(count)
    return None


def quality(column: str, language: Language) -> str:
    """What such a column says, as the subject of a sentence."""
    found = _of(column)
    if found is None:
        raise KeyError(f"column '{column}' is not told by rank")
    name, slots = found
    said = {k: phrase(f"rank.span.{v}", language) if k == "span" else v for k, v in slots.items()}
    if "part" in said:  # of a percentile the tail that it cuts off
        said["part"] = str(min(int(said["part"]), 100 - int(said["part"])))
    return phrase(f"rank.of.{name}", language, **said)


def rank_of(own: float, middle: float, others: NDArray[np.float32]) -> Rank | None:
    """Of a value beside those of other customers who have one, in one scale; None where it is the middle, or they are too
    few."""
    if own == middle or len(others) < ENOUGH:
        return None
    return Rank(own > middle, float((others < own).mean() if own > middle else (others > own).mean()))


def rank_said(column: str, rank: Rank, language: Language) -> str:
    """`How unevenly purchases follow one another in the last 90 days: more so than for 84% of all customers`"""
    nearly = rank.share >= ALL_BUT
    key = ("most" if rank.more else "least") if nearly else "more" if rank.more else "less"
    return phrase(f"rank.{key}", language, quality=quality(column, language), share=f"{rank.share:.0%}")
