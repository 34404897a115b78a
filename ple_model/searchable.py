"""What a config field may be searched over, declared beside its help text (`key(..., search=Between(1e-4, 1e-2, log=True))`).

A new key becomes searchable by `ple tune` through its own declaration; nothing lists keys a second time. `first` is the place
in the order in which keys are tried first, 0 for those that are searched only when asked for. The order is the reference's
("Tuning strategy"): learning rate, how far back, patches, widths, batch size, dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SEARCH = "search"
"""Key of a field's metadata."""


@dataclass(frozen=True)
class Between:
    """Numbers from `low` to `high`, both included; `log`: each factor is as likely as any other."""

    low: float
    high: float
    log: bool = False
    first: int = 0


@dataclass(frozen=True)
class OneOf:
    """These values; where all are numbers in ascending order, their order is made use of."""

    values: tuple[Any, ...]
    first: int = 0


Search = Between | OneOf
