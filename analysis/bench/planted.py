"""What was planted in a customer of the synthetic bank, and the inputs in which a reader could meet it.

The truth table (`ple_model.data.synth.truth`) gives the strength of every cause of every customer. The **true cause** of a
task for a customer at a cut-off is decided so:

1. Causes at work on the day of the cut-off count: `since <= cut-off < until`, an open end is always. Several spells of one
   cause count once, by their strongest.
2. A reason says what sets a customer apart from the typical one. So does a cause: the weight of a *level* (`kind`), of which
   the table says how much this customer has, is the distance from the median of all customers of the bank at that cut-off,
   where those without the cause have 0. The weight of a *direction*, of which the table gives a strength (an offer's taste, a
   community, the sign of an interaction) that all customers carry alike or nearly so and which moves each another way, is
   that strength.
3. The cause with the largest weight is the true one. Weights of different units (`UNIT`) cannot be compared: then the largest
   of each unit is a true cause, and naming any of them counts. Causes of the same weight are all true.
4. A customer for whom no cause of the task is at work, or only such of weight 0, has no true cause there and is left out.

`CARRIERS` says which inputs carry a cause, with the reason for each line; a reason names a cause if one of the inputs that it
was made of does. Where a cause is carried by many columns chance finds it often: read every share beside that of `random`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from ple_model.errors import UserError
from ple_model.safe_arrays import open_parquet

TRUTH = "truth.parquet"
COLUMNS = ("customer_id", "cause", "task", "effect", "since", "until")
Kind = Literal["level", "direction"]


@dataclass(frozen=True)
class Carriers:
    """`inputs`: patterns that must match a whole name of a column or of an input field; none: no input can express the cause.
    `why`: from how the generator plants it and how the features are built."""

    inputs: tuple[str, ...]
    why: str
    kind: Kind = "level"

    def holds(self, name: str) -> bool:
        """Whether this input carries the cause."""
        return bool(self.inputs) and _pattern(self.inputs).fullmatch(name) is not None


@lru_cache(maxsize=64)
def _pattern(inputs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(inputs))


SHAPE = ("tda_short", "tda_long", "tda_features", "tda_short_diagrams", "tda_long_diagrams", "tda_global_stats")
SHIFT = ("phase_transition", "phase_.*", "tda_phase_transition")
SERIES = ("txn_seq", "session_seq", "mamba_temporal")
PACE = (
    "gap_.*", "purchase_count_.*", "raw_purchase_count_.*d", "active_days_.*", "active_day_share_90d", "daily_count_mean_.*",
    "expected_shopping_days_28d", "recency_to_usual_gap", "days_to_expected_purchase", "longest_silence_90d",
    "longest_streak_90d", "session_count_.*", "session_active_days_.*", "session_usual_gap_days", "raw_session_count_365d",
    *SERIES,
)  # fmt: skip
CONTACT = ("consultation_(?!complaint).*",)
CREDIT_USE = ("credit_utilisation.*", "credit_balance_total", "credit_headroom", "credit_lines_stretched", "product_balance_.*")
SALARY = ("deposit_.*", "raw_deposit_.*", "income_.*", "spend_to_income_90d", "liquidity_months", "spend_income_correlation")


def _spent_on(*categories: str) -> tuple[str, ...]:
    """Columns of what is bought of these categories."""
    figures = "(raw_)?(category_share|category_count|category_trend|category_recency|spend|purchase_count|max_ticket)"
    return tuple(f"{figures}_{c}(_.*)?" for c in categories)


CARRIERS: Mapping[str, Carriers] = {
    "loop_break": Carriers(
        (*SHAPE, *SHIFT, "session_seq"),
        "each day's phase of the cycle of what is done in sessions is drawn anew: the loop of the delay embedding is gone, the "
        "distribution stays; the raw series is the sessions'",
    ),
    "cycle_length": Carriers(
        (*SHAPE, *SHIFT, "session_seq"),
        "only the cycle of about 38 days is round in the delay embedding of what is done in sessions; that of 13 is not",
    ),
    "visit_rhythm": Carriers(
        (*SERIES, "gap_(std|cv|min|max|p90|median|burstiness)_.*"),
        "the gap after a late visit is shorter than after an early one: the series hold visit and hour, the columns the "
        "spread of the gaps, which are of two lengths",
    ),
    "visit_pace": Carriers(
        PACE, "the mean gap between visits: counts of visits and purchases, gaps, sessions (they follow visits), the series"
    ),
    "hour_of_last_visit": Carriers(
        SERIES,
        "the channel of a visit goes with the hour of the one before; only series have the last hour, columns the usual",
        "direction",
    ),
    "taste_community": Carriers(
        ("collaborative_features",), "one brand a leaf for a community: only who buys where with whom tells it", "direction"
    ),
    "favourite_merchant": Carriers(
        ("merchant_(top|repeat|new|count).*", "raw_merchant_count_365d", "brand_.*", "raw_brand_count_365d", "mcc_l[12]_.*",
         "new_merchant_spend_share_90d", "hierarchy_features"),
        "a share of purchases goes to one leaf, one brand and one outlet: concentration of merchants, brands and leaves, and "
        "the tree of where the money went",
    ),
    "channel_habit": Carriers(
        ("channel_.*", "session_app_share_90d"), "the preference among branch, app and web: counts and shares by channel",
        "direction",
    ),
    "age": Carriers((), "no input holds the age; life_stage is made of it, so it is the answer and not a fact beside it"),
    "deep_dive": Carriers(
        ("raw_session_(event_count|minutes)_365d", "session_events_mean_90d", "session_seq"),
        "one or two sessions of hundreds of actions in the history: the raw count of a year, the last 90 days' mean, and the "
        "sessions' series where it is recent",
    ),
    "savings_x_evening": Carriers(
        ("product_.*", "deposit_(?!inflow_count|outflow_count).*", "hour_.*", "crime_unusual_hour_share_28d", "txn_seq",
         "session_seq"),
        "holding a savings account x buying in the evening; either side counts: balances and products held, hours of "
        "purchases. Clicks of the past follow from it but do not say it",
        "direction",
    ),
    "credit_x_premium": Carriers(
        ("credit_.*", "raw_credit_limit_total", "product_.*", "membership_products_per_tenure_year"),
        "a credit card x a premium membership; either side counts: limits and lines of credit, products held",
        "direction",
    ),
    "offer_taste": Carriers(
        ("product_.*", "credit_.*", "raw_credit_limit_total", "raw_balance_.*", *SALARY, "channel_.*", "session_.*",
         *_spent_on("travel", "home", "health", "dining")),
        "log-odds of each offer from the products held, credit in use, the salary, the channel, the app, and the shares of "
        "travel, home, health and dining",
        "direction",
    ),
    "click_propensity": Carriers(
        ("campaign_(click|conversion|offers).*", "bandit_.*", "session_(minutes|events)_.*",
         "raw_session_(event_count|minutes)_.*"),
        "moves every click of the past and the depth of sessions",
    ),
    "heavy_tail": Carriers(
        ("max_ticket_.*", "raw_max_.*", "raw_ticket_rank_.*", "amount_(skewness|std|cv)_.*", "daily_spend_(max|std)_.*",
         "weekly_spend_(max|std|cv)_26w"),
        "3 % of purchases are several to hundreds of times as large: the largest amounts and what they do to spread",
    ),
    "amount_shape": Carriers(
        ("amount_.*", "avg_ticket_.*", "spend_ratio_.*", "spend_acceleration_12w", "txn_seq"),
        "two-humped amounts, then all amounts 1.8 times as large for 16 weeks: figures of amounts, their growth, the series",
    ),
    "category_deepening": Carriers(
        ("mcc_l[12]_.*", "category_(share|count|trend|recency)_.*", "raw_(spend|purchase_count)_[a-z].*_365d",
         "raw_spend_[a-z].*_28d", "hierarchy_features", "new_merchant_spend_share_90d"),
        "spreading over the leaves of a category, then more of it: variety of leaves, the category's share; the table does not "
        "say which category, so that of any counts",
    ),
    "regime": Carriers(
        ("hmm_lifecycle", "hmm_journey", "hmm_summary", "recency_days", "probability_alive", "count_ratio_.*",
         "spend_ratio_.*", "spend_share_28d_of_365d", "purchase_count_(7|14|28|56)d", "active_days_(7|28)d",
         "recency_to_usual_gap", "session_(trend_28d|recency_days|count_7d|count_28d|active_days_28d)", "active_week_.*",
         "longest_(silence|streak)_90d", "gap_(mean|max|p90)_90d", "week_.*_spend_share",
         "membership_active_months_3m", *SERIES),
        "fewer visits, purchases and sessions a week than before: recency, recent counts, ratios, the lifecycle's hidden "
        "state, the series",
    ),
    "complaint": Carriers(
        ("consultation_.*",), "two contacts of the kind `complaint` in its week, and nothing else that an input sees"
    ),
    "income_shock": Carriers(
        (*SALARY, *CREDIT_USE, *CONTACT, *_spent_on("dining", "travel", "leisure", "groceries")),
        "salary cut to 0.4, credit in use up by 0.38, debt advice, less dining, travel and leisure, more groceries",
    ),
    "new_baby": Carriers(
        (*CONTACT, *_spent_on("health", "groceries", "travel")), "insurance advice, more health and groceries, less travel"
    ),
    "house_move": Carriers(
        (*CREDIT_USE, *CONTACT, *_spent_on("home", "services")),
        "mortgage advice, more home and services, credit in use up by 0.08"
    ),
    "long_trip": Carriers(
        (*CREDIT_USE, *CONTACT, "overseas_.*", "raw_overseas_spend_365d", *_spent_on("travel", "dining")),
        "travel advice, spending abroad, more travel and dining, credit in use up by 0.06",
    ),
    "windfall": Carriers(
        (*SALARY, *CREDIT_USE, *CONTACT, "investment_.*", "raw_investment_365d", *_spent_on("electronics", "clothing")),
        "salary times 1.3, investments bought, advice, more electronics and clothing, credit in use down by 0.12",
    ),
    "new_hobby": Carriers(_spent_on("leisure", "online"), "more leisure and online, nothing else"),
}  # fmt: skip
"""By cause of the truth table: what carries it and why."""

UNIT: Mapping[tuple[str, str], str] = {
    ("cycle_length", "life_stage"): "days", ("visit_pace", "engagement"): "days",
    ("hour_of_last_visit", "channel"): "log-odds", ("channel_habit", "channel"): "share",
}  # fmt: skip
"""The unit of (cause, task) where it is not the one of the task's other causes."""


@dataclass(frozen=True)
class Planted:
    """The truth table of a bank: by (customer, task) the rows (cause, effect, since, until)."""

    rows: Mapping[tuple[str, str], tuple[tuple[str, float, date | None, date | None], ...]]
    customers: int

    @staticmethod
    def read(events: Path) -> Planted:
        """From a bank's events folder. `UserError` names the table where it is absent, not readable or of other columns."""
        path = events / TRUTH
        if not path.is_file():
            raise UserError(f"{path}: no such file; a folder that `ple synth` made holds the planted truth")
        with open_parquet(path) as file:
            missing = [c for c in COLUMNS if c not in file.schema_arrow.names]
            if missing:
                raise UserError(f"{path}: no column '{missing[0]}'; a truth table has {', '.join(COLUMNS)}")
            table = file.read(list(COLUMNS))
        return Planted.of(table)

    @staticmethod
    def of(table: pa.Table) -> Planted:
        """From the rows of a truth table. `UserError` names a cause without a line in `CARRIERS`."""
        found: dict[tuple[str, str], list[tuple[str, float, date | None, date | None]]] = {}
        columns = [table.column(c).to_pylist() for c in COLUMNS]
        for customer, cause, task, effect, since, until in zip(*columns, strict=True):
            if cause not in CARRIERS:
                raise UserError(f"{TRUTH}: cause '{cause}' is not known; known: {', '.join(CARRIERS)}")
            found.setdefault((customer, task), []).append((cause, float(effect), since, until))
        return Planted({k: tuple(v) for k, v in found.items()}, len(set(columns[0])))

    def tasks(self) -> tuple[str, ...]:
        """Those with a planted cause."""
        return tuple(dict.fromkeys(task for _, task in self.rows))

    def at_work(self, customer: str, task: str, cutoff: date) -> dict[str, float]:
        """cause -> effect on that day, the strongest of several spells."""
        found: dict[str, float] = {}
        for cause, effect, since, until in self.rows.get((customer, task), ()):
            if (since is None or since <= cutoff) and (until is None or cutoff < until):
                found[cause] = max((found.get(cause, 0.0), effect), key=abs)
        return found

    def medians(self, task: str, cutoff: date) -> dict[str, float]:
        """cause -> median of the effect over all customers of the bank, those without it at 0."""
        effects: dict[str, list[float]] = {}
        for customer, of in self.rows:
            if of == task:
                for cause, effect in self.at_work(customer, task, cutoff).items():
                    effects.setdefault(cause, []).append(effect)
        return {c: float(np.median(np.r_[v, np.zeros(self.customers - len(v))])) for c, v in effects.items()}

    def weights(self, customer: str, task: str, cutoff: date, medians: Mapping[str, float]) -> dict[str, float]:
        """cause -> how far it sets the customer apart; see the module docstring, rule 2."""
        present = self.at_work(customer, task, cutoff)
        return {
            cause: abs(effect if CARRIERS[cause].kind == "direction" else effect - medians[cause])
            for cause, effect in present.items()
        }


def true_causes(weights: Mapping[str, float], task: str) -> frozenset[str]:
    """The causes of the largest weight, one a unit and more where they tie; empty where nothing sets the customer apart."""
    largest: dict[str, float] = {}
    for cause, weight in weights.items():
        unit = UNIT.get((cause, task), task)
        largest[unit] = max(largest.get(unit, 0.0), weight)
    return frozenset(c for c, w in weights.items() if w > 0 and w == largest[UNIT.get((c, task), task)])


def rank(causes: Iterable[str], reasons: Iterable[Iterable[str]]) -> int | None:
    """The place, from 1, of the first of `reasons` (the inputs of each) that names one of `causes`; None: none of them does."""
    wanted = [CARRIERS[c] for c in causes]
    for place, inputs in enumerate(reasons, 1):
        if any(w.holds(name) for name in inputs for w in wanted):
            return place
    return None


def expressible(causes: Iterable[str]) -> bool:
    """Whether an input carries any of them."""
    return any(CARRIERS[c].inputs for c in causes)
