"""What every test of the app needs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner

from analysis import diagnose
from dashboard.server import DEBUG
from ple_model.run import Run


@pytest.fixture(scope="session", autouse=True)
def components_sought_once() -> Iterator[None]:
    """Each run of AppTest reads the metadata of every installed package for components, which takes longer than a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest leaves its script as `__main__`, which every worker process started later would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def exceptions_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that fails fails its test, instead of ending in a sentence."""
    monkeypatch.setenv(DEBUG, "1")


@pytest.fixture(scope="session")
def measured(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one measured tiny run."""
    runs = tmp_path_factory.mktemp("shown")
    shutil.copytree(tiny_run.path, runs / "tiny")
    diagnose(runs / "tiny")
    return runs
