"""What all workers of one test run make once: each is a process of its own, with session fixtures of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

SMALL_RUN = Path(__file__).parent / "runs" / "healthy"
"""A finished run of the preset `small` on 20,000 customers, stored without its analysis; `make sample-runs` makes it."""
CUT_RUN = Path(__file__).parent / "runs" / "cut-feed"
"""The bundled run whose feed was cut."""


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` that `make` filled: by the first worker that asks, while the others wait for it. Nobody may change it.

    A `make` that fails leaves nothing that counts as made, so the next worker tries again and fails by itself."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    root.mkdir(exist_ok=True)
    done = root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            make(root / name)
            done.touch()
    return root / name
