"""The 734 columns of `features` by name, group and part. `feature_schema.yaml` is the single source of truth (model.md 2.1)."""

from __future__ import annotations

PARTS: tuple[tuple[str, str, int], ...] = (
    ("base", "rfm", 34), ("base", "category", 64), ("base", "transaction_stats", 80), ("base", "temporal", 60),
    ("multi_source", "deposit", 20), ("multi_source", "membership", 15), ("multi_source", "investment", 18),
    ("multi_source", "credit", 12), ("multi_source", "digital", 14), ("multi_source", "product", 12),
    ("domain", "tda_short", 24), ("domain", "tda_long", 36), ("domain", "phase_transition", 10), ("domain", "gmm", 22),
    ("domain", "mamba_temporal", 50), ("domain", "income_decomposition", 8), ("domain", "financial_behavior", 9),
    ("multidisciplinary", "chemical", 6), ("multidisciplinary", "epidemic", 5), ("multidisciplinary", "interference", 8),
    ("multidisciplinary", "crime", 5),
    ("model_derived", "bandit", 4), ("model_derived", "hmm_summary", 5), ("model_derived", "lnn", 18),
    ("extended_source", "insurance", 25), ("extended_source", "consultation", 18), ("extended_source", "campaign", 12),
    ("extended_source", "overseas", 6), ("extended_source", "other_channel", 23),
    ("merchant", "mcc_l1", 4), ("merchant", "mcc_l2", 4), ("merchant", "merchant_brand", 8), ("merchant", "merchant_stats", 4),
    ("merchant", "radius", 1),
    ("raw_power_law", "raw_power_law", 90),
)  # fmt: skip
"""(group, part, width) in column order; the widths sum to 734."""


def _slices() -> dict[str, slice]:
    out: dict[str, slice] = {}
    start = 0
    for _, part, width in PARTS:
        out[part] = slice(start, start + width)
        start += width
    return out


PART_SLICES: dict[str, slice] = _slices()
"""Columns of each part: `PART_SLICES["overseas"] == slice(594, 600)`."""

MERCHANT_SLICE_PARTS: tuple[str, ...] = ("overseas", "mcc_l1", "mcc_l2", "merchant_brand", "merchant_stats", "radius")
"""The 27 columns that unified_hgcn reads beside the hierarchy coordinates: 594-599 and 623-643."""
