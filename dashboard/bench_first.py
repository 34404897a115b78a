"""`ple bench first-view`: from the moment the app answers to the verdict on the screen of the first reader.

Each round starts a server of its own, waits until it answers, and opens a bundled run in a headless Chromium that is there
already. The verdict is on the screen when its word is; the whole page is when the script has run and every figure is drawn. The
memory is the server's peak until then, and, of one server, until every page of the run was opened once.
"""

from __future__ import annotations

import math
import re
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import psutil

from analysis import diagnose
from analysis.verdict import Word
from dashboard.browser import CHROMIUM, DRAWN, WAIT_MS, app, launch, ready
from dashboard.i18n import catalogue
from dashboard.server import ROOT
from dashboard.view import run_views
from ple_model.bench.measure import Row, Settings, Target, peak_mb_of
from ple_model.bench.registry import Benchmark
from ple_model.errors import UserError

FIRST_MS = 3000.0
RUN = ROOT / "sample_runs" / "full"
ALERT = '[data-testid="stMain"] [data-testid="stAlert"]'


@dataclass(frozen=True)
class Opening:
    """ms from the server's first answer; MB of the server at most (NaN where no Linux tells)."""

    verdict: float
    whole: float
    peak: float
    every_page: float
    """Once every page was opened; NaN where none but the first was."""


def opened(runs: Path, log: Path, *, every_page: bool = False) -> Opening:
    """One server and one reader. `every_page`: who then looks at every page of the run."""
    from playwright.sync_api import sync_playwright  # late: it may not be there

    catalog = catalogue("en")
    question, words = catalog["overview.question"], [re.escape(catalog[f"skill.word_{word}"]) for word in get_args(Word)]
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        before = set(psutil.Process().children())
        with app([runs], log) as address:
            (server,) = set(psutil.Process().children()) - before
            start = time.perf_counter()
            page.goto(f"{address}/?run={RUN.name}")
            page.get_by_role("heading", name=question).wait_for()
            page.locator(ALERT).filter(has_text=re.compile("|".join(words))).first.wait_for()
            verdict = time.perf_counter() - start
            ready(page)
            page.wait_for_function(DRAWN)
            whole = time.perf_counter() - start
            peak = peak_mb_of(server.pid) or math.nan
            for view in run_views() if every_page else ():
                page.goto(f"{address}/{view.name}?run={RUN.name}")
                ready(page, "h1")
                page.wait_for_function(DRAWN, timeout=4 * WAIT_MS)
            most = (peak_mb_of(server.pid) or math.nan) if every_page else math.nan
        browser.close()
    return Opening(1000 * verdict, 1000 * whole, peak, most)


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
        found: list[Opening] = []
        for i in range(settings.pick(settings.rounds, 1)):
            with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
                runs = Path(folder) / "runs"
                shutil.copytree(run, runs / run.name, ignore=shutil.ignore_patterns(*left_out))
                found.append(opened(runs, Path(folder) / "app.log", every_page=i == 0 and not settings.quick))
        first = Target(FIRST_MS, at_least=False) if not left_out else None
        each: list[tuple[str, list[float], Target | None, str]] = [
            ("verdict", [x.verdict for x in found], first, "ms"),
            ("whole page", [x.whole for x in found], None, "ms"),
            ("peak memory of the server", [x.peak for x in found], None, "MB"),
            ("peak memory, every page opened once", [x.every_page for x in found[:1]], None, "MB"),
        ]
        for name, own, target, unit in each:
            middle = statistics.median(own)
            if not math.isnan(middle):
                title = f"{run.name} {what}: {name}"
                rows.append(Row("first-view", title, middle, target, middle, unit=unit, low=min(own), high=max(own)))
    return rows


BENCHMARKS = (Benchmark("first-view", "opening the app on a bundled run: from its answer to the verdict on the screen", run),)
