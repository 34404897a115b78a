"""The app in a headless Chromium: how it is started and when it is ready, for tests, screenshots and benchmarks."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from dashboard.server import ROOT, app_command, app_environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = os.environ.get("PLE_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY = '[data-testid="stApp"][data-test-connection-state="CONNECTED"][data-test-script-state="notRunning"]'
CONTENT = '[data-testid="stMain"] [data-testid="stPlotlyChart"], [data-testid="stMain"] [data-testid="stDataFrame"]'
"""What a page shows of a run, once it is measured."""
DRAWN = """() => {
  const count = (selector) => document.querySelectorAll(selector).length;
  return count('[data-testid=stMain] [data-testid=stSkeleton], [data-testid=stSpinner], [data-testid=stProgress]') === 0 &&
    count('[data-testid=stPlotlyChart]') === count('.js-plotly-plot .main-svg:first-child');
}"""
"""Every figure of the page is drawn."""
WAIT_MS = 180_000
"""A patient limit: what a loaded machine takes minutes for is slow, not wrong."""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def app(
    runs: list[Path], log: Path, *, headless: bool = True, variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """The address of an app on a free loopback port that shows `runs`; it ends with the block, by its own id. `variables` are
    added to its environment; nobody answers if it asks anything."""
    port = free_port()
    command, environment = app_command(port, headless), {**app_environment(runs), **variables}
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, server, log)
            yield address
        finally:
            server.terminate()
            server.wait(20)


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(400):
        if server.poll() is not None:
            raise RuntimeError(f"the app ended at start: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health", timeout=1) as reply:
            if reply.status == 200:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.1)
    raise RuntimeError(f"the app did not answer at {address}")


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, headless."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def ready(page: Page, element: str | None = None) -> None:
    """Wait until the script has run, then for an element of the page itself."""
    page.wait_for_selector(READY, timeout=WAIT_MS)
    if element is not None:
        page.wait_for_selector(element, timeout=WAIT_MS)
        page.wait_for_selector(READY, timeout=WAIT_MS)
