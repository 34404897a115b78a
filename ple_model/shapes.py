"""The shape of plain values (JSON, YAML) from outside: one that does not fit is left out or named, never used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ple_model.stored import LARGE, LONGEST, plain_text

NUMBER = "a number or null"
WHOLE = "a whole number of at least 0"
FLAG = "true or false"
TEXT = "a text"


@dataclass(frozen=True)
class ListOf:
    """A list whose values have the shape `inner`."""

    inner: Any


@dataclass(frozen=True)
class MapOf:
    """A mapping of any names to the shape `inner`."""

    inner: Any


@dataclass(frozen=True)
class Keys:
    """A mapping whose known keys have these shapes. Those in `needed` must be there; unknown ones are let through, a later
    release may write them."""

    shapes: dict[str, Any]
    needed: tuple[str, ...] = ()


def misfit(value: Any, shape: Any, name: str = "") -> str | None:
    """`name is not ...` for the first part of `value` that has another shape; None where all fits."""
    if isinstance(shape, Keys):
        if not isinstance(value, dict):
            return f"{name or 'it'} is not a mapping"
        for key in shape.needed:
            if key not in value:
                return f"{_inner(name, key)} is missing"
        return _first((value[k], s, _inner(name, k)) for k, s in shape.shapes.items() if k in value)
    if isinstance(shape, MapOf):
        if not isinstance(value, dict) or not all(plain_text(k, 200) for k in value):
            return f"{name or 'it'} is not a mapping"
        return _first((v, shape.inner, _inner(name, k)) for k, v in value.items())
    if isinstance(shape, ListOf):
        if not isinstance(value, list):
            return f"{name or 'it'} is not a list"
        return _first((v, shape.inner, _inner(name, str(i))) for i, v in enumerate(value))
    return None if _plain(value, shape) else f"{name or 'it'} is not {shape}"


def _inner(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _first(parts: Any) -> str | None:
    return next((found for v, s, n in parts if (found := misfit(v, s, n)) is not None), None)


def _plain(value: Any, shape: str) -> bool:
    if shape == FLAG:
        return isinstance(value, bool)
    if shape == TEXT:
        return isinstance(value, str) and plain_text(value, LONGEST)
    if shape == WHOLE:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGE
    if value is None or isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**1000
