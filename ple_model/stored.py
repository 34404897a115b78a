"""Values of a file that may come from a stranger, taken out by type and range; errors name the file and the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ple_model.errors import UserError

LONGEST = 4_000
"""Characters of one text."""
MANY = 10_000_000
"""Entries of one list or mapping: the trees of a bank with every product have some thousands."""
LARGE = 2**53
"""Beyond this a whole number is not one in JSON."""


def shown(value: object) -> str:
    """A value as it stands in the file, shortened."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class Stored:
    """The mapping in `path` (or a part of it, called `part`)."""

    path: Path
    values: Mapping[str, Any]
    part: str = ""

    @staticmethod
    def of(path: Path, value: object, part: str = "") -> Stored:
        if not isinstance(value, Mapping):
            raise UserError(f"{path} is damaged: {f'{part!r} is' if part else 'it is'} {shown(value)}, not a mapping")
        return Stored(path, value, part)

    def wrong(self, key: str, expected: str) -> UserError:
        name = f"{self.part}.{key}" if self.part else key
        if key not in self.values:
            return UserError(f"{self.path} is damaged: the key '{name}' is missing")
        return UserError(f"{self.path} is damaged: '{name}' is {shown(self.values[key])}, expected {expected}")

    def has(self, key: str) -> bool:
        """Is it there, and not null?"""
        return self.values.get(key) is not None

    def text(self, key: str, longest: int = LONGEST) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not plain_text(value, longest):
            raise self.wrong(key, f"a text of at most {longest:,} printable characters")
        return value

    def whole(self, key: str, low: int = 0, high: int = LARGE) -> int:
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, *, finite: bool = True) -> float:
        value = self.values.get(key)
        if value is None and key in self.values and not finite:
            return math.nan
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.wrong(key, "a number")
        try:
            number = float(value)
        except OverflowError as e:
            raise self.wrong(key, "a number") from e
        if finite and not math.isfinite(number):
            raise self.wrong(key, "a finite number")
        return number

    def items(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if not isinstance(value, (list, tuple)) or len(value) > MANY:
            raise self.wrong(key, "a list")
        return list(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Names that come from data may hold any character; whoever shows them escapes them."""
        found = self.items(key)
        if not all(isinstance(v, str) and len(v) <= LONGEST for v in found):
            raise self.wrong(key, "a list of texts")
        return tuple(found)

    def wholes(self, key: str, low: int = 0, high: int = LARGE) -> tuple[int, ...]:
        found = self.items(key)
        if not all(isinstance(v, int) and not isinstance(v, bool) and low <= v <= high for v in found):
            raise self.wrong(key, f"a list of whole numbers from {low} to {high}")
        return tuple(found)

    def numbers(self, key: str) -> tuple[float, ...]:
        """NaN and Inf are let through: who reads them names them with what they reach."""
        found = self.items(key)
        if not all((isinstance(v, (int, float)) and not isinstance(v, bool)) or v is None for v in found):
            raise self.wrong(key, "a list of numbers")
        return tuple(math.nan if v is None else _float(v) for v in found)

    def mapping(self, key: str) -> Stored:
        value = self.values.get(key)
        if not isinstance(value, Mapping) or len(value) > MANY or not all(isinstance(k, str) for k in value):
            raise self.wrong(key, "a mapping")
        return Stored(self.path, value, f"{self.part}.{key}" if self.part else key)


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def plain_text(value: str, longest: int) -> bool:
    """No longer than this, and without what moves a terminal's cursor or turns the writing direction."""
    return len(value) <= longest and not any(
        (c < " " and c not in "\n\t\r")
        or "\x7f" <= c <= "\x9f"
        or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for c in value
    )
