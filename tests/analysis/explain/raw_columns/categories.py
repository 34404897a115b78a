"""The facts of columns, from the words of their sentences: categories (see `raw_facts`)."""

from __future__ import annotations

import numpy as np

from tests.analysis.explain.raw_facts import Events, Raw, W, even, fact, largest, net, ratio, smallest


def _share_of(r: Raw, name: str, w: int) -> float | None:
    return ratio(net(r.category(name).last(w)), sum(by(r, "mcc_l1", w).values()))


def by(r: Raw, column: str, w: int) -> dict[str, float]:
    """Net spend of the last days by what is in a column, of those with a purchase in the year."""
    out: dict[str, float] = {}
    for name in {str(x) for x in r.bought[column]}:
        mine = r.card.where(r.card[column].astype(str) == name).last(w)
        out[name] = net(mine)
    return out


@fact(rf"category_share_([a-z_]+?){W}")
def _category_share(r: Raw, name: str, w: int) -> float | None:
    return _share_of(r, name, w)


def _purchases(r: Raw, name: str, w: int) -> Events:
    found = r.category(name).last(w)
    return found.where(found.amount > 0)


@fact(rf"category_count_([a-z_]+?){W}", rf"raw_purchase_count_([a-z_]+?){W}")
def _category_count(r: Raw, name: str, w: int) -> float:
    return float(len(_purchases(r, name, w)))


@fact(rf"raw_spend_([a-z_]+?){W}")
def _category_spend(r: Raw, name: str, w: int) -> float:
    return net(r.category(name).last(w)) if len(_purchases(r, name, 365)) else 0.0


@fact(rf"raw_max_ticket_([a-z_]+?){W}")
def _category_largest(r: Raw, name: str, w: int) -> float:
    return largest(_purchases(r, name, w).amount) or 0.0


@fact(rf"category_trend_([a-z_]+?){W}")
def _category_trend(r: Raw, name: str, w: int) -> float | None:
    both, new = net(r.category(name).last(2 * w)), net(r.category(name).last(w))
    return ratio(2 * new - both, both)


@fact(r"category_recency_([a-z_]+)")
def _category_recency(r: Raw, name: str) -> float:
    found = smallest(_purchases(r, name, 365).d)
    return 365.0 if found is None else found


@fact(rf"category_entropy{W}")
def _category_entropy(r: Raw, w: int) -> float | None:
    return even(np.array(list(by(r, "mcc_l1", w).values())))


@fact(rf"category_top_share{W}")
def _category_top(r: Raw, w: int) -> float | None:
    values = list(by(r, "mcc_l1", w).values())
    return ratio(max(values, default=0.0), sum(values))


@fact(rf"category_used{W}", rf"mcc_l1_count{W}")
def _category_used(r: Raw, w: int) -> float:
    return float(len({str(x) for x in r.bought.last(w).mcc_l1}))
