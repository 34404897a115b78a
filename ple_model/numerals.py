"""Numbers as text: the one place for counts, statistics, shares and times, in tables of the shell and on pages.

Digits are written alike in English and Korean. What differs between them stands elsewhere: amounts of money in
`ple_model.money`, values with their units in `analysis.wording`.
"""

from __future__ import annotations

import math
from typing import Literal

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, Language] = ("en", "ko")
ROUNDING = 1e-12
"""What arithmetic in double precision leaves of nothing."""


def number(value: float) -> str:
    """A number at the precision a reader needs."""
    if not math.isfinite(value):
        return "unknown"
    size = abs(value)
    if round(size, 2) == 1:  # a 1 that a normaliser's rounding left just below is no `1.00`
        size = max(size, 1.0)
    if size >= 100 or (size >= 1 and abs(value - round(value)) < 0.05):
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:,.1f}"
    return "0" if size < 5e-4 else f"{value:.2f}" if size >= 0.05 else f"{value:.3f}"


def statistic(value: float | None, none: str = "–") -> str:
    """A statistic in a card, a table or a report: three significant digits, thousands separated; `none` where there is none."""
    if value is None or not math.isfinite(value):
        return none
    if abs(value) < ROUNDING:
        return "0"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def fixed(value: float | None, decimals: int, none: str = "-") -> str:
    """A number in a column of numbers: as many decimals in every row."""
    return none if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def entry(value: float) -> str:
    """A number of somebody's own data: whole where it is, else with two decimals."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def percent(value: float) -> str:
    """A probability to a tenth of a percent; what rounds to nothing has no sign."""
    return f"{0.0 if abs(value) < 5e-4 else value:.1%}"


def share(value: float, whole: float = 0.095) -> str:
    """A part of a whole: in percent, to a tenth of one below `whole`; what a normaliser's rounding leaves is nothing."""
    value = 0.0 if abs(value) < 5e-4 else value
    return f"{value:.0%}" if abs(value) >= whole or value == 0 else f"{value:.1%}"


def megabytes(size: float) -> str:
    """Bytes of a file or a disk."""
    return f"{size / 1e6:,.1f} MB"


def clock(seconds: float) -> str:
    """`2h05m`, `3m20s`, `45s`: narrow enough for a line that changes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
