"""What every test of the app needs."""

from __future__ import annotations

import sys

import pytest

from dashboard.server import DEBUG


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest leaves its script as `__main__`, which every worker process started later would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def exceptions_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that fails fails its test, instead of ending in a sentence."""
    monkeypatch.setenv(DEBUG, "1")
