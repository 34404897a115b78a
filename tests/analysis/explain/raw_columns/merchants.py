"""The facts of columns, from the words of their sentences: merchants, brands, industries (see `raw_facts`)."""

from __future__ import annotations

import math

import numpy as np

from tests.analysis.explain.raw_columns.categories import by
from tests.analysis.explain.raw_facts import Raw, W, even, fact, mean, net, ratio

GROUPED = {"mcc_l1": "mcc_l1", "mcc_l2": "mcc_l2", "brand": "brand", "merchant": "merchant_id"}


@fact(rf"(mcc_l2|brand|merchant)_count{W}", rf"raw_(merchant|brand)_count{W}")
def _different(r: Raw, what: str, w: int) -> float:
    return float(len({str(x) for x in r.bought.last(w)[GROUPED[what]]}))


@fact(rf"(mcc_l2|brand|merchant)_top_share{W}")
def _biggest(r: Raw, what: str, w: int) -> float | None:
    values = list(by(r, GROUPED[what], w).values())
    return ratio(max(values, default=0.0), sum(values))


@fact(rf"(mcc_l2|brand)_entropy{W}")
def _spread_over(r: Raw, what: str, w: int) -> float | None:
    return even(np.array(list(by(r, GROUPED[what], w).values())))


@fact(rf"(mcc_l1|mcc_l2|brand)_new{W}")
def _new(r: Raw, what: str, w: int) -> float:
    column = GROUPED[what]
    before = {str(x) for x in r.bought.between(w + 1, 365)[column]}
    return float(len({str(x) for x in r.bought.last(w)[column]} - before))


@fact(r"(brand|merchant)_repeat_share_365d")
def _repeat(r: Raw, what: str) -> float | None:
    names = r.bought[GROUPED[what]].astype(str)
    return mean(np.unique(names, return_counts=True)[1] > 1) if len(names) else None


@fact("merchant_new_share_90d")
def _new_merchants(r: Raw) -> float | None:
    now = {str(x) for x in r.bought.last(90).merchant_id}
    return ratio(_new_of(r, 90), len(now))


def _new_of(r: Raw, w: int) -> float:
    before = {str(x) for x in r.bought.between(w + 1, 365).merchant_id}
    return float(len({str(x) for x in r.bought.last(w).merchant_id} - before))


@fact("brand_favourite_recency_days")
def _favourite(r: Raw) -> float | None:
    names = r.bought.brand.astype(str)
    if not len(names):
        return None
    brands, n = np.unique(names, return_counts=True)
    return min(float(r.bought.d[names == b].min()) for b in brands[n == n.max()])


@fact("mcc_l1_visit_hhi_180d")
def _hhi(r: Raw) -> float | None:
    names = r.bought.last(180).mcc_l1.astype(str)
    n = np.unique(names, return_counts=True)[1]
    return float(((n / n.sum()) ** 2).sum()) if len(names) else None


@fact("brand_loyalty_90d")
def _loyalty(r: Raw) -> float | None:
    before = {str(x) for x in r.bought.between(91, 365).brand}
    return mean(np.array([str(b) in before for b in r.bought.last(90).brand], dtype=float))


@fact("merchant_activity_radius")
def _radius(r: Raw) -> float | None:
    places = np.array([str(p) for p in r.bought.place if p is not None])
    found = even(np.unique(places, return_counts=True)[1]) if len(places) else None
    return None if found is None else math.exp(found)


@fact("new_merchant_spend_share_90d")
def _new_spend(r: Raw) -> float | None:
    before = {str(x) for x in r.bought.between(91, 365).merchant_id}
    e = r.card.last(90)
    fresh = e.where(np.array([str(m) not in before for m in e.merchant_id], dtype=bool))
    return ratio(net(fresh), net(e))
