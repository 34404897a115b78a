"""`python -m tests.browser.screenshots [RUNS_DIR] [OUT]`: a picture of every page, of the overview in dark and of
the reviewer's page as well.

The bundled runs are shown unless another folder of runs is given: the overview and the pages of health on the run with the cut
feed, which have something to say about it, the others on the run of the whole model, whose days the bundled encoder maps.
*Make a dataset* and *Tune*, which need no run, are pictured by `python -m tests.drills.story`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

from analysis.sequences.learned import learn
from dashboard.browser import CONTENT, DRAWN, WAIT_MS, app, launch, ready
from dashboard.server import ROOT
from dashboard.view import run_views
from ple_model.run import load_run
from ple_model.sequences.encoder_run import load_encoder

BROKEN = ("overview", "expert_health", "cgc_gates")
"""Pages pictured on the run with the cut feed."""
REVIEWER = "why_recommended-reviewer"
"""Picture of the page as `reader=plain` shows it."""


def settle(page: Page) -> None:
    """Wait until the page is measured and every figure and table of it is drawn."""
    page.wait_for_selector(f'{CONTENT}, [data-testid="stMain"] [data-testid="stTable"]', timeout=4 * WAIT_MS)
    ready(page, "h1")
    page.wait_for_function(DRAWN, timeout=2 * WAIT_MS)
    page.wait_for_timeout(1200)


def take(runs: Path, out: Path, width: int = 1280, height: int = 1040) -> list[Path]:
    """Write OUT/<page>.png and OUT/overview-dark.png of the runs `full` and `cut-feed`; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    wanted: list[tuple[str, Literal["light", "dark"]]] = [(v.name, "light") for v in run_views()]
    wanted += [("overview", "dark"), (REVIEWER, "light")]
    taken = []
    with tempfile.TemporaryDirectory() as work:
        shown = Path(work) / "runs"
        for name in ("full", "cut-feed", "days"):
            shutil.copytree(runs / name, shown / name)
        learn(load_encoder(shown / "days"), load_run(shown / "full"))
        with app([shown], Path(work) / "app.log") as address, sync_playwright() as playwright:
            browser = launch(playwright)
            for name, theme in wanted:
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                run = "cut-feed" if name in BROKEN else "full"
                page.goto(f"{address}/{name.partition('-')[0]}?run={run}{'&reader=plain' if name == REVIEWER else ''}")
                settle(page)
                taken.append(out / f"{name}{'' if theme == 'light' else '-dark'}.png")
                page.screenshot(path=taken[-1])
                page.close()
            browser.close()
    return taken


if __name__ == "__main__":
    given = [Path(a) for a in sys.argv[1:3]]
    for file in take(given[0] if given else ROOT / "sample_runs", given[1] if given[1:] else ROOT / "docs" / "screenshots"):
        print(file)
