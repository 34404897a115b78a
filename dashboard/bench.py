"""`ple bench page`: how long a switch of page takes in a real browser with the analysis of many customers stored.

The rows of the bundled run's analysis are repeated to 100,000 and to a million (benchmarks do not ship a bank), then a headless
Chromium walks the pages by their links; with `--run RUN` it walks those of a run that was diagnosed, whatever it holds. Server
time is that of the page's script alone, in this process, where it was drawn before; of a cohort it is the first answer, with
customers chosen whom nobody asked of before, in a new session. A switch is painted when the script has run and every figure of
the new page is drawn, from the click on.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from analysis.bench.many import repeated_analysis
from analysis.store import AnalysisStore, stored
from dashboard.browser import CHROMIUM, CONTENT, DRAWN, WAIT_MS, app, launch, ready
from dashboard.i18n import catalogue
from dashboard.server import ROOT, RUNS_VARIABLE
from dashboard.view import run_views
from ple_model.bench.measure import Disagreement, Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.errors import UserError
from ple_model.files import read_json

SIZES = (100_000, 1_000_000)
SWITCHES = 10
SERVER_MS, PAINTED_MS = 300.0, 1500.0


def _page(start: str) -> None:
    """The app as it opens on one page (the source of this function is what AppTest runs)."""
    from dashboard.app import main  # late: this function's source is the page

    main(start)


def server(runs: Path, run: str, data: str, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """page -> ms of its script, after a first run that reads the analysis; and of the first answers for single clusters."""
    from streamlit.testing.v1 import AppTest  # late: for this benchmark alone

    found: dict[str, list[float]] = {}
    cohorts: dict[str, list[float]] = {}
    before, main = os.environ.get(RUNS_VARIABLE), sys.modules["__main__"]
    os.environ[RUNS_VARIABLE] = str(runs)
    try:
        broken = {catalogue("en")[f"guard.{key}"] for key in ("failed", "broken")}

        def opened(view: str, **more: str) -> AppTest:
            page = AppTest.from_function(_page, args=(view,), default_timeout=300)
            for key, value in {"run": run, **({"data": data} if data else {}), **more}.items():
                page.query_params[key] = value
            return page

        def timed(page: AppTest, view: str) -> float:
            start = time.perf_counter()
            page.run()
            failed = [e.message for e in page.exception] + [e.value for e in page.error if e.value in broken]
            if failed:  # a page that says a sentence instead of its figures is quick, and says nothing
                raise Disagreement(f"page {view}: {failed[0]} {page.text[0].value if page.text else ''}")
            return 1000 * (time.perf_counter() - start)

        for view in run_views():
            page = opened(view.name)
            timed(page, view.name)
            found[view.name] = [timed(page, view.name) for _ in range(rounds)]
            # a cluster of its own: what one page has asked of a cohort is kept for the others
            mine = str(len(cohorts))
            asked = ({"cluster": mine}, {"cluster": mine, "segment": "warm_start"})
            cohorts[view.name] = [timed(opened(view.name, **cohort), view.name) for cohort in asked]
    finally:
        sys.modules["__main__"] = main  # AppTest leaves its script there
        if before is None:
            del os.environ[RUNS_VARIABLE]
        else:
            os.environ[RUNS_VARIABLE] = before
    return found, cohorts


def walk(runs: Path, run: str, data: str, log: Path, switches: int) -> dict[str, list[float]]:
    """page -> ms until painted, of each switch to it; the first visits are not counted."""
    try:
        from playwright.sync_api import sync_playwright  # late: it may not be there
    except ModuleNotFoundError as e:
        raise UserError("ple bench page needs Playwright: pip install 'ple-scope[dev]'") from e
    if not Path(CHROMIUM).exists():
        raise UserError(f"ple bench page needs Chromium at {CHROMIUM}: install it, or set PLE_CHROMIUM")
    words = catalogue("en")
    names = [v.name for v in run_views()]
    found: dict[str, list[float]] = {n: [] for n in names}
    with app([runs], log) as address, sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(4 * WAIT_MS)
        page.goto(f"{address}/?run={run}" + (f"&data={data}" if data else ""))
        page.wait_for_selector(CONTENT)
        for turn in range(switches + 1):
            for name in names[1:] + names[:1]:
                before = time.perf_counter()
                page.get_by_role("link", name=words[f"{name}.title"], exact=True).click()
                page.get_by_role("heading", name=words[f"{name}.question"]).wait_for()
                ready(page)
                page.wait_for_function(DRAWN)
                if turn:
                    found[name].append(1000 * (time.perf_counter() - before))
        browser.close()
    return found


def run(settings: Settings) -> list[Row]:
    if settings.run is not None:
        found = stored(settings.run)
        if not found:
            raise UserError(f"{settings.run} has no stored analysis: `ple diagnose {settings.run}` makes one")
        with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
            return _measured(settings.run, _data(found[0]), Path(folder) / "app.log", settings, f"{found[0].n:,} rows")
    rows: list[Row] = []
    for size in (2_000,) if settings.quick else SIZES:
        with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
            root = Path(folder)
            repeated_analysis(ROOT / "sample_runs" / "full", root / "runs" / "many", size)
            rows += _measured(root / "runs" / "many", "", root / "app.log", settings, f"{size:,} rows")
    return rows


def _data(found: AnalysisStore) -> str:
    """The dataset beside the run that this is the analysis of, as pages call it; empty where it is of the run's own sample."""
    if found.meta.get("own_sample", True):
        return ""
    run = found.path.parent.parent
    for path in sorted(run.parent.glob("*/dataset.json")):
        if read_json(path).get("fingerprint") == found.meta["data"]["fingerprint"]:
            return str(path.parent.name)
    raise UserError(f"{run}: no dataset beside it has the rows that its newest analysis is of")


def _measured(run: Path, data: str, log: Path, settings: Settings, size: str) -> list[Row]:
    scripts, cohorts = server(run.parent, run.name, data, settings.rounds)
    painted = walk(run.parent, run.name, data, log, settings.pick(SWITCHES, 2))
    rows = []
    measured = (("server", SERVER_MS, scripts), ("painted", PAINTED_MS, painted), ("a cohort's first answer", None, cohorts))
    for what, bound, found in measured:
        for name, times in found.items():
            middle = statistics.median(times)
            label = f"{name}: {what}, {size}"
            target = None if bound is None else Target(bound, at_least=False)
            rows.append(Row("page", label, middle, target, middle, unit="ms", low=min(times), high=max(times)))
    return rows


BENCHMARKS = (
    Benchmark("page", "a switch of page in a real browser, 100,000 and a million rows stored (or those of --run)", run),
)
