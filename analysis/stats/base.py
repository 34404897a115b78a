"""Mergeable statistics: frozen values with `+`, so that shards, batches and cohorts add up to one pass (torchmetrics' idea).

Fields add, unless the class lists them in `SAME` or `LARGEST`. `measure(a ++ b)` equals `measure(a) + measure(b)` for every
statistic; one property test covers all of them.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MIN_ROWS = 100
"""Below this many rows a share is not worth a verdict (standard error of a share up to 5 points)."""
HALVED = 64
"""Rows from which a symmetric matrix is stored as its upper triangle."""


@dataclass(frozen=True, eq=False)
class Statistic:
    """Base of all statistics: frozen dataclasses whose fields add, except for those that a subclass lists otherwise."""

    SAME: ClassVar[frozenset[str]] = frozenset()
    """Fields on which two merged statistics must agree (names, widths)."""
    LARGEST: ClassVar[frozenset[str]] = frozenset()
    """Fields of which the larger value survives."""

    def __add__(self, other: Self) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        merged = {}
        for f in dataclasses.fields(self):
            rule = "same" if f.name in self.SAME else "max" if f.name in self.LARGEST else "sum"
            merged[f.name] = _merge(getattr(self, f.name), getattr(other, f.name), rule, f"{type(self).__name__}.{f.name}")
        return type(self)(**merged)


def _merge(a: Any, b: Any, rule: str, name: str) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, Statistic):
        return a + b
    if isinstance(a, Mapping) and rule != "same":
        return {k: _merge(a.get(k), b.get(k), rule, f"{name}.{k}") for k in [*a, *(k for k in b if k not in a)]}
    if rule == "sum":
        return a + b
    if rule == "max":
        return np.maximum(a, b) if isinstance(a, np.ndarray) else max(a, b)
    equal = np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else bool(np.all(a == b))
    if not equal:
        raise ValueError(f"{name} differs between the merged statistics: {a!r} and {b!r}")
    return a


def ratio(part: Any, whole: Any) -> Any:
    """part / whole, NaN where the whole is zero: nothing measured is never zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.asarray(part, dtype=np.float64) / np.asarray(whole, dtype=np.float64)
    out = np.where(np.asarray(whole) == 0, np.nan, out)
    return float(out) if out.ndim == 0 else out


def entropy(p: NDArray[Any], axis: int = -1) -> Any:
    """Shannon entropy in nats; 0 log 0 = 0."""
    q = np.asarray(p, dtype=np.float64)
    q = np.where(q > 0, q, 1.0)
    return -np.sum(q * np.log(q), axis=axis)


def finite_rows(x: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[n] rows of [n, w] whose numbers are all finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(x.sum()):  # what is no number stays none in a sum
            return np.ones(len(x), dtype=np.bool_)
    return np.asarray(np.isfinite(x).all(axis=1))


def jensen_shannon(p: NDArray[Any], q: NDArray[Any], axis: int = -1) -> Any:
    """Jensen-Shannon distance in [0, 1]: root of the divergence with base-2 logarithms (Endres & Schindelin 2003)."""
    mean = (np.asarray(p, dtype=np.float64) + np.asarray(q, dtype=np.float64)) / 2
    divergence = entropy(mean, axis) - (entropy(p, axis) + entropy(q, axis)) / 2
    return np.sqrt(np.clip(divergence / np.log(2), 0.0, 1.0))


def pack(value: Any) -> tuple[str, dict[str, NDArray[Any]]]:
    """A statistic as (JSON text, arrays by path): what npz + JSON store, without any object array."""
    arrays: dict[str, NDArray[Any]] = {}
    return json.dumps(_pack(value, "s", arrays, {}), allow_nan=True), arrays


def _pack(value: Any, path: str, arrays: dict[str, NDArray[Any]], places: dict[int, str]) -> Any:
    if value is None or (isinstance(value, (str, int, float)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.ndarray):
        shared = places.setdefault(id(value), path)  # bins that several counts share are stored once
        if _symmetric(value):
            arrays[shared] = value[np.triu_indices(len(value))]
            return {"@symmetric": shared}
        arrays[shared] = value
        return {"@array": shared}
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _pack(getattr(value, f.name), f"{path}.{f.name}", arrays, places) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _pack(v, f"{path}.{k}", arrays, places) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, f"{path}.{i}", arrays, places) for i, v in enumerate(value)]
    return value


def _symmetric(x: NDArray[Any]) -> bool:
    """Whether half of it says all: sums of outer products are most of what a store holds."""
    return x.ndim == 2 and x.shape[0] == x.shape[1] >= HALVED and np.array_equal(x, x.T)


def _whole(half: NDArray[Any]) -> NDArray[Any]:
    """The symmetric matrix of an upper triangle."""
    n = int((np.sqrt(8 * len(half) + 1) - 1) / 2)
    out = np.zeros((n, n), half.dtype)
    out[np.triu_indices(n)] = half
    return out + np.triu(out, 1).T


def unpack(cls: type[Any], text: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The inverse of `pack` for a statistic of class `cls`. A field that a class no longer has is not read."""
    return _unpack(cls, json.loads(text), arrays)


@cache
def _shape(kind: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any] | None]:
    """(origin, arguments, a dataclass's annotated fields); there are few kinds, and tens of thousands of values."""
    hints = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) and isinstance(kind, type) else None
    return typing.get_origin(kind), typing.get_args(kind), hints


def _unpack(kind: Any, value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict) and len(value) == 1 and "@array" in value:
        return arrays[value["@array"]]
    if isinstance(value, dict) and len(value) == 1 and "@symmetric" in value:
        return _whole(arrays[value["@symmetric"]])
    origin, args, hints = _shape(kind)
    if origin is not None and type(None) in args:
        return _unpack(next(a for a in args if a is not type(None)), value, arrays)
    if hints is not None:
        return kind(**{k: _unpack(hints[k], v, arrays) for k, v in value.items() if k in hints})
    if isinstance(value, dict):
        inner = args[1] if len(args) == 2 else Any
        return {k: _unpack(inner, v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        inner = args[0] if args else Any
        items = [
            _unpack(args[i] if origin is tuple and Ellipsis not in args and i < len(args) else inner, v, arrays)
            for i, v in enumerate(value)
        ]
        return tuple(items) if origin is tuple or kind is tuple else items
    return value
