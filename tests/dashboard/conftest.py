"""What every test of the app needs."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest leaves its script as `__main__`, which every worker process started later would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
