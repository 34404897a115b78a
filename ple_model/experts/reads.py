"""Names of input parts that several experts read, in the form of `Expert.reads`, and how absent rows are cleared."""

from __future__ import annotations

import torch
from torch import Tensor

from ple_model.context import ModelContext
from ple_model.presence import is_part, part_key
from ple_model.schema import MERCHANT_SLICE_PARTS, PARTS, RAW_PART

NORMALIZED_PARTS: tuple[str, ...] = tuple(part_key(part) for group, part, _ in PARTS if group != "raw_power_law")
"""The parts of the normalised columns, in the package's schema."""

MERCHANT_PARTS: tuple[str, ...] = tuple(part_key(part) for part in MERCHANT_SLICE_PARTS)
"""The parts of the merchant slice, 27 columns."""

RAW_PARTS: tuple[str, ...] = (part_key(RAW_PART),)


def read_in(declared: tuple[str, ...], context: ModelContext) -> tuple[str, ...]:
    """What an expert that declares these reads of the data of `context`: where the columns are those of another table, their
    normalised or raw parts instead of the package's. A merchant slice such a table does not have."""
    if context.own is None:
        return declared
    split = context.n_normalized
    ours = {
        NORMALIZED_PARTS: tuple(part_key(p) for p, where in context.parts.items() if where.stop <= split),
        RAW_PARTS: tuple(part_key(p) for p, where in context.parts.items() if where.start >= split),
    }
    return ours.get(declared, tuple(r for r in declared if not is_part(r)))


def cleared(value: Tensor, present: Tensor) -> Tensor:
    """`value` [B, ...] with the rows that are not `present` [B] set to zero.

    What an absent row holds is undefined. A NaN there would reach the gradient of every weight, since 0 * NaN is NaN, even
    though the row's output is replaced."""
    return torch.where(present.view(-1, *[1] * (value.dim() - 1)), value, torch.zeros_like(value))
