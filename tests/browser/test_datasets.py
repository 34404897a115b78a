"""Data is made in the app by clicks alone: a bank up to the training form, and a file of card transactions up to its labels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboard.browser import WAIT_MS, app, ready
from dashboard.data_jobs import DataStore
from dashboard.i18n import catalogue
from dashboard.jobs import jobs_root
from dashboard.server import DEBUG
from ple_model.data.dataset.manifest import DatasetManifest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EN = catalogue("en")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh machine: no run, no data."""
    runs = tmp_path_factory.mktemp("fresh") / "runs"
    runs.mkdir()
    return runs


@pytest.fixture(scope="module")
def fresh(empty: Path) -> Iterator[str]:
    with app([empty], empty.parent / "app.log", variables={DEBUG: "1"}) as url:
        yield url
        store = DataStore(jobs_root(empty))
        for job in store.jobs():
            if job.active:
                store.stop(job.id)


def fill(page: Page, role: str, key: str, text: str) -> None:
    field = page.locator('[data-testid="stMain"]').get_by_role(role, name=EN[key])  # type: ignore[arg-type]
    field.fill(text)
    field.press("Tab")
    ready(page)


def test_a_bank_is_made_by_clicks_and_stands_in_the_training_form(fresh: str, empty: Path, page: Page) -> None:
    page.goto(f"{fresh}/datasets")
    ready(page, "h1")
    fill(page, "spinbutton", "bank.customers", "100")
    fill(page, "textbox", "datasets.name", "small-bank")
    page.get_by_text(EN["datasets.with_baselines"]).click()
    ready(page)
    page.get_by_role("button", name=EN["bank.start"]).click()
    card = page.locator('[data-testid="stMain"] [class*="st-key-page-making-"]').filter(has_text="small-bank")
    expect(card).to_be_visible(timeout=WAIT_MS)
    page.reload()  # the job is nobody's child: a reload finds it again
    expect(card.get_by_text(EN["job.finished"])).to_be_visible(timeout=WAIT_MS)
    card.get_by_role("button", name=EN["making.train"]).click()
    sidebar = page.locator('[data-testid="stSidebar"]')
    expect(sidebar.get_by_role("combobox", name=EN["train.data"])).to_have_value("small-bank", timeout=WAIT_MS)
    made = DatasetManifest.load(empty.parent / "data" / "small-bank")
    assert made.splits["train"] > 50


def test_a_file_of_card_transactions_is_mapped_read_imported_and_counted(fresh: str, empty: Path, page: Page) -> None:
    days = [date(2024, 1, 1) + timedelta(days=k % 330) for k in range(1500)]
    rows = [f"c{k % 40};{d:%d.%m.%Y};{k % 90 + 1}.50;Shop {k % 5}" for k, d in enumerate(days)]
    file = empty.parent / "cards.csv"
    file.write_text("card number;booking date;amount;shop\n" + "\n".join([*rows[:-1], "c1;oops;1.00;Shop"]), encoding="utf-8")
    page.goto(f"{fresh}/datasets")
    ready(page, "h1")
    page.get_by_role("radio", name=EN["datasets.way_files"]).click()
    ready(page)
    page.locator('input[type="file"]').set_input_files(file)
    expect(page.get_by_text(EN["import.faults"].format(n=1))).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_role("button", name=EN["import.start"])).to_be_disabled()
    file.write_text("card number;booking date;amount;shop\n" + "\n".join(rows), encoding="utf-8")
    page.locator('[data-testid="stFileUploader"]').get_by_role("button", name="Remove").first.click()
    ready(page)
    page.locator('input[type="file"]').set_input_files(file)
    start = page.get_by_role("button", name=EN["import.start"])
    expect(start).to_be_enabled(timeout=WAIT_MS)
    start.click()
    page.locator('[data-testid="stMain"]').get_by_role("button", name=EN["making.choose"]).first.click(timeout=WAIT_MS)
    expect(page.get_by_text(EN["build.counts"])).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_role("button", name=EN["build.start"])).to_be_enabled(timeout=WAIT_MS)
