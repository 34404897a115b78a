"""The facts of columns, from the words of their sentences: membership (see `raw_facts`)."""

from __future__ import annotations

import math

import numpy as np

from tests.analysis.explain.raw_facts import Raw, fact, largest


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
