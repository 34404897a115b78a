"""Names of the input parts that several experts read together, in the form of `Expert.reads`."""

from __future__ import annotations

from ple_model.schema import MERCHANT_SLICE_PARTS, PARTS

NORMALIZED_PARTS: tuple[str, ...] = tuple(f"features:{part}" for group, part, _ in PARTS if group != "raw_power_law")
"""The parts of `features[:, :644]`."""

MERCHANT_PARTS: tuple[str, ...] = tuple(f"features:{part}" for part in MERCHANT_SLICE_PARTS)
"""The parts of the merchant slice, 27 columns."""
