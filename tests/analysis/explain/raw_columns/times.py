"""The facts of columns, from the words of their sentences: when (see `raw_facts`)."""

from __future__ import annotations

import math

import numpy as np

from tests.analysis.explain.raw_facts import Events, Raw, W, even, fact, mean, ratio, run_of, slope

BANDS = {"night": 0, "early_morning": 4, "morning": 8, "afternoon": 12, "evening": 16, "late_evening": 20}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def weekday(e: Events) -> np.ndarray:
    return (e.ts.astype("datetime64[D]").astype(int) + 3) % 7


def monthday(e: Events) -> np.ndarray:
    day = e.ts.astype("datetime64[D]")
    return (day - day.astype("datetime64[M]")).astype(int) + 1


@fact(rf"hour_share_(\w+?){W}")
def _hour_share(r: Raw, band: str, w: int) -> float | None:
    h = r.hours[r.bought.d <= w]
    h = h[np.isfinite(h)]
    return mean((h >= BANDS[band]) & (h < BANDS[band] + 4))


@fact(rf"weekday_share_(\w+?){W}")
def _weekday_share(r: Raw, day: str, w: int) -> float | None:
    return mean(weekday(r.bought.last(w)) == WEEKDAYS.index(day))


@fact(rf"weekend_share{W}")
def _weekend(r: Raw, w: int) -> float | None:
    return mean(weekday(r.bought.last(w)) >= 5)


@fact(rf"overnight_share{W}")
def _overnight(r: Raw, w: int) -> float | None:
    h = r.hours[r.bought.d <= w]
    h = h[np.isfinite(h)]
    return mean((h >= 22) | (h < 6))


@fact(rf"(month_start|month_middle|month_end|payday)_share{W}")
def _monthdays(r: Raw, which: str, w: int) -> float | None:
    d = monthday(r.bought.last(w))
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
    return even(np.bincount(weekday(r.bought.last(w)), minlength=7))


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
    return correlation(r.weeks[:-k], r.weeks[k:])


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0 else None


def _daily_counts(r: Raw) -> np.ndarray:
    return np.array([(r.bought.d == d).sum() for d in range(1, 91)])


@fact(r"daily_count_autocorrelation_lag(\d)")
def _daily_memory(r: Raw, k: int) -> float | None:
    n = _daily_counts(r)
    return correlation(n[:-k], n[k:])


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
    end = weekday(r.bought) >= 5
    a, b = mean(r.bought.amount[end]), mean(r.bought.amount[~end])
    return None if a is None or b is None else ratio(a, b)
