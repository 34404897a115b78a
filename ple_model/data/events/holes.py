"""Holes in time, as values: days without a table's events, and what they take from a cut-off. `find_holes.py` finds them.

Labels that look into a hole call active customers silent; features and conditions that look back into one see them less
active than they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

HISTORY_DAYS = 28
"""Days before a cut-off that say who is active at it."""
LONGEST_HORIZON = 3660
"""Days of labels beyond which a stored number is no horizon."""


@dataclass(frozen=True)
class Hole:
    """Days `first` to `last` (ISO, both in it) of one table with `share` of the usual events."""

    table: str
    first: str
    last: str
    share: float

    @property
    def days(self) -> int:
        return (date.fromisoformat(self.last) - date.fromisoformat(self.first)).days + 1

    def overlap(self, start: date, days: int) -> int:
        """Days of it within the `days` days from `start` on."""
        first, last = max(start, date.fromisoformat(self.first)), date.fromisoformat(self.last)
        return max(0, (min(last, start + timedelta(days=days - 1)) - first).days + 1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.table}: {self.first} to {self.last} ({self.days} days) has {self.share:.0%} of the usual events"


@dataclass(frozen=True)
class HoleCost:
    """What one hole takes from one cut-off: days of its labels, and of the recent history that conditions and features see."""

    cutoff: str
    hole: Hole
    label_days: int
    horizon_days: int
    history_days: int

    def __str__(self) -> str:
        parts = []
        if self.label_days:
            parts.append(f"{self.label_days} of its {self.horizon_days} days of labels")
        if self.history_days:
            parts.append(f"{self.history_days} of the {HISTORY_DAYS} days before it")
        wrong = "silence in them is no inactivity" if self.label_days else "its customers look less active than they were"
        return f"cut-off {self.cutoff}: {' and '.join(parts)} lie in a hole ({self.hole}); {wrong}"


def costs(holes: Sequence[Hole], cutoffs: Sequence[str], horizon_days: int) -> tuple[HoleCost, ...]:
    """Every hole that reaches into the labels or the recent history of a cut-off."""
    found = []
    for cutoff in cutoffs:
        day = date.fromisoformat(cutoff)
        for hole in holes:
            labels = hole.overlap(day, horizon_days)
            history = hole.overlap(day - timedelta(days=HISTORY_DAYS), HISTORY_DAYS)
            if labels or history:
                found.append(HoleCost(cutoff, hole, labels, horizon_days, history))
    return tuple(found)


def stored_costs(settings: Mapping[str, Any], cutoffs: Sequence[str]) -> tuple[HoleCost, ...] | None:
    """The costs of the holes that a dataset's settings hold; None where an older build did not look for them."""
    if not isinstance(settings.get("holes"), list):
        return None
    horizon = settings.get("label_days")
    days = horizon if isinstance(horizon, int) and 0 <= horizon <= LONGEST_HORIZON else 0
    return costs(_holes(settings["holes"]), [c for c in cutoffs if _is_day(c)], days)


def _holes(rows: list[Any]) -> tuple[Hole, ...]:
    keys: dict[str, type | tuple[type, ...]] = {"table": str, "first": str, "last": str, "share": (int, float)}
    good = [r for r in rows if isinstance(r, dict) and all(isinstance(r.get(k), t) for k, t in keys.items())]
    return tuple(Hole(r["table"], r["first"], r["last"], float(r["share"])) for r in good if _is_day(r["first"], r["last"]))


def _is_day(*texts: str) -> bool:
    try:
        return all(date.fromisoformat(t) for t in texts)
    except ValueError:
        return False
