"""What a column is about: every column of the package that speaks for itself belongs to one matter, in the order of `MATTERS`.

A reviewer takes the number, the sum and the share of purchases in travel for one thing, and so does a reason: it stands for all
columns of its matter, whose ups and downs are added, and names the one or two of them that a person can say. Statistics without
a plain name belong to the matter that they measure. The matters are fixed and alike for every customer and task: nothing is
joined because it moved the same way once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ple_model.schema import FeatureSchema
from ple_model.tasks.consumption import SPENDING_CATEGORIES

CATEGORY = "category"
"""What the key of a matter begins with that is one category of purchases: `category:travel`."""


@dataclass(frozen=True)
class Matter:
    """`subject`: the row of the table by subject (`analysis.explain.subjects`). `columns`: what the names of its columns match
    from their beginning."""

    subject: str
    columns: tuple[str, ...]


MATTERS: Mapping[str, Matter] = {
    "abroad": Matter("spending", ("(raw_)?overseas_",)),
    "refunds": Matter("spending", ("refund_",)),
    "places": Matter(
        "merchants",
        (
            "merchant_", "brand_", "mcc_", "raw_(merchant|brand)_count", "new_merchant_", "epidemic_", "repeated_amount",
            "crime_unusual_place",
        ),
    ),
    "mix": Matter("spending", ("category_(entropy|top_share|used)", "essential_", "chemical_", "lifestyle_")),
    "ticket": Matter(
        "spending",
        (
            "(avg|max)_ticket", "raw_max_ticket", "raw_ticket_rank", "amount_", "top[13]_purchase", "purchase_gini",
            "(round|large|small)_", "weekend_ticket", "crime_unusual_amount",
        ),
    ),
    "course": Matter(
        "times",
        (
            "(spend|count)_ratio_", "spend_share_", "week_", "month_0", "(weekly|monthly)_spend_slope",
            "weekly_autocorrelation", "spend_acceleration", "same_season", "monthly_spend_last",
        ),
    ),
    "spend": Matter(
        "spending", ("spend_(\\d+d|per)", "raw_spend_(\\d+d|ever)", "raw_max_(daily|weekly|monthly)", "daily_spend",
                     "(weekly|monthly)_spend"),
    ),
    "pause": Matter("times", ("recency_", "probability_alive", "days_to_expected")),
    "pace": Matter(
        "times",
        (
            "purchase_count", "raw_purchase_count", "active_", "gap_", "daily_count", "expected_shopping", "weekly_silent",
            "monthly_silent", "quick_repeat", "longest_s", "crime_velocity", "membership_(active|loyal|lapses|longest|month_s)",
        ),
    ),
    "hours": Matter("times", ("hour_", "overnight_", "crime_unusual_hour", "crime_unguarded")),
    "weekdays": Matter("times", ("weekday_", "weekend_", "interference_")),
    "month": Matter("times", ("month_(start|middle|end)", "payday_")),
    "belonging": Matter("holdings", ("membership_", "first_purchase")),
    "pay_in": Matter("deposits", ("(raw_)?deposit_(largest_)?inflow", "income_")),
    "pay_out": Matter("deposits", ("(raw_)?deposit_(largest_)?outflow",)),
    "balance": Matter(
        "deposits", ("deposit_", "spend_to_income", "spend_income", "consumption_", "liquidity_"),
    ),
    "credit_use": Matter("credit", ("credit_(utilisation|balance|lines_stretched|spend_to_limit)",)),
    "credit_lines": Matter("credit", ("(raw_)?credit_",)),
    "holdings": Matter("holdings", ("product_", "raw_balance_")),
    "investments": Matter("holdings", ("(raw_)?investment_",)),
    "claims": Matter("insurance", ("(raw_)?insurance_(claim|loss)",)),
    "insurance": Matter("insurance", ("(raw_)?insurance_",)),
    "complaints": Matter("channels", ("consultation_complaint",)),
    "advice": Matter("channels", ("consultation_",)),
    "channels": Matter("channels", ("channel_", "session_app_share")),
    "sessions": Matter("channels", ("session", "raw_session")),
    "offers": Matter("offers", ("(raw_)?campaign_", "bandit_")),
}  # fmt: skip
"""The first that matches is a column's. A name that none matches is of its part: a test holds that there is no such column."""
_NAMES = {c.replace(" ", "_"): c for c in SPENDING_CATEGORIES}
_OF_CATEGORY = re.compile(
    rf"(?:category_(?:share|count|trend|recency)|raw_(?:spend|max_ticket|purchase_count))_({'|'.join(_NAMES)})(?:_|$)"
)


@lru_cache(maxsize=4096)
def matter_of(name: str, part: str) -> str:
    """Of one of the package's columns: the key of its matter."""
    if found := _OF_CATEGORY.match(name):
        return f"{CATEGORY}:{_NAMES[found[1]]}"
    return next((k for k, m in MATTERS.items() if any(re.match(p, name) for p in m.columns)), part)


def matter_in(schema: FeatureSchema, name: str) -> str:
    """The key of a column's matter; a column of somebody's own table is of none: its owner named it."""
    return "" if schema.own else matter_of(name, schema.column(name).part)


def subject_of_matter(matter: str) -> str:
    """The row of the table by subject; empty for what is no matter of the package's."""
    if matter.startswith(f"{CATEGORY}:"):
        return "spending"
    return MATTERS[matter].subject if matter in MATTERS else ""
