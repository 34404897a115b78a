"""Which brands a dataset's labels may name: those of its training rows, the most frequent first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MAX_BRANDS = 2048


def training_brands(brands: Iterable[str | None]) -> list[tuple[str, int]]:
    """The brands of the training labels with their counts."""
    counts = Counter(b for b in brands if b is not None)
    return sorted(counts.items(), key=lambda x: (-x[1], x[0]))[:MAX_BRANDS]
