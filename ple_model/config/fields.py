"""A field of the configuration, and plain data as one: its help text, its bounds, what it may be searched over.

Whatever arrives is converted strictly: an unknown key, another type and a value out of bounds are `UserError`s that name
the key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from ple_model.arguments import shown
from ple_model.errors import UserError, did_you_mean
from ple_model.searchable import SEARCH, Search


def key(
    default: Any, help: str, low: int | float | None = None, high: int | float | None = None, search: Search | None = None
) -> Any:
    """A config field with its help text, its bounds where they are not those of its kind (`BOUNDS`), and what it may be
    searched over (`searchable`)."""
    metadata = {"help": help, "low": low, "high": high, SEARCH: search}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


BOUNDS: dict[type, tuple[float, float]] = {int: (1, 65_536), float: (-1e6, 1e6)}
"""Least and largest value of a key that names no bounds of its own: integers are widths and numbers of something."""


def shown_key(value: object) -> str:
    """A key of a mapping as it was written, shortened."""
    return value if isinstance(value, str) and len(value) <= 60 else shown(value)


def require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise UserError(f"{name}: {shown(value)} is not valid, {rule}")


T = TypeVar("T")


def _convert(value: Any, kind: Any, name: str, about: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """`value` as the annotated type `kind`, within the bounds of the field's metadata `about`; `UserError` names the key."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        inner = [a for a in args if a is not type(None)]
        return _convert(value, inner[0], name, about)
    if origin is Literal:
        switch = {False: "off", True: "on"}.get(value) if isinstance(value, bool) else None
        if switch in args:  # YAML 1.1 reads a bare off or on as a truth value
            return switch
        if value not in args:
            raise UserError(f"{name}: {shown(value)} is not valid{did_you_mean(shown(value), map(str, args))}")
        return value
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{name}: {shown(value)} is not a mapping")
        return {shown_key(k): _convert(v, args[1], f"{name}.{k}", about) for k, v in value.items() if v is not None}
    if origin is list:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{name}: {shown(value)} is not a list")
        return [_convert(v, args[0], f"{name}[{i}]", about) for i, v in enumerate(value)]
    if dataclasses.is_dataclass(kind):
        return from_mapping(typing.cast(type, kind), value, name)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 5e-4 as a string
        with contextlib.suppress(ValueError):
            value = float(value)
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise UserError(f"{name}: {shown(value)} is {type(value).__name__}, expected {kind.__name__}")
    if kind in BOUNDS:
        _within(value, kind, name, about)
    return float(value) if kind is float else value


def _within(value: Any, kind: type, name: str, about: Mapping[str, Any]) -> None:
    """`UserError` unless the number is finite and within its key's bounds, or those of its kind."""
    low, high = ((about.get(k) if about.get(k) is not None else d) for k, d in zip(("low", "high"), BOUNDS[kind], strict=True))
    if value != value:
        raise UserError(f"{name}: nan is not valid, it must be a number")
    if value < low:
        raise UserError(f"{name}: {shown(value)} is not valid, it must be at least {low:,}")
    if value > high:
        raise UserError(f"{name}: {shown(value)} is not valid, it must be at most {high:,}")


def from_mapping(cls: type[T], value: Any, name: str) -> T:
    """The dataclass of config fields `cls` from plain data; `UserError` names the key under `name` that is unknown or wrong."""
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise UserError(f"{name}: {shown(value)} is not a mapping")
    hints = typing.get_type_hints(cls)
    known = {f.name: f.metadata for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for k in value:
        if k not in known:
            raise UserError(f"{name}.{shown_key(k)}: unknown key{did_you_mean(shown_key(k), known)}")
    return cls(**{k: _convert(v, hints[k], f"{name}.{k}", known[k]) for k, v in value.items()})
