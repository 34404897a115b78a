"""One floating-point mode for everything that makes a dataset, so that its fingerprint does not depend on the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SMALLEST_NORMAL = 2.2250738585072014e-308
"""A subnormal literal would be 0 where this file happens to be compiled in a flushing thread."""


def flushes_subnormals() -> bool:
    """Does this thread write numbers below the normal range (2.2e-308) as 0?"""
    return bool(np.float64(SMALLEST_NORMAL) / np.float64(2.0) == 0.0)


@contextmanager
def reproducible() -> Iterator[None]:
    """Within the block torch has one thread, so that sums are added in one order, and numbers below the normal range are 0:
    they mean nothing here, and cost ten times the others."""
    flushed, threads = flushes_subnormals(), torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
