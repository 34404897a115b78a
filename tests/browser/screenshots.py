"""`python -m tests.browser.screenshots RUNS_DIR [OUT]`: every page, light and dark, and the overview in Korean."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from dashboard.view import views
from tests.browser.server import WAIT_MS, app, launch, ready

DRAWN = """() => {
  const count = (selector) => document.querySelectorAll(selector).length;
  return count('[data-testid=stMain] [data-testid=stSkeleton]') === 0 &&
    count('[data-testid=stPlotlyChart]') === count('.js-plotly-plot .main-svg:first-child');
}"""


def settle(page: Page) -> None:
    """Wait until every figure and table of the page is drawn."""
    ready(page, "h1")
    page.wait_for_function(DRAWN, timeout=WAIT_MS)
    page.wait_for_timeout(1200)


def take(runs: Path, out: Path, height: int = 1300) -> list[Path]:
    """Write OUT/<page>-<light|dark>.png; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = [(v.name, theme, "en") for theme in ("light", "dark") for v in views()] + [("overview", "light", "ko")]
    taken = []
    with tempfile.TemporaryDirectory() as log, app([runs], Path(log) / "app.log") as address, sync_playwright() as playwright:
        browser = launch(playwright)
        for name, theme, language in wanted:
            page = browser.new_page(viewport={"width": 1440, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
            page.goto(f"{address}/{name}?lang={language}")
            settle(page)
            taken.append(out / f"{name}-{theme}{'' if language == 'en' else '-' + language}.png")
            page.screenshot(path=taken[-1])
            page.close()
        browser.close()
    return taken


if __name__ == "__main__":
    for file in take(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/screenshots")):
        print(file)
