"""One key that a study varies, and its values as drawn, shown and typed. Free of torch, so that a study can be read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["float", "int", "choice"]
Value = float | int | str
"""Of a parameter: a number, or a choice as YAML text."""
DIGITS = 4
"""Significant digits that a drawn number keeps: what is tried can be read and typed again."""


@dataclass(frozen=True)
class Dimension:
    """One key and what it may be: numbers from `low` to `high`, or one of `choices` (YAML texts)."""

    key: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()
    first: int = 0
    help: str = ""

    @property
    def ordered(self) -> bool:
        """Whether the choices are numbers in ascending order."""
        try:
            numbers = [float(c) for c in self.choices]
        except ValueError:
            return False
        return len(numbers) > 1 and numbers == sorted(numbers)

    @property
    def range(self) -> str:
        """As `--key` takes it."""
        if self.kind == "choice":
            return "|".join(self.choices)
        return f"{text_of(self.low)}..{text_of(self.high)}{':log' if self.log else ''}"

    def rounded(self, value: float) -> Value:
        """A drawn number with as many digits as are kept, within the range."""
        if self.kind == "int":
            return int(min(max(round(value), self.low), self.high))
        return float(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def text_of(value: Value) -> str:
    """A value as YAML and as a person types it."""
    return value if isinstance(value, str) else f"{value:.15g}"


def setting(key: str, value: Value) -> str:
    """`key=value` as `--set` takes it."""
    return f"{key}={text_of(value)}"
