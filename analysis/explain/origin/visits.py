"""Which days and visits counted, by their months and sums, and how much of what goes their way they carry: the dates of single
days of an account are not told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.explain.origin.days import APP, DURATION, MONEY_IN, MONEY_OUT, WEB, Days
from analysis.explain.origin.told import REST, OriginSentence, carried, listed
from analysis.i18n import phrase
from analysis.wording import quantity
from ple_model.data.derived.sequences import TXN_STEPS
from ple_model.numerals import LANGUAGES, Language, number

Array = NDArray[np.float64]
SHOWN = 3
IDLE = "idle days"


def of_days(days: Days, values: Array, currency: str, value: float) -> OriginSentence | None:
    """values [180, 16]: all days together, and of those that pull most in the direction of `value` the months and the sums; or
    the silence that pulls most where idle days do."""
    by_day, active = values.sum(1), days.active
    sign = 1.0 if value >= 0 else -1.0
    idle = float(by_day[~active].sum())
    dated = [(days.date(int(i)).isoformat(), float(by_day[i])) for i in np.flatnonzero(active) if by_day[i] != 0]
    through = (*dated, (IDLE, idle), (REST, value - float(by_day.sum())))
    chosen = [int(i) for i in np.argsort(-sign * by_day) if active[i] and sign * by_day[i] > 0][:SHOWN]
    if sign * idle > sign * float(by_day[active].sum()):
        first, last = silence(active, sign * by_day)
        if last <= first:
            return None
        ends = days.date(first).isoformat(), days.date(last - 1).isoformat()
        en, ko = (
            phrase(
                "origin.days.silence", x, n=last - first, first=ends[0], last=ends[1], active=int(active.sum()), of=TXN_STEPS
            )
            for x in LANGUAGES
        )
        return OriginSentence(en, ko, through)
    if not chosen:
        return None
    key, months = (
        f"origin.days.days{'_one' if len(chosen) == 1 else ''}",
        tuple(dict.fromkeys(_month(days, i) for i in sorted(chosen))),
    )
    if not (carry := carried(float(by_day[chosen].sum()), (v for _, v in through), sign)):
        return None
    en, ko = (
        phrase(key, x, n=len(chosen), months=listed(months, x), what=_sums(days, chosen, currency, x), share=carry)
        for x in LANGUAGES
    )
    return OriginSentence(en, ko, through)


def silence(active: NDArray[np.bool_], pull: Array) -> tuple[int, int]:
    """[first, last) of the run of days without activity whose `pull` [days] is largest in all; of equals the longest, then the
    latest. (0, 0) where every day is active."""
    runs, first = [(0, 0)], 0
    for i, on in enumerate([*active.tolist(), True]):
        if on:
            if i > first:
                runs.append((first, i))
            first = i + 1
    return max(runs[1:] or runs, key=lambda r: (float(pull[slice(*r)].sum()), r[1] - r[0], r[1]))


def of_visits(days: Days, values: Array, value: float) -> OriginSentence | None:
    """values [90, 8]: the visits that pull most in the direction of `value`."""
    by_visit, there, back = values.sum(1), days.there, days.visit_back()
    sign = 1.0 if value >= 0 else -1.0
    chosen = [int(i) for i in np.argsort(-sign * by_visit) if there[i] and sign * by_visit[i] > 0][:SHOWN]
    if not chosen or sign * float(by_visit[there].sum()) <= 0:
        return None
    dated = [(days.date(TXN_STEPS - int(back[i])).isoformat(), float(by_visit[i])) for i in np.flatnonzero(there)]
    rest = value - sum(v for _, v in dated)

    def said(i: int, language: Language) -> str:
        channel = "app" if days.visits[i, APP] > 0.5 else "web" if days.visits[i, WEB] > 0.5 else "other"
        minutes = number(float(np.expm1(days.visits[i, DURATION])) / 60)
        where = phrase(f"origin.days.{channel}", language)
        return phrase("origin.days.visit", language, month=_month(days, TXN_STEPS - int(back[i])), where=where, minutes=minutes)

    through = (*dated, (REST, rest))
    if not (carry := carried(float(by_visit[chosen].sum()), (v for _, v in through), sign)):
        return None
    en, ko = (
        phrase("origin.days.visits", x, visits=listed(tuple(said(i, x) for i in sorted(chosen)), x), share=carry)
        for x in LANGUAGES
    )
    return OriginSentence(en, ko, through)


def _month(days: Days, step: int) -> str:
    return days.date(step).isoformat()[:7]


def _sums(days: Days, steps: Sequence[int], currency: str, language: Language) -> str:
    """`3 purchases, $90.00 spent, $1,000.00 paid in` of some days together."""
    said = []
    if n := sum(days.purchases(i) for i in steps):
        spent = quantity(sum(days.spend(i) for i in steps), currency, language)
        said.append(phrase("origin.days.bought_one" if n == 1 else "origin.days.bought", language, n=n, amount=spent))
    for key, channel in (("paid_in", MONEY_IN), ("paid_out", MONEY_OUT)):
        if (amount := sum(days.moved(i, channel) for i in steps)) > 0:
            said.append(phrase(f"origin.days.{key}", language, amount=quantity(amount, currency, language)))
    return ", ".join(said) or phrase("origin.days.refund", language)
