"""The facts of columns, from the words of their sentences: deposit accounts and income (see `raw_facts`)."""

from __future__ import annotations

import numpy as np

from tests.analysis.explain.raw_columns.times import correlation, monthday
from tests.analysis.explain.raw_facts import NECESSARY, Events, Raw, W, fact, largest, mean, net, ratio, smallest, spread, trend


@fact(rf"(?:raw_)?deposit_(inflow|outflow){W}")
def _flow(r: Raw, side: str, w: int) -> float:
    x = r.deposit.last(w).amount
    return float(x[x > 0].sum() if side == "inflow" else -x[x < 0].sum())


@fact(rf"deposit_net_flow{W}")
def _net_flow(r: Raw, w: int) -> float:
    return float(r.deposit.last(w).amount.sum())


@fact(rf"deposit_(inflow|outflow)_count{W}")
def _flow_count(r: Raw, side: str, w: int) -> float:
    x = r.deposit.last(w).amount
    return float((x > 0).sum() if side == "inflow" else (x < 0).sum())


@fact("deposit_recency_days")
def _deposit_recency(r: Raw) -> float | None:
    return smallest(r.deposit.d)


@fact(rf"deposit_(inflow)_(mean|max){W}", rf"deposit_(outflow)_(max){W}", r"raw_deposit_largest_(inflow|outflow)()_(365)d")
def _flow_size(r: Raw, side: str, what: str, w: int) -> float | None:
    x = r.deposit.last(w).amount
    x = x[x > 0] if side == "inflow" else -x[x < 0]
    return mean(x) if what == "mean" else largest(x)


@fact("deposit_net_volatility")
def _volatility(r: Raw) -> float | None:
    return spread(r.income - r.outgo)


@fact("deposit_savings_rate_365d")
def _savings(r: Raw) -> float | None:
    x = r.deposit.amount
    return ratio(float(x.sum()), float(x[x > 0].sum()))


@fact("deposit_inflow_cv", "income_monthly_cv")
def _inflow_cv(r: Raw) -> float | None:
    return ratio(spread(r.income) or 0.0, float(r.income.mean()))


@fact("deposit_active_month_share")
def _deposit_months(r: Raw) -> float:
    return float(((r.income > 0) | (r.outgo > 0)).mean())


@fact("deposit_inflow_day_spread")
def _payday_spread(r: Raw) -> float | None:
    return spread(monthday(r.deposit.where(r.deposit.amount > 0)))


@fact("income_monthly_mean")
def _income(r: Raw) -> float | None:
    return mean(r.income)


@fact("income_recency_days")
def _income_recency(r: Raw) -> float | None:
    return smallest(r.deposit.d[r.deposit.amount > 0])


@fact("income_payments_per_month")
def _payments(r: Raw) -> float:
    return float((r.deposit.amount > 0).sum() / 13)


@fact("income_growth_84d")
def _income_growth(r: Raw) -> float | None:
    x = r.deposit.where(r.deposit.amount > 0)
    return trend(float(x.last(84).amount.sum()), float(x.between(85, 168).amount.sum()))


@fact("income_largest_share_365d")
def _income_largest(r: Raw) -> float | None:
    x = r.deposit.amount[r.deposit.amount > 0]
    return ratio(float(x.max()), float(x.sum())) if len(x) else None


@fact("spend_to_income_90d")
def _spend_to_income(r: Raw) -> float | None:
    return ratio(net(r.card.last(90)), _flow(r, "inflow", 90))


def necessary(e: Events) -> Events:
    return e.where(np.array([str(c) in NECESSARY for c in e.mcc_l1], dtype=bool))


@fact(rf"essential_share{W}")
def _essential(r: Raw, w: int) -> float | None:
    return ratio(min(net(necessary(r.card.last(w))), net(r.card.last(w))), net(r.card.last(w)))


@fact("essential_share_shift_28d")
def _essential_shift(r: Raw) -> float | None:
    new, year = _essential(r, 28), _essential(r, 365)
    return None if new is None or year is None else new - year


@fact("spend_income_correlation")
def _spend_income(r: Raw) -> float | None:
    return correlation(r.blocks, r.income)
