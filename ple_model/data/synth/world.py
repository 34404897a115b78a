"""The fixed stage of the synthetic bank: calendar, category tree, brands, merchants, regions, personas and planted strengths.

Nothing here is random at run time: customers of different seeds live in the same economy.
The category tree is 12 canonical categories x 3 groups x 3 leaves; each leaf has 4 brands and each brand 4 outlets.
Brand preference follows `COMMUNITY_BRAND`: people of one taste community prefer the same brand in *every* leaf, which only
co-visits reveal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from ple_model.tasks import OFFERS, SPENDING_CATEGORIES

START = date(2023, 7, 1)
CUTOFFS = (date(2024, 7, 1), date(2024, 8, 1), date(2024, 9, 1), date(2024, 10, 1))
"""Monthly cut-offs: 12 months of history before the first, 84 days after the last."""
HORIZON = 84
"""Days after a cut-off that labels see."""
DAYS = (CUTOFFS[-1] + timedelta(days=HORIZON) - START).days
WEEKS = -(-DAYS // 7)
EPOCH_DAY = (START - date(1970, 1, 1)).days

N_CATEGORIES = len(SPENDING_CATEGORIES)
GROUPS: dict[str, tuple[str, str, str]] = {
    "groceries": ("supermarket", "fresh food", "convenience"),
    "dining": ("restaurant", "cafe", "delivery"),
    "fuel and transport": ("fuel", "public transport", "car care"),
    "clothing": ("fashion", "sportswear", "shoes"),
    "home": ("furniture", "do it yourself", "household"),
    "health": ("pharmacy", "clinic", "beauty"),
    "leisure": ("culture", "sport", "hobby"),
    "travel": ("airline", "lodging", "tours"),
    "electronics": ("computers", "appliances", "mobile"),
    "education": ("school", "courses", "books"),
    "services": ("utilities", "insurance fees", "personal care"),
    "online": ("marketplace", "streaming", "games"),
}
LEAVES_PER_GROUP = 3
LEAVES_PER_CATEGORY = 3 * LEAVES_PER_GROUP
N_LEAVES = N_CATEGORIES * LEAVES_PER_CATEGORY
BRANDS_PER_LEAF = 4
OUTLETS = 4
N_BRANDS = N_LEAVES * BRANDS_PER_LEAF
N_MERCHANTS = N_BRANDS * OUTLETS
N_COMMUNITIES = 24

L1 = SPENDING_CATEGORIES
L2 = tuple(g for c in L1 for g in GROUPS[c])
LEAVES = tuple(f"{g} {'abc'[k]}" for g in L2 for k in range(LEAVES_PER_GROUP))
BRANDS = tuple(f"{LEAVES[b // BRANDS_PER_LEAF].title()} {'NESW'[b % BRANDS_PER_LEAF]}" for b in range(N_BRANDS))
REGIONS = tuple(f"{p}/{p} {c}" for p in ("North", "East", "South", "West") for c in ("City", "Coast", "Hills"))

_fixed = np.random.default_rng(20_240_701)
COMMUNITY_BRAND: NDArray[np.int64] = _fixed.integers(0, BRANDS_PER_LEAF, (N_COMMUNITIES, N_LEAVES))
"""[community, leaf] -> preferred brand of that leaf."""

PERSONAS = (
    "student",
    "young professional",
    "young family",
    "established family",
    "traveller",
    "homebody",
    "entrepreneur",
    "retiree",
)
PERSONA_SHARE = np.array([0.10, 0.18, 0.15, 0.17, 0.08, 0.12, 0.08, 0.12])
PERSONA_AGE = np.array([21.0, 29.0, 34.0, 46.0, 39.0, 44.0, 47.0, 69.0])
PERSONA_AGE_SD = np.array([2.5, 6.0, 7.0, 9.0, 12.0, 14.0, 11.0, 7.0])
PERSONA_LOG_INCOME = np.array([7.1, 7.9, 8.0, 8.3, 8.3, 7.8, 8.6, 7.6])
# Columns in the order of SPENDING_CATEGORIES.
PERSONA_MIX = np.array(
    [
        [3, 5, 3, 3, 0.5, 1, 3, 1, 2, 5, 1, 6],
        [3, 6, 3, 4, 1, 1, 3, 2, 3, 1, 2, 4],
        [7, 2, 3, 3, 3, 4, 1, 1, 1, 2, 2, 3],
        [6, 3, 4, 2, 3, 2, 2, 2, 2, 4, 3, 2],
        [2, 4, 4, 2, 0.5, 1, 2, 8, 1, 0.5, 1, 2],
        [5, 1, 1, 1, 6, 2, 4, 0.5, 2, 0.5, 2, 5],
        [2, 5, 6, 2, 1, 1, 1, 4, 3, 1, 5, 2],
        [6, 2, 2, 1, 2, 7, 3, 2, 0.5, 0.3, 4, 0.7],
    ]
)
CATEGORY_LOG_AMOUNT = np.array([3.4, 3.1, 3.3, 3.6, 3.6, 3.3, 3.4, 4.2, 4.1, 3.8, 3.5, 3.3])
PERSONA_OFFER = np.array(
    [
        [0, 1.2, 0.2, 0.4, -1, -0.8, -0.8, 0, -1.2, 1.4, 1.0, -0.6],
        [0.8, 0.8, 0.2, 0.6, -0.4, 0.6, -0.2, 0.5, 0, 1.0, 0.3, 0.2],
        [0.2, 0.8, 0.6, 0.9, 0, -0.2, 1.2, -0.4, 0.8, 0, 0.8, 0],
        [0.4, 0.2, 0, 0.4, 0.5, 0.6, 0.8, 0, 0.6, -0.4, 0.4, 0.5],
        [0.8, -0.2, 0, -0.4, -0.6, 0.2, 0.3, 1.9, -0.6, 0.2, -0.4, 1.0],
        [-0.4, 0.9, 0.4, 0.4, 0.4, -0.4, 0.2, -1.2, 0, 0.2, 1.3, -0.2],
        [1.2, -0.4, 1.0, -0.6, 0, 1.2, 0.2, 1.0, 0.4, 0, -0.8, 1.2],
        [-0.8, 0, -0.8, 0.6, 1.9, 0.2, 0.8, 0, -0.8, -1.2, 0.6, 0],
    ]
)
"""Persona's log-odds of responding to each of `OFFERS`."""


@dataclass(frozen=True)
class LifeEvent:
    """A life event: what it changes and for how long. Boosts are log factors (categories) and log-odds (offers)."""

    name: str
    share: float
    """Chance that a customer meets it within the history."""
    weeks: int
    categories: dict[str, float]
    offers: dict[str, float]
    consultation: str = ""
    utilisation: float = 0.0
    """Change of the credit utilisation, reached after about 60 days."""
    income: float = 1.0


LIFE_EVENTS = (
    LifeEvent(
        "income_shock", 0.30, 26, {"dining": -0.7, "travel": -0.9, "leisure": -0.6, "groceries": 0.4},
        {"instalment loan": 3.0, "credit card upgrade": 1.2, "fund": -1.5, "time deposit": -1.5}, "debt advice", 0.38, 0.4,
    ),
    LifeEvent(
        "new_baby", 0.12, 30, {"health": 1.3, "groceries": 0.6, "travel": -1.0},
        {"insurance": 2.5, "savings plan": 1.6}, "insurance",
    ),
    LifeEvent(
        "house_move", 0.18, 20, {"home": 1.9, "services": 0.6}, {"mortgage review": 2.9, "insurance": 0.8}, "mortgage", 0.08
    ),
    LifeEvent("long_trip", 0.25, 12, {"travel": 1.8, "dining": 0.4}, {"travel card": 2.8}, "travel", 0.06),
    LifeEvent(
        "windfall", 0.14, 20, {"electronics": 0.8, "clothing": 0.6},
        {"time deposit": 2.2, "fund": 2.4}, "investment", -0.12, 1.3,
    ),
    LifeEvent("new_hobby", 0.20, 20, {"leisure": 1.5, "online": 0.6}, {"merchant coupon": 2.2, "premium membership": 1.4}),
)  # fmt: skip

REGIMES = ("engaged", "steady", "fading", "silent")
PRODUCTS = ("current account", "savings account", "credit card", "time deposit", "fund", "loan", "mortgage", "membership")
OFFER_PRODUCT: dict[str, str] = {
    "savings plan": "savings account", "time deposit": "time deposit", "fund": "fund", "instalment loan": "loan",
    "cash-back card": "credit card", "credit card upgrade": "credit card", "travel card": "credit card",
    "mortgage review": "mortgage", "premium membership": "membership",
}  # fmt: skip
"""Product that a conversion of an offer opens."""


@dataclass(frozen=True)
class Strengths:
    """Planted effect sizes and base rates: the tests read them, a study may change them."""

    loop_break: float = 1.7
    """Log hazard of falling silent while the spending loop is broken."""
    fading: float = 1.0
    complaint: float = 0.9
    base_hazard: float = 0.0104
    """Weekly hazard of falling silent in the steady regime."""
    returning: float = 0.094
    """Weekly chance of coming back after at least five silent weeks."""
    interaction: float = 1.4
    """Log-odds of a click per sign(savings account) x sign(evening shopper); no main effect of either."""
    conversion_interaction: float = 1.2
    click_intercept: float = -4.47
    conversion_intercept: float = -2.62
    offer_taste: float = 1.25
    """Factor of the log-odds by which the products held, the credit in use, the salary, the channel and what is bought say
    which offer is answered: with 0 a gradient boosting had no skill on `nba`."""
    deepening: float = 1.5
    """Log weight of a category in the 16 weeks after its leaves were explored."""
    shape_growth: float = 0.6
    """Log factor of amounts in the 16 weeks after the amounts became two-humped."""
    tail_chance: float = 0.03
    late_online: float = 2.2
    """Log-odds that the visit after a late one (minus: after an early one) goes through the app or the web."""
    community: float = 0.85
    """Chance that a purchase goes to the brand of the customer's community."""


def category_index(name: str) -> int:
    """Position in `SPENDING_CATEGORIES`."""
    return L1.index(name)


def offer_index(name: str) -> int:
    """Position in `OFFERS`."""
    return OFFERS.index(name)
