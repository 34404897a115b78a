"""One app a session and one browser a file; the app shows two runs of `small`, measured, and a damaged folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from analysis import diagnose
from dashboard.browser import CHROMIUM, WAIT_MS, app, launch
from dashboard.server import DEBUG
from ple_model.data.dataset.reader import Dataset
from tests.shared import CUT_RUN, SMALL_RUN, shared

BUNDLED = (SMALL_RUN, CUT_RUN)


@pytest.fixture(scope="session")
def shown_runs(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two runs and one that cannot be read; a dataset lies beside it, where the form looks."""

    def measured(runs: Path) -> None:
        for bundled in BUNDLED:
            if not bundled.is_dir():
                pytest.fail(f"the browser tests show {bundled}, which is missing: make it with 'make sample-runs'")
            shutil.copytree(bundled, runs / bundled.name)
            diagnose(runs / bundled.name)

    root = tmp_path_factory.mktemp("browser")
    runs = Path(shutil.copytree(shared(tmp_path_factory, "bundled", measured), root / "runs"))
    (runs / "damaged").mkdir()
    (runs / "damaged" / "manifest.json").write_text("{", encoding="utf-8")
    shutil.copytree(tiny_dataset.path, root / "data" / "planted")
    return runs


@pytest.fixture(scope="session")
def address(shown_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with app([shown_runs], tmp_path_factory.mktemp("log") / "app.log", variables={DEBUG: "1"}) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    """One profile for a file's tests: the app's scripts are fetched once. Nothing moves: to draw it would be most of the work.

    Not for the session: until it is closed, Playwright's event loop counts as running in this thread, and an `asyncio.run`
    in a later file of the same process fails.
    """
    if not Path(CHROMIUM).exists():
        pytest.fail(
            f"the browser tests need Chromium at {CHROMIUM}: install it with 'apt-get install chromium', or set PLE_CHROMIUM"
        )
    with sync_playwright() as playwright:
        found = launch(playwright)
        yield found.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True, reduced_motion="reduce")
        found.close()


@pytest.fixture(scope="module")
def page(browser: BrowserContext) -> Page:
    """One tab for a file's tests: another would read and compile the app's scripts anew, which costs more than a page does.

    Each address that a test opens is a new session of the app, so nothing of the test before is left in it."""
    found = browser.new_page()
    found.set_default_timeout(WAIT_MS)
    return found
