"""`ple bench viewers`: two readers switch pages in a real browser, without and beside a training that the app's worker runs.

A headless Chromium with a session of its own for each reader opens the bundled run and walks its pages, both at once. The
training is started by the app's own job (`dashboard.jobs`), in the environment of its server. It is held (SIGSTOP) while the
readers walk without it, so that walks with and without it, and stretches of it alone, follow each other in every round.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import diagnose
from dashboard.browser import CHROMIUM, CONTENT, DRAWN, FLAGS, READY, WAIT_MS, app
from dashboard.i18n import catalogue
from dashboard.jobs import Job, JobStore, Training
from dashboard.server import ROOT, app_environment
from dashboard.view import run_views
from ple_model.bench.customers import context, customers
from ple_model.bench.measure import MIN_ROUNDS, Row, Settings
from ple_model.bench.registry import Benchmark
from ple_model.config import load_config
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.errors import UserError

if TYPE_CHECKING:
    from playwright.async_api import Page

READERS = 2
ROWS = 4000
ALONE_S = 12.0
"""A stretch of the training without readers."""
POLL_S = 0.2
Times = dict[str, list[tuple[float, float]]]
"""page -> (ms until its script has run, ms until all is drawn) of each switch, from the click on."""


def dataset(folder: Path, rows: int, seed: int) -> Path:
    """Random customers to train on, on disk."""
    parts = []
    for i, (split, n) in enumerate((("train", rows), ("validation", rows // 8), ("test", 64))):
        ids = [f"{split} {k}" for k in range(n)]
        parts.append(Batch(customers(n, seed + i), ids, ["2025-01-01"] * n, [split] * n))
    return write_dataset(folder, parts, context=context(), name="bench").path


@contextmanager
def training(store: JobStore, data: Path, run: Path) -> Iterator[Job]:
    """A job of the app that trains `small` until the block ends."""
    settings = ("training.phase1_epochs=1000", "training.max_epochs=1000", "training.phase2_epochs=0", "training.patience=1000")
    before, ended = dict(os.environ), signal.signal(signal.SIGTERM, signal.default_int_handler)  # a held training must not stay
    os.environ.update(app_environment([run.parent]) | {"XDG_STATE_HOME": str(store.root)})  # a queue of its own
    try:
        job = store.start(Training(data, run, settings=settings, device="cpu"))
        _until(lambda: bool(positions(run)), store, job)
        yield store.get(job.id)
    finally:
        for found in store.jobs():
            if found.active and found.pid is not None:
                os.kill(found.pid, signal.SIGCONT)
                store.stop(found.id)
                _until(lambda: not store.jobs()[0].active, store, found)
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGTERM, ended)


def _until(condition: Any, store: JobStore, job: Job) -> None:
    for _ in range(int(WAIT_MS / 1000 / POLL_S)):
        if condition():
            return
        time.sleep(POLL_S)
    raise UserError(f"ple bench viewers: the training does not go on: {store.log_tail(job.id, 500)}")


def positions(run: Path) -> list[tuple[float, int]]:
    """(time, steps until then) of a training's lines that say where it stands."""
    try:
        lines = (run / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found: list[tuple[float, int]] = []
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:  # the last line is being written
            continue
        if line.get("event") == "step":
            found.append((float(line["time"]), (int(line["epoch"]) - 1) * int(line["steps"]) + int(line["step"])))
    return found


def pace(found: Iterable[tuple[float, int]], began: float, ended: float, batch: int) -> float:
    """Samples a second between the first and the last line of a stretch; not a number where it has not two."""
    inside = [x for x in found if began <= x[0] <= ended]
    if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
        return float("nan")
    return batch * (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


async def _switch(page: Page, name: str, words: Mapping[str, str]) -> tuple[float, float]:
    began = time.perf_counter()
    await page.get_by_role("link", name=words[f"{name}.title"], exact=True).click()
    await page.get_by_role("heading", name=words[f"{name}.question"]).wait_for()
    await page.wait_for_selector(READY, timeout=WAIT_MS)
    ran = time.perf_counter()
    await page.wait_for_function(DRAWN)
    return 1000 * (ran - began), 1000 * (time.perf_counter() - began)


async def _walk(page: Page, names: list[str], words: Mapping[str, str], found: Times) -> None:
    for name in names:
        found.setdefault(name, []).append(await _switch(page, name, words))


async def _rounds(
    address: str, rounds: int, job: Job, alone_s: float, batch: int
) -> tuple[dict[str, Times], dict[str, list[float]]]:
    """Page times without and beside the training; samples a second of it alone and beside the readers, round by round."""
    from playwright.async_api import async_playwright  # late: it may not be there

    assert job.pid is not None
    words, names = catalogue("en"), [v.name for v in run_views()]
    order = names[1:] + names[:1]
    times: dict[str, Times] = {"without": {}, "beside": {}}
    speeds: dict[str, list[float]] = {"alone": [], "beside": []}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        pages = []
        os.kill(job.pid, signal.SIGSTOP)
        for _ in range(READERS):
            page = await (await browser.new_context(viewport={"width": 1280, "height": 1000})).new_page()
            page.set_default_timeout(4 * WAIT_MS)
            await page.goto(address)
            await page.wait_for_selector(CONTENT)
            await _walk(page, order, words, {})  # first visits are not counted
            pages.append(page)
        for turn in range(rounds):
            for what in ("without", "alone", "beside") if turn % 2 == 0 else ("beside", "alone", "without"):
                os.kill(job.pid, signal.SIGSTOP if what == "without" else signal.SIGCONT)
                await asyncio.sleep(1.0)  # what was held settles
                began = time.time()
                if what == "alone":
                    await asyncio.sleep(alone_s)
                else:
                    await asyncio.gather(*(_walk(p, order, words, times[what]) for p in pages))
                if what != "without":
                    speeds[what].append(pace(positions(job.run), began, time.time(), batch))
        await browser.close()
    return times, speeds


def run(settings: Settings) -> list[Row]:
    try:
        import playwright.async_api  # noqa: F401  # late: it may not be there
    except ModuleNotFoundError as e:
        raise UserError("ple bench viewers needs Playwright: pip install 'ple-scope[dev]'") from e
    if not Path(CHROMIUM).exists():
        raise UserError(f"ple bench viewers needs Chromium at {CHROMIUM}: install it, or set PLE_CHROMIUM")
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder, ExitStack() as stack:
        root = Path(folder)
        diagnose(shutil.copytree(ROOT / "sample_runs" / "full", root / "shown" / "full"))  # measured by the program at hand
        data = dataset(root / "data" / "bench", settings.pick(ROWS, 320), settings.seed)
        variables = {"XDG_STATE_HOME": str(root / "state")}
        store = JobStore(root / "jobs")
        address = stack.enter_context(app([root / "shown"], root / "app.log", variables=variables))
        job = stack.enter_context(training(store, data, root / "runs" / "trained"))
        rounds = max(settings.rounds, MIN_ROUNDS) if not settings.quick else 1
        batch = load_config("small").training.batch_size or 128
        times, speeds = asyncio.run(_rounds(address, rounds, job, settings.pick(int(ALONE_S), 3), batch))
    return [*_page_rows(times), _speed_row(speeds)]


def _page_rows(times: Mapping[str, Times]) -> list[Row]:
    """By page and over all: the median beside the training, by the one without; the slowest tenth in the detail."""
    rows = []
    for at, what in enumerate(("script has run", "painted")):
        for name in ("all pages", *times["without"]):
            here = {k: [x[at] for n, found in v.items() if name in (n, "all pages") for x in found] for k, v in times.items()}
            middle = {k: statistics.median(v) for k, v in here.items()}
            detail = {f"90 % {k}": _ninety(v) for k, v in here.items()} | {"switches": float(len(here["beside"]))}
            rows.append(
                Row(
                    "viewers", f"{name}: {what}, {READERS} readers: beside a training / without",
                    middle["beside"] / middle["without"], None, middle["beside"], middle["without"], "ms", detail=detail,
                )
            )  # fmt: skip
    return rows


def _ninety(found: list[float]) -> float:
    """The value that nine of ten do not exceed."""
    return sorted(found)[-(-9 * len(found) // 10) - 1]


def _speed_row(speeds: Mapping[str, list[float]]) -> Row:
    pairs = [(b, a) for b, a in zip(speeds["beside"], speeds["alone"], strict=True) if b == b and a == a]
    ratios = [b / a for b, a in pairs] or [float("nan")]
    beside, alone = (statistics.median(x[i] for x in pairs) if pairs else float("nan") for i in (0, 1))
    return Row(
        "viewers", f"the training: beside {READERS} readers / alone", statistics.median(ratios), None, beside, alone,
        "samples/s", min(ratios), max(ratios), detail={"rounds": float(len(pairs))},
    )  # fmt: skip


BENCHMARKS = (
    Benchmark(
        "viewers", "two readers switch pages without and beside a training of the app, in a real browser", run, proof=True
    ),
)
