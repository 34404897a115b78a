"""The facts of columns, from the words of their sentences: sizes of purchases and the time between them (see `raw_facts`)."""

from __future__ import annotations

import math

import numpy as np

from tests.analysis.explain.raw_facts import Raw, W, fact, largest, mean, quantile, ratio, slope, smallest, spread, trend


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
