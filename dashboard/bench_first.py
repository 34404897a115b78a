"""`ple bench first-view`: from the moment the app answers to the verdict on the screen of the first reader.

Each round starts a server of its own, waits until it answers, and opens a bundled run in a headless Chromium that is there
already. The verdict is on the screen when its word is; the whole page is when the script has run and every figure is drawn.
"""

from __future__ import annotations

import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import get_args

from analysis import diagnose
from analysis.verdict import Word
from dashboard.browser import CHROMIUM, DRAWN, WAIT_MS, app, launch, ready
from dashboard.i18n import catalogue
from dashboard.server import ROOT
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.errors import UserError

FIRST_MS = 3000.0
RUN = ROOT / "sample_runs" / "full"
ALERT = '[data-testid="stMain"] [data-testid="stAlert"]'


def opened(runs: Path, log: Path) -> tuple[float, float]:
    """ms from the server's first answer to the verdict, and to the whole page."""
    from playwright.sync_api import sync_playwright  # late: it may not be there

    catalog = catalogue("en")
    question, words = catalog["overview.question"], [re.escape(catalog[f"skill.word_{word}"]) for word in get_args(Word)]
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        with app([runs], log) as address:
            start = time.perf_counter()
            page.goto(f"{address}/?run={RUN.name}")
            page.get_by_role("heading", name=question).wait_for()
            page.locator(ALERT).filter(has_text=re.compile("|".join(words))).first.wait_for()
            verdict = time.perf_counter() - start
            ready(page)
            page.wait_for_function(DRAWN)
            whole = time.perf_counter() - start
        browser.close()
    return 1000 * verdict, 1000 * whole


def run(settings: Settings) -> list[Row]:
    if not Path(CHROMIUM).exists():
        raise UserError(f"ple bench first-view needs Chromium at {CHROMIUM}: install it, or set PLE_CHROMIUM")
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        current = Path(folder) / RUN.name
        shutil.copytree(RUN, current)
        diagnose(current)  # where the program that measures has changed since, what is stored does not hold
        return _measured(current, settings)


def _measured(run: Path, settings: Settings) -> list[Row]:
    rows = []
    cases = {"with its stored analysis": (), "measured when it is opened": ("analysis",)}
    for what, left_out in cases.items():
        times = []
        for _ in range(settings.pick(settings.rounds, 1)):
            with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
                runs = Path(folder) / "runs"
                shutil.copytree(run, runs / run.name, ignore=shutil.ignore_patterns(*left_out))
                times.append(opened(runs, Path(folder) / "app.log"))
        for i, name in enumerate(("verdict", "whole page")):
            own = [t[i] for t in times]
            target = Target(FIRST_MS, at_least=False) if name == "verdict" and not left_out else None
            middle = statistics.median(own)
            rows.append(Row("first-view", f"{run.name} {what}: {name}", middle, target, middle, low=min(own), high=max(own)))
    return rows


BENCHMARKS = (Benchmark("first-view", "opening the app on a bundled run: from its answer to the verdict on the screen", run),)
