"""Names of input parts that several experts read, in the form of `Expert.reads`, and how absent rows are cleared."""

from __future__ import annotations

import torch
from torch import Tensor

from ple_model.schema import MERCHANT_SLICE_PARTS, PARTS

NORMALIZED_PARTS: tuple[str, ...] = tuple(f"features:{part}" for group, part, _ in PARTS if group != "raw_power_law")
"""The parts of `features[:, :644]`."""

MERCHANT_PARTS: tuple[str, ...] = tuple(f"features:{part}" for part in MERCHANT_SLICE_PARTS)
"""The parts of the merchant slice, 27 columns."""


def cleared(value: Tensor, present: Tensor) -> Tensor:
    """`value` [B, ...] with the rows that are not `present` [B] set to zero.

    What an absent row holds is undefined. A NaN there would reach the gradient of every weight, since 0 * NaN is NaN, even
    though the row's output is replaced."""
    return torch.where(present.view(-1, *[1] * (value.dim() - 1)), value, torch.zeros_like(value))
