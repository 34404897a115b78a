"""The facts of columns, from the words of their sentences: the movement of daily spend (see `raw_facts`)."""

from __future__ import annotations

import math

import numpy as np

from tests.analysis.explain.raw_columns.sources import daily_spend, wave
from tests.analysis.explain.raw_columns.times import correlation
from tests.analysis.explain.raw_facts import Raw, even, fact, mean, ratio


@fact("lnn_(mean|std|skewness|kurtosis)")
def _moments(r: Raw, what: str) -> float | None:
    y, n = daily_spend(r), 90
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
    return np.array([sum(x * x for x in wave(r, 90 / f)) for f in WAVES])


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
    y = daily_spend(r)
    moved = np.cumsum(y - y.mean())
    at = int(np.abs(moved).argmax())
    if what == "strength":
        return ratio(float(abs(moved[at])), float(y.std(ddof=1)) * math.sqrt(90))
    return float(89 - at) if what == "days_ago" else ratio(float(-moved[at]) * 90, (at + 1) * (89 - at))


@fact(r"lnn_autocorrelation_lag(\d+)")
def _spend_memory(r: Raw, k: int) -> float | None:
    y = daily_spend(r)
    return correlation(y[:-k], y[k:])


@fact("lnn_permutation_entropy")
def _patterns(r: Raw) -> float | None:
    y = daily_spend(r)
    seen = [(a < b, b < c, a < c) for a, b, c in zip(y, y[1:], y[2:], strict=False)]
    found = even(np.array([seen.count(s) for s in set(seen)]))
    return None if found is None else found / math.log(6)


@fact("lnn_crossing_rate")
def _crossing(r: Raw) -> float | None:
    above = daily_spend(r) > daily_spend(r).mean()
    return mean(above[1:] != above[:-1])


@fact("lnn_complexity")
def _hjorth(r: Raw) -> float | None:
    y = daily_spend(r)
    a, b, c = (float(np.var(np.diff(y, k), ddof=1)) for k in (0, 1, 2))
    return ratio(math.sqrt(c / b), math.sqrt(b / a)) if a and b else None
