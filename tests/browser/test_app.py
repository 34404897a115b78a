"""The app in a real browser: runs, cohorts, permalinks, every page, and a training from start to stop and to its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboard.i18n import catalogue
from dashboard.jobs import JobStore
from dashboard.view import views
from tests.browser.server import WAIT_MS, ready

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EN = catalogue("en")
CONTENT = '[data-testid="stMain"] [data-testid="stPlotlyChart"], [data-testid="stMain"] [data-testid="stDataFrame"]'
"""What a page shows of a run, once it is measured."""


def title(page: Page, key: str) -> None:
    expect(page.locator("h1")).to_have_text(EN[key], timeout=WAIT_MS)
    ready(page)


def choose(page: Page, label: str, option: str) -> None:
    """Pick an option of a select box by its label."""
    page.get_by_role("combobox", name=label).first.click()
    page.get_by_role("option", name=option, exact=True).click()
    ready(page)


@pytest.mark.parametrize("view", views(), ids=lambda v: v.name)
def test_every_page_opens_with_its_question_and_without_an_error(address: str, page: Page, view: object) -> None:
    name = view.name  # type: ignore[attr-defined]
    page.goto(f"{address}/{name}?run=first")
    ready(page, CONTENT)
    title(page, f"{name}.question")
    assert page.locator('[data-testid="stException"]').count() == 0


def test_a_run_is_switched_and_a_broken_one_says_why(address: str, page: Page) -> None:
    page.goto(f"{address}/cgc_gates?run=first")
    ready(page, CONTENT)
    choose(page, EN["frame.run"], "second")
    expect(page).to_have_url(re.compile("run=second"))
    choose(page, EN["frame.run"], "broken")
    expect(page.locator('[data-testid="stAlert"]').first).to_contain_text("manifest.json", timeout=WAIT_MS)


def test_a_copied_link_opens_the_same_view(address: str, page: Page) -> None:
    page.goto(f"{address}/cgc_gates?run=second&segment=warm_start&lang=ko&task=churn")
    ready(page, CONTENT)
    expect(page.locator("h1")).to_have_text(catalogue("ko")["cgc_gates.question"])
    badge = page.locator('[data-testid="stBadge"], .stBadge').first
    shown = badge.inner_text()
    assert "중" in shown
    link = page.url
    assert all(part in link for part in ("run=second", "segment=warm_start", "task=churn"))
    page.reload()
    ready(page, CONTENT)
    expect(badge).to_have_text(shown)
    assert page.url == link


def test_a_cohort_is_chosen_and_the_count_follows(address: str, page: Page) -> None:
    page.goto(f"{address}/hmm?run=first")
    ready(page, CONTENT)
    page.get_by_role("button", name=EN["frame.cohort"]).click()
    page.get_by_role("combobox", name=EN["frame.segment"]).click()
    page.get_by_role("option", name="warm_start", exact=True).click()
    expect(page).to_have_url(re.compile("segment=warm_start"))
    ready(page)
    expect(page.get_by_text("of", exact=False).first).to_be_visible()


def test_the_navigation_keeps_run_and_cohort(address: str, page: Page) -> None:
    page.goto(f"{address}/hmm?run=second&segment=warm_start")
    ready(page, CONTENT)
    page.get_by_role("link", name=EN["cgc_gates.title"]).click()
    title(page, "cgc_gates.question")
    assert "run=second" in page.url
    assert "segment=warm_start" in page.url


@pytest.fixture
def store(shown_runs: Path) -> Iterator[JobStore]:
    """The jobs of the shown runs; whatever a test leaves running is stopped."""
    found = JobStore(shown_runs / ".jobs")
    yield found
    for job in found.jobs():
        if job.active:
            found.stop(job.id)


def test_a_training_is_started_watched_and_stopped(address: str, page: Page, shown_runs: Path, store: JobStore) -> None:
    page.goto(f"{address}/training?run=first")
    ready(page, CONTENT)
    sidebar = page.locator('[data-testid="stSidebar"]')
    sidebar.get_by_text(EN["train.title"]).click()
    ready(page)
    name = sidebar.get_by_role("textbox", name=EN["train.name"])
    name.fill("from-the-browser")
    name.press("Enter")
    ready(page)
    epochs = sidebar.get_by_role("spinbutton", name=EN["train.phase1"])
    epochs.fill("200")
    epochs.press("Enter")
    ready(page)
    sidebar.get_by_role("button", name=EN["train.start"]).click()
    card = sidebar.locator('[class*="st-key-job-"]').first
    expect(card).to_contain_text(EN["job.running"], timeout=WAIT_MS)
    job = store.jobs()[0]
    assert job.run == shown_runs / "from-the-browser"
    page.reload()  # the training is nobody's child: a reload finds it again
    ready(page, CONTENT)
    expect(sidebar.get_by_text("from-the-browser").first).to_be_visible()
    expect(sidebar.get_by_text(EN["job.eta"].split("}")[1].strip(), exact=False).first).to_be_visible(timeout=WAIT_MS)
    sidebar.get_by_role("button", name=EN["job.stop"]).click()
    expect(card).to_contain_text(EN["job.stopped"], timeout=WAIT_MS)
    assert store.get(job.id).status == "stopped"
    assert (job.run / "manifest.json").exists()
    expect(sidebar.get_by_role("button", name=EN["job.resume"])).to_be_visible()
