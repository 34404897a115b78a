"""Currencies and how amounts of money are written: the one place that turns an amount into text.

A currency is an ISO 4217 code, empty where it is not known. Signs, digits and grouping are those of the reader's language
(Unicode CLDR, by way of Babel): a won has no decimals, a dollar two.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import cache

from ple_model.errors import UserError
from ple_model.numerals import Language

UNKNOWN = "currency"
"""Unit of an amount whose currency is not known; where it is known, the unit is its code."""


@cache
def currencies() -> frozenset[str]:
    """The ISO 4217 codes."""
    from babel.numbers import list_currencies  # late: most commands write no money

    return frozenset(list_currencies())


@cache
def in_use() -> tuple[str, ...]:
    """Those that are legal tender somewhere today: what a mistyped code most likely means."""
    from babel.core import get_global  # late: babel
    from babel.numbers import get_territory_currencies  # late: babel

    return tuple(sorted({c for t in get_global("territory_currencies") for c in get_territory_currencies(t)}))


def require_currency(where: str, value: object) -> str:
    """`value` as a code, empty for none; `UserError` says where it stands and the nearest code."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        raise UserError(f"{where} is {value!r}; give an ISO 4217 code such as USD, in quotes if YAML reads it as another value")
    code = value.strip().upper()
    if code not in currencies():
        raise UserError(f"{where} is '{value}', which is no ISO 4217 code; did you mean '{_nearest(code)}'?")
    return code


def _nearest(code: str) -> str:
    """The code of the same letters in another order, else the one with most letters in their place."""
    return min(in_use(), key=lambda c: (sorted(c) != sorted(code), -sum(a == b for a, b in zip(c, code, strict=False))))


def is_money(unit: str) -> bool:
    """Whether a unit is that of an amount: a currency, known or not."""
    return unit == UNKNOWN or (len(unit) == 3 and unit.isascii() and unit.isupper() and unit in currencies())


def decimals_of(unit: str) -> int:
    """How many decimals an amount in this unit is written with."""
    from babel.numbers import get_currency_precision  # late: babel

    return get_currency_precision(unit) if unit not in (UNKNOWN, "") else 2


def money(value: float, unit: str, language: Language = "en", *, signed: bool = False) -> str:
    """An amount as text: `$1,234.50`, `₩1,234`; the grouped number alone where the currency is not known. `signed`: with a plus
    where it is more than nothing, for differences."""
    from babel.numbers import format_currency, format_decimal, get_currency_precision  # late: babel

    if not math.isfinite(value):
        return "unknown" if language == "en" else "알 수 없음"
    known = unit != UNKNOWN and unit != ""
    amount = round(Decimal(repr(float(value))), get_currency_precision(unit) if known else 2)
    amount = amount if amount else Decimal(0)  # what rounds to nothing has no sign
    text = format_currency(amount, unit, locale=language) if known else format_decimal(amount, "#,##0.##", locale=language)
    text = re.sub(r"(?<=[A-Za-z])(?=\d)", "\u00a0", text)  # as CLDR parts a code from the digits; Babel leaves it out
    return f"+{text}" if signed and amount > 0 else str(text)
