"""Whether what a customer does rises and falls in waves: what the loop of the short topology is, in days and actions.

The diagrams of the last 90 days are drawn from the log of actions an active day, a mean over 7 days
(`ple_model.data.derived.tda`): a cycle draws a loop. Its length is the period of the sine that fits the same active days best
(Lomb-Scargle periodogram: Lomb 1976, Scargle 1982, for days that are not evenly spaced). A wave is told only where hardly any
order of the same days is fitted as well (permutation test).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.explain.origin.days import EVENTS, PURCHASES, Days
from analysis.explain.origin.told import REST, OriginSentence
from analysis.i18n import phrase
from ple_model.numerals import LANGUAGES

Array = NDArray[np.float64]
DAYS = 97
"""Days that the short topology is drawn from: 90, and the six before the first of them that its mean reaches back to."""
PERIODS = np.geomspace(10.0, 45.0, 120)
"""Cycles of so many days are looked for: longer than that mean reaches, and seen twice."""
FEWEST = 10
"""Active days, as the topology asks for."""
ORDERS, CHANCE = 199, 0.05
"""Orders of the active days, and the share of them that may be fitted as well."""


@dataclass(frozen=True)
class Wave:
    """`period` in days; `low` and `high`: actions an active day at the trough and the crest of the fitted sine."""

    period: float
    low: float
    high: float

    def told(self, short: float, value: float) -> OriginSentence:
        """`short`: what the topology of the last months did, of the `value` of all of it."""
        en, ko = (
            phrase("origin.wave", x, n=round(self.period), low=f"{self.low:.0f}", high=f"{self.high:.0f}") for x in LANGUAGES
        )
        return OriginSentence(en, ko, (("tda_short", short), (REST, value - short)))


def wave_of(days: Days) -> Wave | None:
    """None where the visits do not reach back so far, or where the days would be fitted as well in another order."""
    if not days.visits_known(DAYS):
        return None
    there, back = days.there, np.clip(days.visit_back(), 1, DAYS + 1)
    events = np.round(np.bincount(back[there], np.expm1(days.visits[there, EVENTS]), DAYS + 2))
    visits = np.bincount(back[there], minlength=DAYS + 2)
    bought = np.round(np.expm1(days.txn[-DAYS:, PURCHASES]))
    active = (bought > 0) | (visits[1 : DAYS + 1][::-1] > 0)
    where = np.flatnonzero(active)
    done = np.asarray(bought + events[1 : DAYS + 1][::-1], dtype=np.float64)
    return fitted(where.astype(np.float64), done[where])


def fitted(day: Array, actions: Array) -> Wave | None:
    """day, actions: [n], of the active days."""
    if len(day) < FEWEST:
        return None
    y = np.log1p(actions)
    if not y.std() > 0:
        return None
    every = np.tile(y - y.mean(), (ORDERS + 1, 1))
    every[1:] = np.random.default_rng(0).permuted(every[1:], axis=1)
    angle = 2 * np.pi * day / PERIODS[:, None]
    shape = np.stack([np.ones_like(angle), np.sin(angle), np.cos(angle)], axis=2)  # [periods, n, 3]: a sine about its own mean
    basis = np.linalg.qr(shape)[0][:, :, 1:]
    power = ((every @ basis) ** 2).sum(axis=2)  # [periods, orders]
    best = power.max(axis=0)
    if (1 + (best[1:] >= best[0]).sum()) / (1 + ORDERS) > CHANCE:
        return None
    i = int(power[:, 0].argmax())
    mean, a, b = np.linalg.lstsq(shape[i], y, rcond=None)[0]
    swing = float(np.hypot(a, b))
    return Wave(float(PERIODS[i]), float(np.expm1(mean - swing)), float(np.expm1(mean + swing)))
