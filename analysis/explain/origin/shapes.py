"""What the shape of activity was drawn from, in days and amounts: the ups and downs that the topology measures.

The short shape is that of what is done on an active day, as a mean over seven days; the stored days and visits give it back.
The long one is that of a year's weekly spend, of which the run stores half a year: said is what that half year holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.explain.origin.days import EVENTS, Days
from analysis.explain.origin.told import REST, OriginSentence
from analysis.i18n import phrase
from analysis.wording import quantity
from ple_model.data.derived.sequences import TXN_STEPS
from ple_model.data.derived.tda import busyness
from ple_model.numerals import Language, number

Array = NDArray[np.float64]
SHORT_DAYS, WEEK = 90, 7
LONG_WEEKS = TXN_STEPS // WEEK


def of_shape(days: Days, short: bool, long: bool, currency: str, value: float) -> OriginSentence | None:
    """The ups and downs behind the topological inputs, of those spans that the customer has; None where the stored days and
    visits do not give them back."""

    def said(language: Language) -> list[str]:
        each = [_short(days, language) if short else "", _long(days, currency, language) if long else ""]
        return [text for text in each if text]

    if not said("en"):
        return None
    en, ko = ("; ".join(said("en")), f"{', '.join(said('ko'))}.")
    return OriginSentence(f"{en[:1].upper()}{en[1:]}", ko, ((REST, value),))


def done(days: Days) -> Array | None:
    """[90] purchases and steps in the app or web on an active day, as a mean over the seven days that end with each (of no
    active one: as before); None where the stored visits do not reach back so far."""
    if not days.visits_known(SHORT_DAYS + WEEK):
        return None
    actions, active = _actions(days)
    return np.asarray(np.expm1(busyness(actions[None], active[None], SHORT_DAYS)[0]))


def _actions(days: Days) -> tuple[Array, NDArray[np.bool_]]:
    """[180] purchases and steps of each day, and whether there was a purchase or a visit."""
    bought = np.array([days.purchases(i) for i in range(TXN_STEPS)], dtype=np.float64)
    there, back = days.there, days.visit_back()
    steps, visits = np.zeros(TXN_STEPS), np.zeros(TXN_STEPS)
    for i in np.flatnonzero(there & (back >= 1) & (back <= TXN_STEPS)):
        steps[TXN_STEPS - back[i]] += np.rint(np.expm1(days.visits[i, EVENTS]))
        visits[TXN_STEPS - back[i]] += 1
    return bought + steps, (bought + visits) > 0


def weekly(days: Days) -> Array:
    """[25] spend of the whole weeks that are stored, the newest last."""
    spend = np.array([days.spend(i) for i in range(TXN_STEPS - WEEK * LONG_WEEKS, TXN_STEPS)])
    return np.asarray(spend.reshape(LONG_WEEKS, WEEK).sum(1))


def _short(days: Days, language: Language) -> str:
    level = done(days)
    if level is None:
        return ""
    active, first = _actions(days)[1], TXN_STEPS - SHORT_DAYS
    level[[not active[i - WEEK + 1 : i + 1].any() for i in range(first, TXN_STEPS)]] = np.nan  # no active day, no level
    if np.isnan(level).all():
        return ""
    high, low = float(np.nanmax(level)), float(np.nanmin(level))
    if number(high) == number(low):
        return ""
    most, least = (days.date(first + int(i)).isoformat() for i in (np.nanargmax(level), np.nanargmin(level)))
    return phrase("origin.shape.short", language, high=number(high), most=most, low=number(low), least=least)


def _long(days: Days, currency: str, language: Language) -> str:
    spend = weekly(days)
    if not spend.max() > 0:
        return ""
    first = TXN_STEPS - WEEK * LONG_WEEKS
    high, low = (first + WEEK * int(i) for i in (spend.argmax(), spend.argmin()))
    none = int((spend == 0).sum())
    values = {
        "high": quantity(float(spend.max()), currency, language), "most": days.date(high).isoformat(),
        "low": quantity(float(spend.min()), currency, language), "least": days.date(low).isoformat(),
        "none": none, "of": LONG_WEEKS,
    }  # fmt: skip
    return phrase("origin.shape.long_quiet" if none else "origin.shape.long", language, **values)
