"""The facts of single columns, each written down from the words of its sentence (see `raw_facts`)."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from tests.analysis.explain.raw_facts import (
    BLOCK,
    NECESSARY,
    Events,
    Raw,
    even,
    fact,
    hour_of,
    largest,
    mean,
    net,
    quantile,
    ratio,
    run_of,
    slope,
    smallest,
    spread,
    trend,
)  # fmt: skip

W = r"_(\d+)d"


# --- purchases: how many, how much, how lately


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


# --- categories


def _share_of(r: Raw, name: str, w: int) -> float | None:
    return ratio(net(r.category(name).last(w)), sum(_by(r, "mcc_l1", w).values()))


def _by(r: Raw, column: str, w: int) -> dict[str, float]:
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
    return even(np.array(list(_by(r, "mcc_l1", w).values())))


@fact(rf"category_top_share{W}")
def _category_top(r: Raw, w: int) -> float | None:
    values = list(_by(r, "mcc_l1", w).values())
    return ratio(max(values, default=0.0), sum(values))


@fact(rf"category_used{W}", rf"mcc_l1_count{W}")
def _category_used(r: Raw, w: int) -> float:
    return float(len({str(x) for x in r.bought.last(w).mcc_l1}))


# --- sizes of purchases and the time between them


@fact(rf"amount_(std|cv|median|skewness|log_mean|log_std){W}", rf"amount_(p\d\d){W}")
def _amount(r: Raw, what: str, w: int) -> float | None:
    x = r.bought.last(w).amount
    if what.startswith("p"):
        return quantile(x, int(what[1:]) / 100)
    if not len(x):
        return None
    if what == "cv":
        s = spread(x)
        return None if s is None else ratio(s, float(np.mean(x)))
    if what == "skewness":
        s, n = spread(x), len(x)
        if n < 3 or not s:
            return None
        g = float(((x - x.mean()) ** 3).mean() / x.std() ** 3)
        return g * math.sqrt(n * (n - 1)) / (n - 2)
    return {"std": spread(x), "median": quantile(x, 0.5), "log_mean": mean(np.log1p(x)), "log_std": spread(np.log1p(x))}[what]


@fact(rf"gap_(mean|std|cv|median|p90|max|min|burstiness){W}")
def _gap(r: Raw, what: str, w: int) -> float | None:
    hours, d = r.gaps
    x = hours[d <= w]
    if not len(x):
        return None
    if what in ("cv", "burstiness"):
        s, m = spread(x), float(np.mean(x))
        return None if s is None else ratio(s, m) if what == "cv" else trend(s, m)
    return {"mean": mean(x), "std": spread(x), "median": quantile(x, 0.5), "p90": quantile(x, 0.9), "max": largest(x),
            "min": smallest(x)}[what]  # fmt: skip


@fact(rf"daily_(spend_median|spend_std|spend_max|count_mean|count_max){W}")
def _daily(r: Raw, what: str, w: int) -> float | None:
    days = r.days[r.days <= w]
    spent, n = r.spent_on_days[r.days <= w], np.array([(r.bought.d == d).sum() for d in days])
    return {"spend_median": quantile(spent, 0.5), "spend_std": spread(spent), "spend_max": largest(spent),
            "count_mean": mean(n), "count_max": largest(n)}[what]  # fmt: skip


@fact(r"(weekly)_(spend_mean|spend_std|spend_cv|spend_max|silent_share|spend_slope)_26w",
      r"(monthly)_(spend_mean|spend_std|spend_cv|spend_max|spend_min|silent_share|spend_slope)_13m")  # fmt: skip
def _periods(r: Raw, which: str, what: str) -> float | None:
    if not len(r.bought):
        return None
    x, n = (r.weeks, r.weeks_bought) if which == "weekly" else (r.blocks, r.blocks_bought)
    if what == "silent_share":
        return float((n == 0).mean())
    if what in ("spend_cv", "spend_slope"):
        return ratio(spread(x) or 0.0 if what == "spend_cv" else slope(x), float(x.mean()))
    return {"spend_mean": mean(x), "spend_std": spread(x), "spend_max": largest(x), "spend_min": smallest(x)}[what]


@fact("monthly_spend_last_to_mean")
def _last_block(r: Raw) -> float | None:
    return ratio(float(r.blocks[0]), float(r.blocks.mean()))


@fact("same_season_spend_ratio")
def _season(r: Raw) -> float | None:
    return ratio(float(r.blocks[12]), float(r.blocks.mean()))


@fact("raw_max_daily_spend_365d")
def _largest_day(r: Raw) -> float | None:
    return largest(r.spent_on_days)


@fact("raw_max_weekly_spend_26w")
def _largest_week(r: Raw) -> float | None:
    return largest(r.weeks) if len(r.bought) else None


@fact("raw_max_monthly_spend_13m")
def _largest_block(r: Raw) -> float | None:
    return largest(r.blocks) if len(r.bought) or len(r.deposit) else None


@fact(rf"top(\d)_purchase_share{W}")
def _top_purchases(r: Raw, k: int, w: int) -> float | None:
    x = np.sort(r.bought.last(w).amount)
    return ratio(float(x[-k:].sum()), float(x.sum())) if len(x) else None


@fact("purchase_gini_365d")
def _gini(r: Raw) -> float | None:
    x = np.sort(r.bought.amount)
    n = len(x)
    return float((2 * (np.arange(1, n + 1) * x).sum() - (n + 1) * x.sum()) / (n * x.sum())) if n else None


@fact(rf"round_amount_share{W}")
def _round(r: Raw, w: int) -> float | None:
    x = r.bought.last(w).amount
    return mean(x == np.round(x))


@fact(rf"(large|small)_purchase_share{W}")
def _beyond(r: Raw, side: str, w: int) -> float | None:
    x = r.bought.last(w).amount
    if not len(x):
        return None
    usual = r.bought.amount.mean()
    return mean(x > 2 * usual) if side == "large" else mean(x < usual / 2)


@fact("refund_count_365d")
def _refunds(r: Raw) -> float:
    return float((r.card.amount < 0).sum())


@fact("refund_share_365d")
def _refunded(r: Raw) -> float | None:
    return ratio(float(-r.card.amount[r.card.amount < 0].sum()), float(r.bought.amount.sum()))


@fact("repeated_amount_share_365d")
def _repeated(r: Raw) -> float | None:
    if not len(r.bought):
        return None
    return 1 - len(set(zip(r.bought.merchant_id.tolist(), r.bought.amount.tolist(), strict=True))) / len(r.bought)


@fact(rf"quick_repeat_share{W}")
def _quick(r: Raw, w: int) -> float | None:
    hours, d = r.gaps
    n = len(r.bought.last(w))
    return float((hours[d <= w] <= 1).sum() / n) if n else None


# --- when


BANDS = {"night": 0, "early_morning": 4, "morning": 8, "afternoon": 12, "evening": 16, "late_evening": 20}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _weekday(e: Events) -> np.ndarray:
    return (e.ts.astype("datetime64[D]").astype(int) + 3) % 7


def _monthday(e: Events) -> np.ndarray:
    day = e.ts.astype("datetime64[D]")
    return (day - day.astype("datetime64[M]")).astype(int) + 1


@fact(rf"hour_share_(\w+?){W}")
def _hour_share(r: Raw, band: str, w: int) -> float | None:
    h = r.hours[r.bought.d <= w]
    h = h[np.isfinite(h)]
    return mean((h >= BANDS[band]) & (h < BANDS[band] + 4))


@fact(rf"weekday_share_(\w+?){W}")
def _weekday_share(r: Raw, day: str, w: int) -> float | None:
    return mean(_weekday(r.bought.last(w)) == WEEKDAYS.index(day))


@fact(rf"weekend_share{W}")
def _weekend(r: Raw, w: int) -> float | None:
    return mean(_weekday(r.bought.last(w)) >= 5)


@fact(rf"overnight_share{W}")
def _overnight(r: Raw, w: int) -> float | None:
    h = r.hours[r.bought.d <= w]
    h = h[np.isfinite(h)]
    return mean((h >= 22) | (h < 6))


@fact(rf"(month_start|month_middle|month_end|payday)_share{W}")
def _monthdays(r: Raw, which: str, w: int) -> float | None:
    d = _monthday(r.bought.last(w))
    return mean({"month_start": d <= 10, "month_middle": (d > 10) & (d <= 20), "month_end": d > 20,
                 "payday": (d >= 25) | (d == 1)}[which])  # fmt: skip


def _angle(r: Raw, newest: int, oldest: int) -> tuple[float, float] | None:
    h = r.hours[(r.bought.d >= newest) & (r.bought.d <= oldest)]
    h = h[np.isfinite(h)] * 2 * np.pi / 24
    return (float(np.sin(h).mean()), float(np.cos(h).mean())) if len(h) else None


@fact(rf"hour_mean_(sin|cos){W}")
def _hour_mean(r: Raw, which: str, w: int) -> float | None:
    found = _angle(r, 1, w)
    return None if found is None else found[which == "cos"]


@fact(rf"hour_concentration{W}")
def _concentration(r: Raw, w: int) -> float | None:
    found = _angle(r, 1, w)
    return None if found is None else math.hypot(*found)


@fact("hour_shift_28d")
def _shift(r: Raw) -> float | None:
    new, old = _angle(r, 1, 28), _angle(r, 29, 90)
    return None if new is None or old is None else 1 - math.cos(math.atan2(*new) - math.atan2(*old))


@fact(rf"weekday_entropy{W}")
def _weekday_entropy(r: Raw, w: int) -> float | None:
    return even(np.bincount(_weekday(r.bought.last(w)), minlength=7))


@fact(rf"hour_entropy{W}")
def _hour_entropy(r: Raw, w: int) -> float | None:
    h = r.hours[r.bought.d <= w]
    return even(np.bincount(h[np.isfinite(h)].astype(int), minlength=24))


@fact(r"week_(\d\d)_spend_share")
def _week_share(r: Raw, w: int) -> float | None:
    return ratio(float(r.weeks[w - 1]), float(r.weeks[:12].sum()))


@fact(r"month_(\d\d)_spend_ratio")
def _month_ratio(r: Raw, b: int) -> float | None:
    return ratio(float(r.blocks[b - 1]), float(r.blocks.mean()))


@fact(r"weekly_autocorrelation_lag(\d)")
def _weekly_memory(r: Raw, k: int) -> float | None:
    return _correlation(r.weeks[:-k], r.weeks[k:])


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0 else None


def _daily_counts(r: Raw) -> np.ndarray:
    return np.array([(r.bought.d == d).sum() for d in range(1, 91)])


@fact(r"daily_count_autocorrelation_lag(\d)")
def _daily_memory(r: Raw, k: int) -> float | None:
    n = _daily_counts(r)
    return _correlation(n[:-k], n[k:])


@fact("longest_silence_90d")
def _silence(r: Raw) -> float:
    return run_of(_daily_counts(r) > 0, False)


@fact("longest_streak_90d")
def _streak(r: Raw) -> float:
    return run_of(_daily_counts(r) > 0, True)


@fact("active_week_streak")
def _week_streak(r: Raw) -> float:
    silent = np.flatnonzero(r.weeks_bought == 0)
    return float(silent[0]) if len(silent) else 26.0


@fact("active_week_share_12w")
def _week_share_12(r: Raw) -> float:
    return float((r.weeks_bought[:12] > 0).mean())


@fact("active_day_share_90d")
def _day_share(r: Raw) -> float:
    return float((_daily_counts(r) > 0).mean())


@fact("spend_acceleration_12w")
def _acceleration(r: Raw) -> float | None:
    return ratio(slope(r.weeks[:12]) - slope(r.weeks[12:24]), float(r.weeks.mean()))


@fact("weekend_ticket_ratio_365d")
def _weekend_ticket(r: Raw) -> float | None:
    end = _weekday(r.bought) >= 5
    a, b = mean(r.bought.amount[end]), mean(r.bought.amount[~end])
    return None if a is None or b is None else ratio(a, b)


# --- deposit accounts and income


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
    return spread(_monthday(r.deposit.where(r.deposit.amount > 0)))


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


def _necessary(e: Events) -> Events:
    return e.where(np.array([str(c) in NECESSARY for c in e.mcc_l1], dtype=bool))


@fact(rf"essential_share{W}")
def _essential(r: Raw, w: int) -> float | None:
    return ratio(min(net(_necessary(r.card.last(w))), net(r.card.last(w))), net(r.card.last(w)))


@fact("essential_share_shift_28d")
def _essential_shift(r: Raw) -> float | None:
    new, year = _essential(r, 28), _essential(r, 365)
    return None if new is None or year is None else new - year


@fact("spend_income_correlation")
def _spend_income(r: Raw) -> float | None:
    return _correlation(r.blocks, r.income)


# --- membership


@fact("membership_tenure_days")
def _tenure(r: Raw) -> float | None:
    return r.joined


@fact("membership_log_tenure")
def _log_tenure(r: Raw) -> float | None:
    return None if r.joined is None else math.log1p(r.joined)


@fact("membership_days_to_anniversary")
def _anniversary(r: Raw) -> float | None:
    """On the calendar: the day of joining comes round again."""
    if r.joined is None:
        return None
    return float(365 - r.joined % 365)


@fact("membership_first_year")
def _first_year(r: Raw) -> float | None:
    return None if r.joined is None else float(r.joined < 365)


@fact("membership_first_purchase_delay")
def _delay(r: Raw) -> float | None:
    first = largest(r.every.d[r.every.amount > 0]) if len(r.every) else None
    return None if r.joined is None or first is None else r.joined - first


@fact("membership_activated_share")
def _activated(r: Raw) -> float | None:
    first = largest(r.every.d) if len(r.every) else None
    return None if not r.joined or first is None else min(first / r.joined, 1.0)


@fact(r"membership_active_months_(\d+)m")
def _active_months(r: Raw, m: int) -> float:
    return float((r.blocks_bought[:m] > 0).sum())


@fact("membership_month_streak")
def _month_streak(r: Raw) -> float:
    silent = np.flatnonzero(r.blocks_bought == 0)
    return float(silent[0]) if len(silent) else 13.0


@fact("membership_lapses_365d")
def _lapses(r: Raw) -> float:
    return float((r.gaps[0] >= 28 * 24).sum())


@fact("membership_longest_lapse_365d")
def _longest_lapse(r: Raw) -> float | None:
    found = largest(r.gaps[0])
    return None if found is None else found / 24


@fact("membership_loyal_months_13m")
def _loyal(r: Raw) -> float:
    return float((r.blocks_bought >= 4).sum())


@fact("membership_spend_per_tenure_year")
def _yearly_spend(r: Raw) -> float | None:
    return None if r.joined is None else float(r.every.amount.sum()) / max(r.joined / 365, 28 / 365)


@fact("membership_products_per_tenure_year")
def _yearly_products(r: Raw) -> float | None:
    return None if r.joined is None or not r.held else len(r.held) / max(r.joined / 365, 1)


# --- credit and products held


@fact("(?:raw_)?credit_limit_total")
def _limit(r: Raw) -> float | None:
    return sum(h["limit"] for h in r.lines) if r.lines else None


@fact("credit_balance_total")
def _used(r: Raw) -> float:
    return float(sum(h["balance"] for h in r.lines))


@fact("credit_utilisation")
def _utilisation(r: Raw) -> float | None:
    return ratio(_used(r), _limit(r) or 0.0)


@fact("credit_utilisation_max")
def _utilisation_max(r: Raw) -> float | None:
    return max((h["balance"] / h["limit"] for h in r.lines), default=None)


@fact("credit_line_count")
def _lines(r: Raw) -> float:
    return float(len(r.lines))


@fact("credit_limit_mean")
def _limit_mean(r: Raw) -> float | None:
    return ratio(_limit(r) or 0.0, len(r.lines))


@fact("credit_headroom")
def _headroom(r: Raw) -> float:
    return float(sum(h["limit"] - h["balance"] for h in r.lines))


@fact("credit_lines_stretched")
def _stretched(r: Raw) -> float:
    return float(sum(h["balance"] > 0.8 * h["limit"] for h in r.lines))


@fact("credit_(oldest|newest)_line_days")
def _line_age(r: Raw, which: str) -> float | None:
    ages = [h["age"] for h in r.lines]
    return (max if which == "oldest" else min)(ages, default=None)


@fact("credit_utilisation_change_84d")
def _utilisation_change(r: Raw) -> float | None:
    then = [h for h in r.lines if np.isfinite(h["before"])]
    limit = sum(h["limit"] for h in then)
    if not limit:
        return None
    return float(sum(h["balance"] for h in then) / limit - sum(h["before"] for h in then) / limit)


@fact("credit_spend_to_limit_28d")
def _spend_to_limit(r: Raw) -> float | None:
    return ratio(net(r.card.last(28)), _limit(r) or 0.0)


@fact("product_open_count")
def _open(r: Raw) -> float | None:
    return None if not r.held else float(len(r.open))


@fact("product_ever_count")
def _ever(r: Raw) -> float | None:
    return None if not r.held else float(len(r.held))


@fact("product_(opened)_90d", "product_(closed)_365d")
def _product_moves(r: Raw, which: str) -> float | None:
    if not r.held:
        return None
    if which == "opened":
        return float(sum(h["age"] <= 90 for h in r.held))
    return float(sum(h["closed"] is not None and h["closed"] <= 365 for h in r.held))


@fact("product_(oldest|newest)_days")
def _product_age(r: Raw, which: str) -> float | None:
    return (max if which == "oldest" else min)((h["age"] for h in r.open), default=None)


@fact("product_balance_total", "raw_balance_total")
def _balance(r: Raw) -> float | None:
    return float(sum(h["balance"] for h in r.open)) if r.open else None


@fact("raw_balance_largest")
def _balance_largest(r: Raw) -> float | None:
    return max((h["balance"] for h in r.open), default=None)


@fact("product_top_balance_share")
def _top_balance(r: Raw) -> float | None:
    return ratio(max((h["balance"] for h in r.open), default=0.0), sum(h["balance"] for h in r.open))


@fact("product_balance_entropy")
def _balance_entropy(r: Raw) -> float | None:
    return even(np.array([h["balance"] for h in r.open]))


@fact("product_statement_age_days")
def _statement(r: Raw) -> float | None:
    return min((h["stated"] for h in r.held), default=None)


# --- sessions


@fact(rf"session_count{W}", rf"raw_session_count{W}")
def _sessions(r: Raw, w: int) -> float:
    return float(len(r.sessions.last(w)))


@fact(rf"(?:raw_)?session_minutes{W}")
def _minutes(r: Raw, w: int) -> float:
    return float(r.sessions.last(w).duration.sum() / 60)


@fact(rf"session_(minutes|events)_mean{W}")
def _session_mean(r: Raw, what: str, w: int) -> float | None:
    e = r.sessions.last(w)
    return mean(e.duration / 60 if what == "minutes" else e.events)


@fact(rf"raw_session_event_count{W}")
def _session_events(r: Raw, w: int) -> float:
    return float(r.sessions.last(w).events.sum())


@fact("session_recency_days")
def _session_recency(r: Raw) -> float | None:
    return smallest(r.sessions.d)


@fact(rf"session_active_days{W}")
def _session_days(r: Raw, w: int) -> float:
    return float(len(np.unique(r.sessions.last(w).d)))


@fact(rf"session_app_share{W}")
def _app_share(r: Raw, w: int) -> float | None:
    return mean(np.array([c == "app" for c in r.sessions.last(w).channel], dtype=float))


@fact(rf"session_night_share{W}")
def _session_night(r: Raw, w: int) -> float | None:
    h = hour_of(r.sessions.last(w).ts)
    h = h[np.isfinite(h)]
    return mean((h >= 22) | (h < 6))


@fact("session_usual_gap_days")
def _session_gap(r: Raw) -> float | None:
    d = np.unique(r.sessions.d)
    return float(d.max() - d.min()) / (len(d) - 1) if len(d) > 1 else None


@fact("session_trend_28d")
def _session_trend(r: Raw) -> float | None:
    return trend(len(r.sessions.last(28)), len(r.sessions.between(29, 56)))


@fact("sessions_per_purchase_90d")
def _per_purchase(r: Raw) -> float:
    return len(r.sessions.last(90)) / (1 + len(r.bought.last(90)))


# --- campaigns and contacts


def _clicked(r: Raw) -> Events:
    return r.shown.where(r.shown.clicked_at.astype("datetime64[us]") < np.datetime64(r.cutoff))


def _converted(r: Raw) -> Events:
    return r.shown.where(r.shown.converted_at.astype("datetime64[us]") < np.datetime64(r.cutoff))


@fact(rf"campaign_exposures{W}", rf"raw_campaign_exposure_count{W}")
def _exposures(r: Raw, w: int) -> float:
    return float(len(r.shown.last(w)))


@fact(rf"campaign_clicks{W}")
def _clicks(r: Raw, w: int) -> float:
    return float(len(_clicked(r).last(w)))


@fact(rf"campaign_conversions{W}")
def _conversions(r: Raw, w: int) -> float:
    return float(len(_converted(r).last(w)))


@fact("campaign_exposure_recency_days")
def _exposure_recency(r: Raw) -> float | None:
    return smallest(r.shown.d)


@fact("campaign_click_recency_days")
def _click_recency(r: Raw) -> float | None:
    clicked = _clicked(r).clicked_at.astype("datetime64[D]")
    return smallest((np.datetime64(r.cutoff) - clicked).astype(int))


@fact("campaign_offers_365d")
def _offers(r: Raw) -> float:
    return float(len({str(o) for o in r.shown.offer}))


@fact("campaign_click_delay_hours")
def _click_delay(r: Raw) -> float | None:
    c = _clicked(r)
    return mean((c.clicked_at.astype("datetime64[us]") - c.ts).astype("timedelta64[s]").astype(float) / 3600)


@fact(rf"consultation_count{W}")
def _contacts(r: Raw, w: int) -> float:
    return float(len(r.contacts.last(w)))


@fact("consultation_recency_days")
def _contact_recency(r: Raw) -> float | None:
    return smallest(r.contacts.d)


@fact("consultation_first_contact_days")
def _contact_first(r: Raw) -> float | None:
    return largest(r.contacts.d)


@fact("consultation_active_days_365d")
def _contact_days(r: Raw) -> float:
    return float(len(np.unique(r.contacts.d)))


@fact("consultation_kinds_365d")
def _contact_kinds(r: Raw) -> float:
    return float(len({str(k) for k in r.contacts.kind}))


def _complaints(r: Raw) -> Events:
    return r.contacts.where(np.array(["complain" in str(k).lower() for k in r.contacts.kind], dtype=bool))


@fact(rf"consultation_complaint_count{W}")
def _complaint_count(r: Raw, w: int) -> float:
    return float(len(_complaints(r).last(w)))


@fact("consultation_complaint_share_365d")
def _complaint_share(r: Raw) -> float | None:
    return ratio(len(_complaints(r)), len(r.contacts))


@fact("consultation_complaint_recency_days")
def _complaint_recency(r: Raw) -> float | None:
    return smallest(_complaints(r).d)


@fact("consultation_usual_gap_days")
def _contact_gap(r: Raw) -> float | None:
    d = r.contacts.d
    return float(d.max() - d.min()) / (len(d) - 1) if len(d) > 1 else None


@fact("consultation_trend_90d")
def _contact_trend(r: Raw) -> float | None:
    return trend(len(r.contacts.last(90)), len(r.contacts.between(91, 180)))


@fact("consultation_amount_mean_365d")
def _contact_amount(r: Raw) -> float | None:
    return mean(r.contacts.amount[np.isfinite(r.contacts.amount)])


@fact("consultation_top_kind_share_365d")
def _contact_top(r: Raw) -> float | None:
    kinds = [str(k) for k in r.contacts.kind]
    return ratio(max((kinds.count(k) for k in set(kinds)), default=0), len(kinds))


@fact("consultation_kind_entropy_365d")
def _contact_entropy(r: Raw) -> float | None:
    kinds = [str(k) for k in r.contacts.kind]
    return even(np.array([kinds.count(k) for k in set(kinds)]))


@fact("consultation_repeat_share_365d")
def _contact_repeat(r: Raw) -> float | None:
    if not len(r.contacts):
        return None
    day = np.sort(r.contacts.ts).astype("datetime64[D]")
    return float((np.diff(day).astype(int) <= 7).sum() / len(day))


CHANNELS = {"store": "store", "app": "app", "web": "web", "contact": "contact"}


@fact(rf"channel_(store|app|web|contact)_count{W}")
def _touches(r: Raw, name: str, w: int) -> float:
    d, ch, _ = r.touches
    return float(((ch == name) & (d <= w)).sum()) if len(d) else 0.0


@fact(rf"channel_(store|app|web|contact)_share{W}")
def _touch_share(r: Raw, name: str, w: int) -> float | None:
    d, ch, _ = r.touches
    return mean(ch[d <= w] == name) if len(d) else None


@fact(r"channel_(store|app|web|contact)_recency_days")
def _touch_recency(r: Raw, name: str) -> float:
    d, ch, _ = r.touches
    found = smallest(d[ch == name]) if len(d) else None
    return 365.0 if found is None else found


@fact(r"channel_(store|app|web|contact)_share_shift_28d")
def _touch_shift(r: Raw, name: str) -> float | None:
    new, year = _touch_share(r, name, 28), _touch_share(r, name, 365)
    return None if new is None or year is None else new - year


@fact("channel_digital_share_90d")
def _digital(r: Raw) -> float | None:
    d, ch, _ = r.touches
    return mean(np.isin(ch[d <= 90], ("app", "web"))) if len(d) else None


@fact("channel_top_share_365d")
def _touch_top(r: Raw) -> float | None:
    _, ch, _ = r.touches
    return float(np.unique(ch, return_counts=True)[1].max() / len(ch)) if len(ch) else None


@fact("channel_entropy_365d")
def _touch_entropy(r: Raw) -> float | None:
    _, ch, _ = r.touches
    return even(np.unique(ch, return_counts=True)[1]) if len(ch) else None


@fact("channel_used_90d")
def _touch_used(r: Raw) -> float:
    d, ch, _ = r.touches
    return float(len(np.unique(ch[d <= 90]))) if len(d) else 0.0


@fact("channel_switch_rate_365d")
def _touch_switch(r: Raw) -> float | None:
    _, ch, _ = r.touches
    return mean(ch[1:] != ch[:-1]) if len(ch) > 1 else None


@fact("channel_online_spend_share_90d")
def _online(r: Raw) -> float | None:
    e = r.card.last(90)
    online = e.where(np.array([c in ("app", "web") for c in e.channel], dtype=bool))
    return ratio(min(net(online), net(e)), net(e))


# --- merchants, brands, industries


GROUPED = {"mcc_l1": "mcc_l1", "mcc_l2": "mcc_l2", "brand": "brand", "merchant": "merchant_id"}


@fact(rf"(mcc_l2|brand|merchant)_count{W}", rf"raw_(merchant|brand)_count{W}")
def _different(r: Raw, what: str, w: int) -> float:
    return float(len({str(x) for x in r.bought.last(w)[GROUPED[what]]}))


@fact(rf"(mcc_l2|brand|merchant)_top_share{W}")
def _biggest(r: Raw, what: str, w: int) -> float | None:
    values = list(_by(r, GROUPED[what], w).values())
    return ratio(max(values, default=0.0), sum(values))


@fact(rf"(mcc_l2|brand)_entropy{W}")
def _spread_over(r: Raw, what: str, w: int) -> float | None:
    return even(np.array(list(_by(r, GROUPED[what], w).values())))


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


# --- journeys abroad, insurance, investments


@fact(rf"(?:raw_)?overseas_spend{W}")
def _abroad(r: Raw, w: int) -> float:
    return float(r.table("overseas").last(w).amount.sum())


@fact(rf"overseas_count{W}")
def _abroad_count(r: Raw, w: int) -> float:
    return float(len(r.table("overseas").last(w)))


@fact("overseas_recency_days")
def _abroad_recency(r: Raw) -> float | None:
    return smallest(r.table("overseas").d)


@fact("overseas_kinds_365d")
def _abroad_kinds(r: Raw) -> float:
    return float(len({str(k) for k in r.table("overseas").kind}))


def _insured(r: Raw, kind: str) -> Events:
    e = r.table("insurance")
    return e.where(np.array([kind in str(k).lower() for k in e.kind], dtype=bool))


@fact(rf"insurance_(premium|claim)_count{W}")
def _insured_count(r: Raw, kind: str, w: int) -> float:
    return float(len(_insured(r, kind).last(w)))


@fact(rf"(?:raw_)?insurance_(premium|claim){W}")
def _insured_sum(r: Raw, kind: str, w: int) -> float:
    return float(_insured(r, kind).last(w).amount.sum())


@fact(r"insurance_(premium|claim)_(mean|max)_365d")
def _insured_size(r: Raw, kind: str, what: str) -> float | None:
    return (mean if what == "mean" else largest)(_insured(r, kind).amount)


@fact(r"insurance_(premium|claim)_recency_days")
def _insured_recency(r: Raw, kind: str) -> float | None:
    return smallest(_insured(r, kind).d)


@fact("insurance_premium_usual_gap_days")
def _premium_gap(r: Raw) -> float | None:
    d = _insured(r, "premium").d
    return float(d.max() - d.min()) / (len(d) - 1) if len(d) > 1 else None


@fact("insurance_event_count_365d")
def _insured_events(r: Raw) -> float:
    return float(len(r.table("insurance")))


@fact("insurance_kinds_365d")
def _insured_kinds(r: Raw) -> float:
    return float(len({str(k) for k in r.table("insurance").kind}))


@fact("insurance_first_record_days")
def _insured_first(r: Raw) -> float | None:
    return largest(r.table("insurance").d)


@fact("(insurance|investment)_active_months")
def _active_blocks(r: Raw, table: str) -> float:
    return float(len(np.unique((r.table(table).d - 1) // BLOCK)))


def _invested(r: Raw, side: str) -> Events:
    e = r.table("investment")
    sold = np.array([any(w in str(k).lower() for w in ("sell", "redeem", "withdraw")) for k in e.kind], dtype=bool)
    return e.where(sold if side == "sold" else ~sold)


@fact(rf"investment_(bought|sold)_(sum|count){W}")
def _investment(r: Raw, side: str, what: str, w: int) -> float:
    e = _invested(r, side).last(w)
    return float(e.amount.sum() if what == "sum" else len(e))


@fact("investment_recency_days")
def _invested_recency(r: Raw) -> float | None:
    return smallest(r.table("investment").d)


@fact("investment_(mean|max)_365d")
def _invested_size(r: Raw, what: str) -> float | None:
    return (mean if what == "mean" else largest)(r.table("investment").amount)


@fact("investment_kinds_365d")
def _invested_kinds(r: Raw) -> float:
    return float(len({str(k) for k in r.table("investment").kind}))


@fact("investment_net_365d")
def _invested_net(r: Raw) -> float:
    return float(_invested(r, "bought").amount.sum() - _invested(r, "sold").amount.sum())


@fact("raw_investment_365d")
def _invested_all(r: Raw) -> float | None:
    e = r.table("investment")
    return float(e.amount.sum()) if len(e) else None


def _amount_by_kind(r: Raw, table: str) -> np.ndarray:
    e = r.table(table)
    return np.array([e.amount[e.kind.astype(str) == k].sum() for k in np.unique(e.kind.astype(str))])


@fact("investment_kind_entropy_365d")
def _invested_even(r: Raw) -> float | None:
    return even(_amount_by_kind(r, "investment"))


@fact("investment_top_kind_share_365d")
def _invested_top(r: Raw) -> float | None:
    x = _amount_by_kind(r, "investment")
    return ratio(float(x.max()), float(x.sum())) if len(x) else None


@fact("investment_size_cv_365d")
def _invested_cv(r: Raw) -> float | None:
    x = r.table("investment").amount
    s = spread(x)
    return None if s is None else ratio(s, float(x.mean()))


@fact("investment_trend_90d")
def _invested_trend(r: Raw) -> float | None:
    e = r.table("investment")
    return trend(float(e.last(90).amount.sum()), float(e.between(91, 180).amount.sum()))


@fact("product_opened_365d")
def _opened_in_a_year(r: Raw) -> float | None:
    return None if not r.held else float(sum(h["age"] <= 365 for h in r.held))


@fact("product_balance_change_84d")
def _balance_change(r: Raw) -> float | None:
    then = [h for h in r.held if np.isfinite(h["before"])]
    size = sum(abs(h["balance"]) + abs(h["before"]) for h in then) / 2
    return ratio(sum(h["balance"] - h["before"] for h in then), size)


@fact("income_permanent_share")
def _permanent(r: Raw) -> float | None:
    return ratio(float(np.minimum(r.income, np.median(r.income)).sum()), float(r.income.sum()))


@fact("income_payday_concentration")
def _payday_fixed(r: Raw) -> float | None:
    e = r.deposit.where(r.deposit.amount > 0)
    angle = 2 * np.pi * _monthday(e) / 30.4
    return ratio(math.hypot((e.amount * np.sin(angle)).sum(), (e.amount * np.cos(angle)).sum()), float(e.amount.sum()))


@fact("consumption_smoothing")
def _smoothing(r: Raw) -> float | None:
    spend, income = (
        ratio(spread(r.blocks) or 0.0, float(r.blocks.mean())),
        ratio(spread(r.income) or 0.0, float(r.income.mean())),
    )
    return None if spend is None or income is None else ratio(spend, income)


@fact("payday_week_spend_share_365d")
def _payday_week(r: Raw) -> float | None:
    paid = {int(d) - i for d in r.deposit.d[r.deposit.amount > 0] for i in range(4)}
    after = np.array([int(d) in paid for d in r.days], dtype=bool)
    return ratio(float(r.spent_on_days[after].sum()), float(r.spent_on_days.sum())) if len(r.days) and paid else None


def _steps(r: Raw) -> list[tuple[str, str, float]]:
    """(category before, category, hours between) of purchases in order."""
    order = sorted(range(len(r.bought)), key=lambda i: (r.bought.ts[i], str(r.bought.merchant_id[i]), r.bought.amount[i]))
    names, ts = [str(r.bought.mcc_l1[i]) for i in order], [r.bought.ts[i] for i in order]
    hours = [float((b - a).astype("timedelta64[s]").astype(float)) / 3600 for a, b in pairwise(ts)]
    return list(zip(names, names[1:], hours, strict=False))


@fact("chemical_reaction_rate", "mcc_l1_switch_rate_365d")
def _reaction(r: Raw) -> float | None:
    return mean(np.array([a != b for a, b, _ in _steps(r)], dtype=float))


@fact("chemical_(forward|backward)_rate")
def _leads(r: Raw, way: str) -> float | None:
    first = [(a in NECESSARY, b in NECESSARY) for a, b, _ in _steps(r)]
    return mean(np.array([b != a for a, b in first if a == (way == "forward")], dtype=float))


@fact("chemical_equilibrium")
def _equilibrium(r: Raw) -> float:
    pairs = [(a in NECESSARY, b in NECESSARY) for a, b, _ in _steps(r)]
    n, treats = sum(a for a, _ in pairs), sum(not a for a, _ in pairs)
    forward, back = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    return math.log((1 + forward) / (1 + n)) - math.log((1 + back) / (1 + treats))


@fact("chemical_reaction_hours")
def _reaction_hours(r: Raw) -> float | None:
    return quantile(np.array([h for a, b, h in _steps(r) if a != b]), 0.5)


@fact("chemical_mix_change_90d")
def _mix_change(r: Raw) -> float | None:
    new, both = _by(r, "mcc_l1", 90), _by(r, "mcc_l1", 180)
    a = np.array(list(new.values()))
    b = np.array(list(both.values())) - a
    found = ratio(float((a * b).sum()), float(np.sqrt((a * a).sum()) * np.sqrt((b * b).sum()))) if len(a) else None
    return None if found is None else 1 - found


def _brands(r: Raw) -> tuple[int, int, int]:
    """Brands of the last 90 days that are new, earlier ones, earlier ones that were given up."""
    now, before = ({str(b) for b in e.brand} for e in (r.bought.last(90), r.bought.between(91, 365)))
    return len(now - before), len(before), len(before - now)


@fact("epidemic_infection_rate")
def _infection(r: Raw) -> float:
    new, before, _ = _brands(r)
    return new / (1 + before)


@fact("epidemic_recovery_rate")
def _recovery(r: Raw) -> float | None:
    _, before, gone = _brands(r)
    return ratio(gone, before)


@fact("epidemic_reproduction_number")
def _reproduction(r: Raw) -> float:
    new, _, gone = _brands(r)
    return (1 + new) / (1 + gone)


def _daily_spend(r: Raw) -> np.ndarray:
    """[90] logarithm of 1 + net spend of days with a purchase, the newest last."""
    by_day = dict(zip(r.days.tolist(), r.spent_on_days.tolist(), strict=True))
    return np.log1p([by_day.get(d, 0.0) for d in range(90, 0, -1)])


def _wave(r: Raw, days: int) -> tuple[float, float]:
    y, d = _daily_spend(r), np.arange(90, 0, -1)
    return float((y * np.sin(2 * np.pi * d / days)).sum()), float((y * np.cos(2 * np.pi * d / days)).sum())


@fact("interference_(weekly|biweekly|monthly)_amplitude")
def _amplitude(r: Raw, which: str) -> float:
    return math.hypot(*_wave(r, {"weekly": 7, "biweekly": 14, "monthly": 30}[which])) * 2 / 90


@fact("interference_weekly_phase")
def _phase(r: Raw) -> float:
    sine, cosine = _wave(r, 7)
    return math.cos(math.atan2(sine, cosine + 1e-9))


def _weekly_of(r: Raw, which: str) -> np.ndarray:
    out = []
    for w in range(26):
        e = r.card.between(7 * w + 1, 7 * w + 7)
        mine = _necessary(e) if which == "necessary" else e.where(_weekday(e) >= 5)
        out.append(min(net(mine), net(e)))
    return np.array(out)


@fact("interference_necessity_treat_correlation")
def _together(r: Raw) -> float | None:
    x = _weekly_of(r, "necessary")
    return _correlation(x, r.weeks - x)


@fact("interference_weekend_correlation")
def _weekend_together(r: Raw) -> float | None:
    x = _weekly_of(r, "weekend")
    return _correlation(x, r.weeks - x)


@fact("interference_intensity")
def _intensity(r: Raw) -> float | None:
    x = _weekly_of(r, "necessary")
    found = ratio(float(r.weeks.var(ddof=1)), float(x.var(ddof=1) + (r.weeks - x).var(ddof=1)))
    return None if found is None else found - 1


@fact("interference_visibility")
def _visibility(r: Raw) -> float | None:
    n = np.bincount(_weekday(r.bought.last(90)), minlength=7)
    return ratio(float(n.max() - n.min()), float(n.max() + n.min()))


@fact("crime_unusual_place_share_28d")
def _strange_place(r: Raw) -> float | None:
    before = {str(m) for m in r.bought.between(29, 365).merchant_id}
    return mean(np.array([str(m) not in before for m in r.bought.last(28).merchant_id], dtype=float))


@fact("crime_unusual_amount_share_28d")
def _strange_amount(r: Raw) -> float | None:
    s = spread(r.bought.amount)
    return None if s is None else mean(r.bought.last(28).amount > r.bought.amount.mean() + 3 * s)


@fact("crime_unusual_hour_share_28d")
def _strange_hour(r: Raw) -> float | None:
    known = np.isfinite(r.hours)
    hour, d = np.floor(r.hours[known]).astype(int), r.bought.d[known]
    before = np.bincount(hour[d > 28], minlength=24)
    if not before.sum():
        return None
    return mean(before[hour[d <= 28]] <= 0.02 * before.sum())


@fact("crime_velocity_max_28d")
def _velocity(r: Raw) -> float | None:
    ts = r.bought.ts.astype("datetime64[s]").astype(np.int64)
    return largest(np.array([((ts <= t) & (ts >= t - 3600)).sum() for t, d in zip(ts, r.bought.d, strict=True) if d <= 28]))


@fact("crime_unguarded_share_90d")
def _unguarded(r: Raw) -> float | None:
    e = r.card.last(90)
    early = np.nan_to_num(hour_of(e.ts), nan=12.0) < 5
    return ratio(min(net(e.where(early)), net(e)), net(e))


def _arms(r: Raw) -> tuple[np.ndarray, np.ndarray]:
    """(shown, responses) by offer."""
    offers = r.shown.offer.astype(str)
    cut = np.datetime64(r.cutoff)
    did = (r.shown.clicked_at.astype("datetime64[us]") < cut) | (r.shown.converted_at.astype("datetime64[us]") < cut)
    names = np.unique(offers)
    return np.array([(offers == n).sum() for n in names]), np.array([did[offers == n].sum() for n in names])


@fact("bandit_best_offer_rate")
def _best_offer(r: Raw) -> float | None:
    shown, did = _arms(r)
    return largest((1 + did) / (2 + shown)) if len(shown) else None


@fact("bandit_exploration_entropy")
def _exploration(r: Raw) -> float | None:
    return even(_arms(r)[0])


@fact("bandit_uncertainty_bonus")
def _bonus(r: Raw) -> float | None:
    shown, _ = _arms(r)
    return mean(np.sqrt(2 * np.log(1 + shown.sum()) / (1 + shown))) if len(shown) else None


@fact("bandit_regret_rate")
def _regret(r: Raw) -> float | None:
    shown, did = _arms(r)
    if not len(shown):
        return None
    rate = (1 + did) / (2 + shown)
    return float(rate.max() - (shown * rate).sum() / shown.sum())


@fact("campaign_(click|conversion)_rate_365d")
def _rate(r: Raw, which: str) -> float:
    if which == "click":
        return (0.8 + len(_clicked(r))) / (20 + len(r.shown))
    return (0.5 + len(_converted(r))) / (100 + len(r.shown))


@fact("overseas_share_365d")
def _abroad_share(r: Raw) -> float | None:
    abroad = float(r.table("overseas").amount.sum())
    return ratio(abroad, abroad + net(r.card))


@fact("brand_switch_rate_365d")
def _brand_switch(r: Raw) -> float | None:
    order = sorted(range(len(r.bought)), key=lambda i: (r.bought.ts[i], str(r.bought.merchant_id[i]), r.bought.amount[i]))
    last: dict[str, str] = {}
    other = []
    for i in order:
        category, brand = str(r.bought.mcc_l1[i]), str(r.bought.brand[i])
        if category in last:
            other.append(last[category] != brand)
        last[category] = brand
    return mean(np.array(other, dtype=float))


@fact("insurance_loss_ratio_365d")
def _loss_ratio(r: Raw) -> float | None:
    return ratio(float(_insured(r, "claim").amount.sum()), float(_insured(r, "premium").amount.sum()))


@fact("insurance_kind_entropy_365d")
def _insured_even(r: Raw) -> float | None:
    kinds = [str(k) for k in r.table("insurance").kind]
    return even(np.array([kinds.count(k) for k in set(kinds)]))


@fact("insurance_premium_cv_365d")
def _premium_cv(r: Raw) -> float | None:
    x = _insured(r, "premium").amount
    s = spread(x)
    return None if s is None else ratio(s, float(x.mean()))


@fact("insurance_premium_trend_90d")
def _premium_trend(r: Raw) -> float | None:
    e = _insured(r, "premium")
    return trend(float(e.last(90).amount.sum()), float(e.between(91, 180).amount.sum()))


@fact("insurance_premium_overdue_days")
def _overdue(r: Raw) -> float | None:
    gap, d = _premium_gap(r), _insured(r, "premium").d
    return None if gap is None else float(d.min()) - gap


@fact("insurance_other_count_365d")
def _insured_other(r: Raw) -> float:
    return float(len(r.table("insurance")) - len(_insured(r, "premium")) - len(_insured(r, "claim")))


# --- the movement of daily spend


@fact("lnn_(mean|std|skewness|kurtosis)")
def _moments(r: Raw, what: str) -> float | None:
    y, n = _daily_spend(r), 90
    z = (y - y.mean()) / (y.std() or 1.0)
    third, fourth = float((z**3).mean()), float((z**4).mean())
    if not y.std() and what in ("skewness", "kurtosis"):
        return None
    return {
        "mean": float(y.mean()), "std": float(y.std(ddof=1)), "skewness": third * math.sqrt(n * (n - 1)) / (n - 2),
        "kurtosis": (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (fourth - 3) + 6),
    }[what]  # fmt: skip


WAVES = (1, 2, 3, 6, 9, 13, 18, 26, 39)


def _powers(r: Raw) -> np.ndarray:
    return np.array([sum(x * x for x in _wave(r, 90 / f)) for f in WAVES])


@fact("lnn_(dominant_period|dominant_share|spectral_entropy|slow_share)")
def _spectrum(r: Raw, what: str) -> float | None:
    p = _powers(r)
    if what == "spectral_entropy":
        return even(p)
    if what == "dominant_period":
        return 90 / WAVES[int(p.argmax())]
    return ratio(float(p.max() if what == "dominant_share" else p[:3].sum()), float(p.sum()))


@fact("lnn_change_(strength|days_ago|shift)")
def _change(r: Raw, what: str) -> float | None:
    y = _daily_spend(r)
    moved = np.cumsum(y - y.mean())
    at = int(np.abs(moved).argmax())
    if what == "strength":
        return ratio(float(abs(moved[at])), float(y.std(ddof=1)) * math.sqrt(90))
    return float(89 - at) if what == "days_ago" else ratio(float(-moved[at]) * 90, (at + 1) * (89 - at))


@fact(r"lnn_autocorrelation_lag(\d+)")
def _spend_memory(r: Raw, k: int) -> float | None:
    y = _daily_spend(r)
    return _correlation(y[:-k], y[k:])


@fact("lnn_permutation_entropy")
def _patterns(r: Raw) -> float | None:
    y = _daily_spend(r)
    seen = [(a < b, b < c, a < c) for a, b, c in zip(y, y[1:], y[2:], strict=False)]
    found = even(np.array([seen.count(s) for s in set(seen)]))
    return None if found is None else found / math.log(6)


@fact("lnn_crossing_rate")
def _crossing(r: Raw) -> float | None:
    above = _daily_spend(r) > _daily_spend(r).mean()
    return mean(above[1:] != above[:-1])


@fact("lnn_complexity")
def _hjorth(r: Raw) -> float | None:
    y = _daily_spend(r)
    a, b, c = (float(np.var(np.diff(y, k), ddof=1)) for k in (0, 1, 2))
    return ratio(math.sqrt(c / b), math.sqrt(b / a)) if a and b else None
