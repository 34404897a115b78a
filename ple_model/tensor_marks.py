"""A tensor's mark: a hash of its bytes and three sums, by which a later reader can say not only that it changed but how.

The hash decides. From the sums a change is reconstructed and proven: a single value that was replaced is put back, and the
hash must then be the old one; a factor must explain all three sums.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.stored import Stored

HASH = 16
"""Hexadecimal digits of a stored hash: 64 bits tell damage from none."""
How = Literal["value", "factor", "order", "rounded", "other"]
CLOSE = 1e-5
"""Relative agreement of sums that a factor must reach: float32 rounds each value to 6e-8 of itself, and sums of up to a million
of them stay far below this."""

TINY = 2.0**-24
"""Below this 16 bits hold nothing but 0."""
HALVES = ((torch.float16, 2.0**-11), (torch.bfloat16, 2.0**-8))
"""Kinds of 16 bits with what rounding to them moves a value by, as a share of it."""


@dataclass(frozen=True)
class TensorMark:
    """What is kept of one tensor; sums are NaN where a value is."""

    hash: str
    values: int
    total: float
    squares: float
    weighted: float
    """Sum of each value times its place, counted from 1: tells an order from another."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "hash": self.hash, "values": self.values, "total": self.total, "squares": self.squares, "weighted": self.weighted,
        }  # fmt: skip

    @staticmethod
    def from_stored(found: Stored) -> TensorMark:
        """`UserError` names what is wrong."""
        sums = (found.number(k, finite=False) for k in ("total", "squares", "weighted"))
        return TensorMark(found.text("hash", 64), found.whole("values"), *sums)

    @property
    def size(self) -> float:
        """Root of the mean square of its values; NaN for none."""
        return math.sqrt(self.squares / self.values) if self.values and self.squares >= 0 else math.nan


@dataclass(frozen=True)
class MarkDifference:
    """How a tensor differs from its mark."""

    how: How
    factor: float = math.nan
    place: int = -1
    """Of the one value that was replaced."""
    was: float = math.nan
    now: float = math.nan


def mark(tensor: Tensor) -> TensorMark:
    """The mark of a tensor."""
    x = _flat(tensor)
    with np.errstate(all="ignore"):
        return TensorMark(_hash(tensor), len(x), float(x.sum()), float(x @ x), float(x @ np.arange(1, len(x) + 1)))


def marks(tensors: Mapping[str, Tensor]) -> dict[str, TensorMark]:
    return {name: mark(value) for name, value in tensors.items()}


def change(old: TensorMark, tensor: Tensor) -> MarkDifference | None:
    """None where the bytes are those of the mark."""
    if _hash(tensor) == old.hash:
        return None
    new = mark(tensor)
    if new.values != old.values:
        return MarkDifference("other")
    found = _rounded(old, new, tensor) or _one_value(old, new, tensor) or _factor(old, new) or _order(old, new)
    return found or MarkDifference("other")


def _one_value(old: TensorMark, new: TensorMark, tensor: Tensor) -> MarkDifference | None:
    """The one value that, put back to what the old sum says, gives the old hash."""
    x = _flat(tensor)
    if not len(x) or not math.isfinite(old.total):
        return None
    lost = np.flatnonzero(~np.isfinite(x))
    places = {int(np.abs(np.where(np.isfinite(x), x, 0.0)).argmax()), *(map(int, lost) if len(lost) == 1 else ())}
    step = new.total - old.total
    if step and math.isfinite(step) and math.isfinite(new.weighted) and math.isfinite(old.weighted):
        places.add(round((new.weighted - old.weighted) / step) - 1)
    for k in sorted(p for p in places if 0 <= p < len(x)):
        was = old.total - float(np.delete(x, k).sum())
        if not math.isfinite(was):
            continue
        back = tensor.detach().cpu().clone()
        back.view(-1)[k] = was if back.is_floating_point() else round(was)
        if _hash(back) == old.hash:
            return MarkDifference("value", place=k, was=float(back.view(-1)[k]), now=float(x[k]))
    return None


def _factor(old: TensorMark, new: TensorMark) -> MarkDifference | None:
    """All values times one number."""
    if not (old.squares > 0 and math.isfinite(new.squares) and old.values > 1):
        return None
    size = math.sqrt(new.squares / old.squares)
    scale = math.sqrt(old.squares * old.values)
    for factor in (size, -size):
        near = abs(new.total - factor * old.total) <= CLOSE * size * scale
        if near and abs(new.weighted - factor * old.weighted) <= CLOSE * size * scale * old.values:
            return MarkDifference("factor", factor=factor) if abs(factor - 1) > CLOSE else None
    return None


def _order(old: TensorMark, new: TensorMark) -> MarkDifference | None:
    """The same values in another order."""
    tight = 1e-9 * math.sqrt(old.squares * old.values) if old.squares > 0 else 0.0
    same = abs(new.total - old.total) <= tight and abs(new.squares - old.squares) <= 1e-9 * old.squares
    return MarkDifference("order") if same and new.weighted != old.weighted else None


def _rounded(old: TensorMark, new: TensorMark, tensor: Tensor) -> MarkDifference | None:
    """Every value is one that 16 bits hold, and the sums are within what rounding to them moves."""
    if tensor.dtype != torch.float32 or not (old.squares > 0 and math.isfinite(new.squares)):
        return None
    x = _flat(tensor)
    for kind, step in HALVES:
        if not _held(tensor, kind):
            continue
        near = abs(new.total - old.total) <= 2 * step * float(np.abs(x).sum()) + TINY * len(x)
        if near and abs(new.squares - old.squares) <= 4 * step * old.squares + TINY * len(x):
            return MarkDifference("rounded")
    return None


def in_16_bits(tensors: Sequence[Tensor]) -> bool:
    """Whether all values are ones that 16 bits hold: those of weights that were trained in 32 never are."""
    return bool(tensors) and any(all(_held(t, kind) for t in tensors) for kind, _ in HALVES)


def _held(tensor: Tensor, kind: torch.dtype) -> bool:
    return torch.equal(tensor.detach().to(kind).to(tensor.dtype), tensor.detach())


def _flat(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy(), dtype=np.float64).ravel()


def _hash(tensor: Tensor) -> str:
    """Of type, shape and bytes."""
    t = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{t.dtype}|{tuple(t.shape)}|".encode())
    digest.update(t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b"")
    return digest.hexdigest()[:HASH]
