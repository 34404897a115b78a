"""fsspec's filesystem in memory as a place by URL, which it is in tests alone: what it holds ends with its process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ple_model.storage.url import EXTRAS


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty one, and a cache of its own."""
    memory = pytest.importorskip("fsspec.implementations.memory", reason="places by URL need fsspec, an extra")
    monkeypatch.setenv("PLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(EXTRAS, "memory", None)
    store = memory.MemoryFileSystem()
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]
