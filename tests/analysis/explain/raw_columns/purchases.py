"""The facts of columns, from the words of their sentences: purchases: how many, how much, how lately (see `raw_facts`)."""

from __future__ import annotations

import numpy as np

from tests.analysis.explain.raw_facts import BLOCK, Raw, W, fact, largest, mean, net, ratio, smallest, trend


@fact("recency_days")
def _recency(r: Raw) -> float | None:
    return smallest(r.bought.d)


@fact(f"(?:raw_)?purchase_count{W}")
def _count(r: Raw, w: int) -> float:
    return float(len(r.bought.last(w)))


@fact(f"active_days{W}")
def _active(r: Raw, w: int) -> float:
    return float((r.days <= w).sum())


@fact(f"(?:raw_)?spend{W}")
def _spend(r: Raw, w: int) -> float:
    return net(r.card.last(w))


@fact("raw_spend_ever")
def _spend_ever(r: Raw) -> float:
    return net(r.every)


@fact(f"avg_ticket{W}")
def _ticket(r: Raw, w: int) -> float | None:
    return mean(r.bought.last(w).amount)


@fact(f"(?:raw_)?max_ticket{W}")
def _largest_ticket(r: Raw, w: int) -> float | None:
    return largest(r.bought.last(w).amount)


@fact(r"raw_ticket_rank_(\d)_365d")
def _ticket_rank(r: Raw, k: int) -> float | None:
    return float(np.sort(r.bought.amount)[-k]) if len(r.bought) >= k else None


@fact(r"spend_ratio_(\d+)d_to_previous_\d+d")
def _spend_ratio(r: Raw, w: int) -> float | None:
    return trend(net(r.card.last(w)), net(r.card.between(w + 1, 2 * w)))


@fact(r"count_ratio_(\d+)d_to_previous_\d+d")
def _count_ratio(r: Raw, w: int) -> float | None:
    return trend(len(r.bought.last(w)), len(r.bought.between(w + 1, 2 * w)))


@fact(r"spend_share_(\d+)d_of_365d")
def _spend_share(r: Raw, w: int) -> float | None:
    return ratio(min(net(r.card.last(w)), net(r.card)), net(r.card))


@fact("first_purchase_days")
def _first(r: Raw) -> float | None:
    return largest(r.bought.d)


def _usual_gap(r: Raw) -> float | None:
    return float(r.days.max() - r.days.min()) / (len(r.days) - 1) if len(r.days) > 1 else None


@fact("recency_to_usual_gap")
def _to_gap(r: Raw) -> float | None:
    gap = _usual_gap(r)
    return None if gap is None else ratio(float(r.days.min()), gap)


@fact("days_to_expected_purchase")
def _due(r: Raw) -> float | None:
    gap = _usual_gap(r)
    return None if gap is None else gap - float(r.days.min())


@fact("expected_shopping_days_28d")
def _expected(r: Raw) -> float | None:
    return BLOCK * len(r.days) / float(r.days.max()) if len(r.days) else None


@fact("probability_alive")
def _alive(r: Raw) -> float | None:
    return float(((r.days.max() - r.days.min()) / r.days.max()) ** len(r.days)) if len(r.days) else None


@fact(f"spend_per_active_day{W}")
def _per_day(r: Raw, w: int) -> float | None:
    return mean(r.spent_on_days[r.days <= w])
