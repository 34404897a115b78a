"""Splits of a table that comes without them."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def customer_split(customers: Array, seed: int) -> Array:
    """70 / 15 / 15 by a hash of seed and id: a customer keeps its split whatever else is in the file."""
    share = np.array(
        [int(hashlib.md5(f"{seed}:{c}".encode(), usedforsecurity=False).hexdigest()[:8], 16) / 2**32 for c in customers]
    )
    return np.where(share < 0.7, "train", np.where(share < 0.85, "validation", "test")).astype(object)


def in_two_splits(customers: Array, split: Array) -> int:
    """How many customers have rows in more than one split."""
    pairs = set(zip(customers.tolist(), split.tolist(), strict=True))
    return sum(n > 1 for n in Counter(c for c, _ in pairs).values())
