"""A training that is stopped and resumed in the app, whose server is killed and started again, ends as if nothing had been."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboard.browser import WAIT_MS, _wait, free_port, ready
from dashboard.i18n import catalogue
from dashboard.jobs import JobStore, jobs_root
from dashboard.server import DEBUG, ROOT, app_command, app_environment
from ple_model.run import load_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EN = catalogue("en")
NAME = "interrupted"
PAGE = "training?run=damaged"
"""The form is beside every page: here one that has no figures to draw again after each entry."""
REASON = '[data-testid="stMain"] [data-testid="stAlert"]'
SETTINGS = "\n".join(
    (
        "training.patience=1000",
        "shared_experts.temporal=null",
        "direct_path.start=random",
        "direct_path.bends=0",
        "direct_path.rate=0.5",
    )
)
"""No early end, without the slowest expert and the fitted start, whose own test stops it."""


@contextmanager
def server(runs: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An app of its own, that a test may kill."""
    port = free_port()
    words, variables = app_command(port, True), {**app_environment([runs]), DEBUG: "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            _wait(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()
            process.wait(20)


@contextmanager
def started(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command beside the test, which ends with it."""
    with log.open("wb") as out, subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def alongside() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def written(store: JobStore) -> str:
    """What the newest job's training has written of its progress."""
    file = store.jobs()[0].run / "progress.jsonl"
    return file.read_text(encoding="utf-8") if file.exists() else ""


@contextmanager
def halted(page: Page, store: JobStore, event: str) -> Iterator[None]:
    """The newest job's training stands still once it has written `event`, and goes on behind the block.

    So it cannot end before the page has shown it and a button was pressed; what a signal asks of it, it does afterwards."""
    while f'"event": "{event}"' not in written(store):
        assert store.jobs()[0].active
        page.wait_for_timeout(20)
    pid = store.jobs()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def fill(page: Page, role: str, key: str, text: str, enter: str = "Enter") -> None:
    field = page.locator('[data-testid="stSidebar"]').get_by_role(role, name=EN[key])  # type: ignore[arg-type]
    field.fill(text)
    field.press(enter)
    ready(page)


def test_stopped_resumed_and_left_by_its_server_a_training_ends_with_the_same_bits(
    page: Page, shown_runs: Path, tmp_path: Path, alongside: ExitStack
) -> None:
    store = JobStore(jobs_root(shown_runs))
    sidebar = page.locator('[data-testid="stSidebar"]')
    card = sidebar.locator('[class*="st-key-job-"]').filter(has_text=NAME).first  # other tests leave jobs of their own
    with server(shown_runs, tmp_path / "first.log") as (address, process):
        page.goto(f"{address}/{PAGE}")
        ready(page, REASON)
        sidebar.get_by_text(EN["train.title"]).click()
        ready(page)
        fill(page, "textbox", "train.name", NAME)
        fill(page, "spinbutton", "train.phase1", "2")
        fill(page, "spinbutton", "train.phase2", "1")
        fill(page, "textbox", "train.set", SETTINGS, "Control+Enter")
        sidebar.get_by_role("button", name=EN["train.start"]).click()
        expect(card).to_be_visible(timeout=WAIT_MS)
        stop, resume = (card.get_by_role("button", name=EN[key]) for key in ("job.stop", "job.resume"))
        with halted(page, store, "epoch"):
            expect(card).to_contain_text(re.compile(r"epoch \d"), timeout=WAIT_MS)
            whole = dataclasses.replace(store.jobs()[0].training, run=tmp_path / "whole")
            left_alone = alongside.enter_context(started(store.command(whole), tmp_path / "whole.log"))
            stop.click()
            expect(stop).to_be_disabled(timeout=WAIT_MS)
        resume.click(timeout=WAIT_MS)
        expect(card).to_contain_text(EN["job.running"], timeout=WAIT_MS)
        with halted(page, store, "resumed"):
            resumed = store.jobs()[0]
            process.kill()
            process.wait(20)
            assert store.get(resumed.id).active, "the training goes on without its server"
    with server(shown_runs, tmp_path / "second.log") as (address, process):
        page.goto(f"{address}/{PAGE}")
        expect(card).to_contain_text(EN["job.finished"], timeout=WAIT_MS)
    assert store.get(resumed.id).status == "finished"
    events = [line["event"] for line in load_run(resumed.run).progress()]
    assert "resumed" in events
    assert dataclasses.replace(resumed.training, run=whole.run, resume=False) == whole
    assert left_alone.wait() == 0, (tmp_path / "whole.log").read_text()
    for file in ("model.safetensors", "metrics.json", "preprocess/calibration.json"):
        assert (resumed.run / file).read_bytes() == (whole.run / file).read_bytes(), file
