"""Amounts of money as a reader of each language knows them."""

from __future__ import annotations

import pytest

from ple_model.errors import UserError
from ple_model.money import is_money, money, require_currency
from ple_model.numerals import Language

GOLDEN = {
    # unit: value -> (English, Korean)
    "KRW": {1234.5: ("₩1,234", "₩1,234"), -4117.0: ("-₩4,117", "-₩4,117"), 1.81e9: ("₩1,810,000,000", "₩1,810,000,000")},
    "USD": {1234.5: ("$1,234.50", "US$1,234.50"), 21.1: ("$21.10", "US$21.10"), -0.004: ("$0.00", "US$0.00")},
    "EUR": {1234.5: ("€1,234.50", "€1,234.50"), 1e-12: ("€0.00", "€0.00")},
    "JPY": {1810.0: ("¥1,810", "JP¥1,810"), -0.2: ("¥0", "JP¥0")},
    "currency": {1234.5: ("1,234.5", "1,234.5"), 1.81e3: ("1,810", "1,810"), -2e-17: ("0", "0"), 21.1: ("21.1", "21.1")},
}


@pytest.mark.parametrize("unit", GOLDEN)
def test_each_currency_is_written_in_its_own_way(unit: str) -> None:
    for value, (english, korean) in GOLDEN[unit].items():
        assert (money(value, unit), money(value, unit, "ko")) == (english, korean)


def test_a_difference_has_its_sign_and_nothing_has_none() -> None:
    assert [money(v, "USD", signed=True) for v in (3.5, -3.5, 0.001, -0.001)] == ["+$3.50", "-$3.50", "$0.00", "$0.00"]
    assert money(float("nan"), "USD") == "unknown"


def test_a_code_is_taken_in_any_case_and_another_word_is_refused_with_the_nearest() -> None:
    assert (require_currency("here", "krw"), require_currency("here", None), require_currency("here", "")) == ("KRW", "", "")
    for wrong, nearest in {"KWR": "KRW", "USB": "USD", "EURO": "EUR", "jpn": "JPY"}.items():
        with pytest.raises(UserError, match=f"here is '{wrong}', which is no ISO 4217 code; did you mean '{nearest}'"):
            require_currency("here", wrong)
    with pytest.raises(UserError, match="here is 410"):
        require_currency("here", 410)


def test_units_that_are_money() -> None:
    assert [u for u in ("KRW", "currency", "days", "NBA", "log currency", "") if is_money(u)] == ["KRW", "currency"]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_code_stands_apart_from_its_digits(language: Language) -> None:
    assert money(438.891, "PLN", language) == "PLN\u00a0438.89"
    assert money(-1234.5, "CHF", language) == "-CHF\u00a01,234.50"
    assert money(5, "PLN", language, signed=True) == "+PLN\u00a05.00"
    assert money(1234.5, "USD", language).endswith("$1,234.50")
