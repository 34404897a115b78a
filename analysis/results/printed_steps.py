"""How the numbers of one explanation are written: in whole steps of the last decimal that is printed. A page and a report that
count in the same steps call the same thing nothing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from analysis.i18n import phrase
from ple_model.money import decimals_of, is_money
from ple_model.numerals import Language

MINUS = "\N{MINUS SIGN}"
NAMED_UNITS = ("active days", "percentile", "share of limit", "share of spend", "log ratio")


class NumbersInPrint(Protocol):
    """What of an explanation says how its numbers are written."""

    @property
    def score_unit(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def prediction(self) -> float: ...

    @property
    def typical(self) -> float: ...


@dataclass(frozen=True)
class PrintedSteps:
    """How numbers of one explanation are written: `value * factor` with `decimals`."""

    factor: float
    decimals: int
    unit: str
    """What stands in the head of the column."""

    @staticmethod
    def of(found: NumbersInPrint, language: Language) -> PrintedSteps:
        """Points of percent for probabilities and shares, else the unit of the prediction with the decimals that it is shown
        with."""
        if found.score_unit == "probability" or found.unit == "share":
            return PrintedSteps(100.0, 1, phrase("review.in_points", language))
        if is_money(found.unit):
            return PrintedSteps(1.0, decimals_of(found.unit), found.unit)
        most = max(abs(found.prediction), abs(found.typical))
        unit = phrase(f"review.in_{found.unit.replace(' ', '_')}", language) if found.unit in NAMED_UNITS else found.unit
        return PrintedSteps(1.0, 0 if most >= 1000 else 1 if most >= 1 else 3, unit)

    def count(self, value: float) -> int:
        """The value in steps, rounded as it is printed."""
        return int(Decimal(f"{value * self.factor:.{self.decimals}f}").scaleb(self.decimals))

    def said(self, steps: int) -> str:
        """`+5.9`, `0.0`, a minus that is no hyphen."""
        sign = "+" if steps > 0 else MINUS if steps < 0 else ""
        return f"{sign}{abs(steps) / 10**self.decimals:,.{self.decimals}f}"
