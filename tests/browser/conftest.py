"""One app and one browser a session; the app shows a measured tiny run and a broken copy of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from analysis import diagnose
from ple_model.data.dataset import Dataset
from ple_model.run import Run
from tests.browser.server import CHROMIUM, app, launch


@pytest.fixture(scope="session")
def shown_runs(tiny_run: Run, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two readable runs and one that cannot be read; a dataset lies beside it, where the form looks."""
    root = tmp_path_factory.mktemp("browser")
    runs = root / "runs"
    for name in ("first", "second"):
        shutil.copytree(tiny_run.path, runs / name)
    diagnose(runs / "first")
    shutil.copytree(runs / "first" / "analysis", runs / "second" / "analysis")
    shutil.copytree(tiny_run.path, runs / "broken")
    (runs / "broken" / "manifest.json").write_text("{", encoding="utf-8")
    shutil.copytree(tiny_dataset.path, root / "data" / "planted")
    return runs


@pytest.fixture(scope="session")
def address(shown_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with app([shown_runs], tmp_path_factory.mktemp("log") / "app.log") as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(
            f"the browser tests need Chromium at {CHROMIUM}: install it with 'apt-get install chromium', or set PLE_CHROMIUM"
        )
    with sync_playwright() as playwright:
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": 1440, "height": 1100})
    found.set_default_timeout(60_000)
    yield found
    found.close()
