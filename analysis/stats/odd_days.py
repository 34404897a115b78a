"""How many customers have last days that the run's pre-trained encoder cannot explain, and where and when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OddGroup:
    """Customers of one cut-off and segment, each at their latest cut-off."""

    cutoff: str
    segment: str
    customers: int
    odd: int
    """whose last days are beyond the limit"""


@dataclass(frozen=True)
class OddDays:
    """Of customers whose last days neither trained the run nor are in the reference, each at their latest cut-off."""

    reason: str = ""
    """Why it was not measured; empty where it was."""
    sequence: str = ""
    last: int = 0
    """Days (steps) of a score."""
    split: str = ""
    """Of the reference; empty in analyses that were made when it was another one."""
    reference: int = 0
    """Validation customers of the run's sample with seen last days, each at their latest cut-off."""
    rank: int = 0
    """The limit is the rank-th smallest of their scores: 99 % of them are below it."""
    groups: tuple[OddGroup, ...] = ()
    day: str = ""
    """The date that most of those beyond the limit are oddest on; empty for sequences without dates."""
    day_customers: int = 0

    @property
    def customers(self) -> int:
        return sum(g.customers for g in self.groups)

    @property
    def odd(self) -> int:
        return sum(g.odd for g in self.groups)
