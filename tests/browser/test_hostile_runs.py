"""Runs from strangers in a real browser: ten hostile ones show ten reasons, and nothing leads or loads elsewhere."""

from __future__ import annotations

import http.client
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from dashboard.browser import CONTENT, WAIT_MS, app, ready
from dashboard.guard_requests import POLICY
from dashboard.i18n import catalogue
from ple_model.run import Run, list_runs
from tests.dashboard.test_hostile_text import PLANTED
from tests.drills.hostile_folders import cases
from tests.ple_model.test_hostile_folders import TEN

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ODD = "odd ![a](b)"
ELSEWHERE = """(own) => [...document.querySelectorAll('[href], [src], [action]')]
  .map((e) => e.href?.baseVal ?? e.href ?? e.src ?? e.action)
  .filter((a) => a && !/^(data|blob|about|javascript):/.test(a) && new URL(a, location.href).origin !== own)"""
"""Whatever of the document leads or loads elsewhere."""


@pytest.fixture(scope="module")
def strangers(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten hostile runs, one whose texts are, and a good one."""
    root = tmp_path_factory.mktemp("strangers")
    canary, runs = root / "canary", root / "runs"
    canary.write_text("secret")
    by_name = {c.name: c for c in cases()}
    for name in ("good", ODD):
        shutil.copytree(tiny_run.path, runs / name)
    manifest = runs / ODD / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"preset": PLANTED, "warnings": [PLANTED]}))
    for number, case in enumerate(TEN):
        bad = runs / f"bad{number}"
        bad.mkdir()
        for part in ("manifest.json", "config.yaml", "progress.jsonl"):
            shutil.copy(tiny_run.path / part, bad / part)
        by_name[case].spoil(bad, canary)
    return runs


@pytest.fixture(scope="module")
def place(strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with app([strangers], tmp_path_factory.mktemp("log") / "app.log") as url:
        yield url


def watched(page: Page, place: str) -> list[str]:
    """Addresses outside of the app that the page asks from now on."""
    asked: list[str] = []
    own = urlsplit(place).netloc
    page.on("request", lambda r: asked.append(r.url) if urlsplit(r.url).netloc not in (own, "") else None)
    return asked


def test_ten_hostile_runs_show_ten_reasons_beside_a_good_one(place: str, page: Page, strangers: Path) -> None:
    asked = watched(page, place)
    reasons = {e.name: e.error for e in list_runs(strangers) if e.error is not None}
    assert len(reasons) == len(TEN)
    page.goto(f"{place}/training?run={next(iter(reasons))}")
    run = page.get_by_role("combobox", name=catalogue("en")["frame.run"]).first
    for number, (name, reason) in enumerate(reasons.items()):
        if number:  # a run chosen in the page is opened as one named in its address, without loading the app again
            run.click()
            page.get_by_role("option", name=name, exact=True).click()
            expect(page).to_have_url(re.compile(f"run={name}"), timeout=WAIT_MS)
        alert = page.locator('[data-testid="stMain"] [data-testid="stAlert"]')
        expect(alert).to_contain_text(f"/{name}", timeout=WAIT_MS)
        shown = re.sub(r"[\W_]+", "", alert.inner_text())
        assert re.sub(r"[\W_]+", "", str(reason)) in shown, reason
        assert page.locator('[data-testid="stException"]').count() == 0
    page.goto(f"{place}/training?run=good")
    ready(page, CONTENT)
    assert page.locator('[data-testid="stException"]').count() == 0
    assert not any("/good" in said for said in page.locator('[data-testid="stMain"] [data-testid="stAlert"]').all_inner_texts())
    page.get_by_role("combobox").first.click()
    options = page.get_by_role("option")
    expect(options).to_have_count(len(TEN) + 2)
    assert asked == []


@pytest.mark.parametrize("name", ["overview", "training"])
def test_foreign_texts_lead_and_load_nowhere(name: str, place: str, page: Page) -> None:
    asked = watched(page, place)
    page.goto(f"{place}/{name}?run={quote(ODD)}")
    ready(page, CONTENT)
    assert page.evaluate(ELSEWHERE, place) == []
    for tip in page.locator('[data-testid="stTooltipHoverTarget"]').all()[:6]:
        tip.hover()
    assert page.evaluate(ELSEWHERE, place) == []
    if name == "overview":
        expect(page.locator('[data-testid="stMain"]')).to_contain_text("seen")
    assert asked == []


def answer(place: str, path: str, host: str | None = None) -> http.client.HTTPResponse:
    at = urlsplit(place).netloc
    connection = http.client.HTTPConnection(at, timeout=60)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or at)
    connection.endheaders()
    return connection.getresponse()


@pytest.mark.parametrize("path", ["/", "/overview", "/_stcore/health", "/nowhere", "/static/js/nothing.js"])
def test_every_answer_of_the_server_carries_the_policy(path: str, place: str) -> None:
    found = answer(place, path)
    assert found.headers.get_all("content-security-policy") == [POLICY]
    assert "frame-ancestors 'self'" in POLICY
    assert found.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example"])
def test_a_name_that_was_pointed_here_gets_nothing(host: str, place: str) -> None:
    found = answer(place, "/", host)
    assert found.status == 421
    assert b"streamlit" not in found.read().lower()


def test_a_page_from_elsewhere_cannot_frame_the_app(place: str, page: Page, tmp_path: Path) -> None:
    (tmp_path / "frame.html").write_text(f'<iframe src="{place}/training?run=good"></iframe>')
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text))
    page.goto((tmp_path / "frame.html").as_uri())
    page.wait_for_load_state("load")
    assert [f for f in page.frames if f.url.startswith(place) and f.locator('[data-testid="stApp"]').count()] == []
    assert any("frame-ancestors" in text for text in said)
