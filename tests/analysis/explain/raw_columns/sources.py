"""The facts of columns, from the words of their sentences: journeys abroad, insurance, investments (see `raw_facts`)."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from tests.analysis.explain.raw_columns.categories import by
from tests.analysis.explain.raw_columns.contacts import clicks_of, converted
from tests.analysis.explain.raw_columns.deposits import necessary
from tests.analysis.explain.raw_columns.times import correlation, monthday, weekday
from tests.analysis.explain.raw_facts import (
    BLOCK,
    NECESSARY,
    Events,
    Raw,
    W,
    even,
    fact,
    hour_of,
    largest,
    mean,
    net,
    quantile,
    ratio,
    smallest,
    spread,
    trend,
)


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
    angle = 2 * np.pi * monthday(e) / 30.4
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
    new, both = by(r, "mcc_l1", 90), by(r, "mcc_l1", 180)
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


def daily_spend(r: Raw) -> np.ndarray:
    """[90] logarithm of 1 + net spend of days with a purchase, the newest last."""
    by_day = dict(zip(r.days.tolist(), r.spent_on_days.tolist(), strict=True))
    return np.log1p([by_day.get(d, 0.0) for d in range(90, 0, -1)])


def wave(r: Raw, days: int) -> tuple[float, float]:
    y, d = daily_spend(r), np.arange(90, 0, -1)
    return float((y * np.sin(2 * np.pi * d / days)).sum()), float((y * np.cos(2 * np.pi * d / days)).sum())


@fact("interference_(weekly|biweekly|monthly)_amplitude")
def _amplitude(r: Raw, which: str) -> float:
    return math.hypot(*wave(r, {"weekly": 7, "biweekly": 14, "monthly": 30}[which])) * 2 / 90


@fact("interference_weekly_phase")
def _phase(r: Raw) -> float:
    sine, cosine = wave(r, 7)
    return math.cos(math.atan2(sine, cosine + 1e-9))


def _weekly_of(r: Raw, which: str) -> np.ndarray:
    out = []
    for w in range(26):
        e = r.card.between(7 * w + 1, 7 * w + 7)
        mine = necessary(e) if which == "necessary" else e.where(weekday(e) >= 5)
        out.append(min(net(mine), net(e)))
    return np.array(out)


@fact("interference_necessity_treat_correlation")
def _together(r: Raw) -> float | None:
    x = _weekly_of(r, "necessary")
    return correlation(x, r.weeks - x)


@fact("interference_weekend_correlation")
def _weekend_together(r: Raw) -> float | None:
    x = _weekly_of(r, "weekend")
    return correlation(x, r.weeks - x)


@fact("interference_intensity")
def _intensity(r: Raw) -> float | None:
    x = _weekly_of(r, "necessary")
    found = ratio(float(r.weeks.var(ddof=1)), float(x.var(ddof=1) + (r.weeks - x).var(ddof=1)))
    return None if found is None else found - 1


@fact("interference_visibility")
def _visibility(r: Raw) -> float | None:
    n = np.bincount(weekday(r.bought.last(90)), minlength=7)
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
        return (0.8 + len(clicks_of(r))) / (20 + len(r.shown))
    return (0.5 + len(converted(r))) / (100 + len(r.shown))


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
