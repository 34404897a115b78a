"""The app in a real browser: runs, cohorts, permalinks, every page, and a training from start to stop and to its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from analysis.i18n import catalogue as words
from analysis.results.labels import load_labels
from dashboard.browser import CONTENT, DRAWN, WAIT_MS, ready
from dashboard.i18n import catalogue
from dashboard.jobs import JobStore, jobs_root
from dashboard.view import run_views

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EN = catalogue("en")
REASON = '[data-testid="stMain"] [data-testid="stAlert"]'
"""What a page shows instead of a run that cannot be read."""
REPORT = '[data-testid="stMain"] [data-testid="stTable"]'
"""The reviewer's page: reasons with their weights."""


def title(page: Page, key: str) -> None:
    expect(page.locator("h1")).to_have_text(EN[key], timeout=WAIT_MS)
    ready(page)


def choose(page: Page, label: str, option: str) -> None:
    """Pick an option of a select box by its label."""
    page.get_by_role("combobox", name=label).first.click()
    page.get_by_role("option", name=option, exact=True).click()
    ready(page)


def cohort_badge(page: Page, language: str) -> Locator:
    """The note of how many rows are chosen, of how many, and of how many customers."""
    words = re.split(r"{n}|{total}|{customers}", catalogue(language)["frame.cohort_some"])
    return page.get_by_text(re.compile(r"[\d,]+".join(map(re.escape, words)))).first


def count(page: Page, card: str) -> int:
    """Verdict cards whose key starts like this."""
    return page.locator(f'[class*="st-key-card-{card}"]').count()


@pytest.mark.parametrize("view", run_views(), ids=lambda v: v.name)
def test_every_page_opens_with_its_question_and_without_an_error(address: str, page: Page, view: object) -> None:
    name = view.name  # type: ignore[attr-defined]
    if not page.url.startswith(address) or urlsplit(page.url).query != "run=healthy":
        page.goto(f"{address}/?run=healthy")
        ready(page, CONTENT)
    page.get_by_role("link", name=EN[f"{name}.title"], exact=True).click()
    title(page, f"{name}.question")
    ready(page, f'{CONTENT}, [data-testid="stMain"] [data-testid="stCode"]')  # or the command that makes what it would show
    assert page.locator('[data-testid="stException"], [data-testid="stDialog"]').count() == 0
    assert count(page, "error") == 0
    # true of it: it is behind a boosting on some tasks, and beside a fitted map some gates learn nothing; nothing else is
    assert count(page, "warning") == count(page, "warning-SKILL-BEHIND") + count(page, "warning-CGC-UNIFORM")


def test_a_run_is_switched_and_a_damaged_one_says_why(address: str, page: Page) -> None:
    page.goto(f"{address}/expert_health?run=healthy")
    ready(page, CONTENT)
    assert count(page, "error") == 0
    choose(page, EN["frame.run"], "cut-feed")
    expect(page).to_have_url(re.compile("run=cut-feed"))
    expect(page.locator('[class*="st-key-card-error-EXP-ZERO-INPUT-temporal"]')).to_have_count(2, timeout=WAIT_MS)
    choose(page, EN["frame.run"], "damaged")
    expect(page.locator('[data-testid="stAlert"]').first).to_contain_text("manifest.json", timeout=WAIT_MS)


def test_an_engineer_finds_the_dead_expert_reads_why_tries_it_and_sends_the_link(address: str, page: Page) -> None:
    page.goto(f"{address}/?run=cut-feed")
    ready(page, CONTENT)
    for field in ("txn_seq", "session_seq"):
        card = page.locator(f'[class*="st-key-card-error-EXP-ZERO-INPUT-temporal-{field}"]')
        expect(card).to_contain_text(field)
        expect(card).to_contain_text("100%")
    expect(page.locator('[class*="st-key-card-error-CGC-COLLAPSE-nba"]')).to_contain_text("nba")
    page.get_by_role("link", name=EN["expert_health.title"]).click()
    title(page, "expert_health.question")
    card = page.locator('[class*="st-key-card-error-EXP-ZERO-INPUT-temporal-txn_seq"]')
    expect(card).to_contain_text("its weights are not the cause", timeout=WAIT_MS)
    card.get_by_role("button", name=EN["card.try"]).click()
    result = page.locator('[class*="st-key-csv-whatif"]')
    expect(result).to_be_visible(timeout=WAIT_MS)
    ready(page)
    shown = page.locator('[data-testid="stMetric"]').all_text_contents()
    colleague = page.context.new_page()
    colleague.goto(page.url)
    expect(colleague.locator('[class*="st-key-csv-whatif"]')).to_be_visible(timeout=WAIT_MS)
    expect(colleague.locator('[data-testid="stMetric"]')).to_have_text(shown, timeout=WAIT_MS)
    colleague.close()


def test_what_a_card_suggests_is_tried_on_the_page_and_carried_into_the_training_form(address: str, page: Page) -> None:
    page.goto(f"{address}/cgc_gates?run=cut-feed")
    ready(page, CONTENT)
    card = page.locator('[class*="st-key-card-error-CGC-COLLAPSE-nba"]')
    card.get_by_role("button", name=EN["card.try"]).click()
    expect(page).to_have_url(re.compile("try="), timeout=WAIT_MS)
    ready(page)
    expect(page.locator('[class*="st-key-csv-whatif"]')).to_be_visible(timeout=WAIT_MS)
    card.get_by_role("button", name=EN["card.train"]).click()
    field = page.locator('[data-testid="stSidebar"]').get_by_role("textbox", name=EN["train.set"])
    expect(field).to_have_value(re.compile(r"task_experts\.tasks\.nba\.gate_bias="), timeout=WAIT_MS)
    expect(page.locator('[data-testid="stSidebar"] [data-testid="stCode"]').first).to_contain_text("gate_bias", timeout=WAIT_MS)


def test_a_copied_link_opens_the_same_view(address: str, page: Page) -> None:
    page.goto(f"{address}/cgc_gates?run=cut-feed&segment=warm_start&lang=ko&task=churn")
    ready(page, CONTENT)
    expect(page.locator("h1")).to_have_text(catalogue("ko")["cgc_gates.question"])
    shown = cohort_badge(page, "ko").inner_text()
    link = page.url
    assert all(part in link for part in ("run=cut-feed", "segment=warm_start", "task=churn"))
    page.reload()
    ready(page, CONTENT)
    expect(cohort_badge(page, "ko")).to_have_text(shown)
    assert page.url == link


def test_what_the_app_chose_at_the_start_is_in_the_link_too(address: str, page: Page) -> None:
    page.goto(f"{address}/why_recommended")
    ready(page, CONTENT)
    expect(page).to_have_url(re.compile("run=.*customer="))
    link = page.url
    page.reload()
    ready(page, CONTENT)
    assert page.url == link


def test_a_cohort_is_chosen_and_the_count_follows(address: str, page: Page) -> None:
    page.goto(f"{address}/hmm?run=healthy")
    ready(page, CONTENT)
    page.get_by_role("button", name=EN["frame.cohort"]).click()
    page.get_by_role("combobox", name=EN["frame.segment"]).click()
    page.get_by_role("option", name="warm_start", exact=True).click()
    expect(page).to_have_url(re.compile("segment=warm_start"), timeout=WAIT_MS)
    ready(page)
    expect(cohort_badge(page, "en")).to_be_visible(timeout=WAIT_MS)


def test_the_navigation_keeps_run_and_cohort(address: str, page: Page) -> None:
    page.goto(f"{address}/hmm?run=cut-feed&segment=warm_start")
    ready(page, CONTENT)
    page.get_by_role("link", name=EN["cgc_gates.title"]).click()
    title(page, "cgc_gates.question")
    expect(page).to_have_url(re.compile("segment=warm_start"))
    assert "run=cut-feed" in page.url
    expect(cohort_badge(page, "en")).to_be_visible(timeout=WAIT_MS)


def test_a_label_given_to_a_latent_is_kept_with_the_run(address: str, page: Page, shown_runs: Path) -> None:
    page.goto(f"{address}/sae_neurons?run=healthy&latent=3")
    field = page.get_by_role("textbox", name=EN["latent.label"])
    field.wait_for()
    ready(page)
    field.fill("travellers")
    field.press("Enter")
    ready(page)
    page.reload()
    expect(field).to_have_value("travellers", timeout=WAIT_MS)
    assert load_labels(shown_runs / "healthy") == {3: "travellers"}


def saved(page: Page, button: Locator, to: Path) -> str:
    """What the button sends, kept in `to`."""
    with page.expect_download() as sent:
        button.click()
    sent.value.save_as(to)
    text = to.read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>")
    assert len(text.encode()) < 8_000_000
    return text


def test_the_report_of_an_explanation_and_of_the_whole_run_are_saved(address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/why_recommended?run=healthy&why_task=churn")
    report = page.get_by_role("button", name=EN["why.report"])
    report.wait_for()
    ready(page)
    expect(page).to_have_url(re.compile("customer="))
    customer = parse_qs(urlsplit(page.url).query)["customer"][0]
    assert customer not in saved(page, report, tmp_path / "why.html")  # a mask stands for the customer
    page.get_by_role("button", name=EN["frame.export"]).click()
    assert "healthy" in saved(page, page.get_by_role("button", name=EN["frame.export_run"]), tmp_path / "run.html")


def test_a_reviewer_finds_a_customer_reads_prints_and_changes_a_fact(address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/why_recommended?run=healthy&why_task=churn&reader=plain")
    ready(page, REPORT)
    wanted = parse_qs(urlsplit(page.url).query)["customer"][0]
    field = page.get_by_role("combobox", name=EN["why.customer"]).first
    field.click()
    other = page.get_by_role("option").nth(3).inner_text()
    assert other != wanted
    field.fill(other)  # as somebody who was given an id types it
    page.get_by_role("option", name=other, exact=True).click()
    expect(page).to_have_url(re.compile(f"customer={other}"), timeout=WAIT_MS)
    ready(page, REPORT)
    reasons = page.get_by_text(words("en")["review.reasons"]).first
    expect(reasons).to_be_visible()
    with page.expect_download() as sent:
        page.get_by_role("button", name=EN["report.pdf"]).click()
    sent.value.save_as(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    page.emulate_media(media="print")
    expect(page.locator('[data-testid="stSidebar"]')).to_be_hidden()
    expect(reasons).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(media="screen")
    page.get_by_text(EN["why.reader_full"], exact=True).click()
    value = page.get_by_role("spinbutton").first
    value.wait_for()
    ready(page)
    value.fill("3")
    value.press("Enter")
    expect(page.get_by_role("button", name=EN["edit.clear"])).to_be_visible(timeout=WAIT_MS)
    expect(page).to_have_url(re.compile("to%3A|to:"))
    ready(page)
    assert page.locator('[data-testid="stException"]').count() == 0


def test_a_page_is_saved_as_it_is_shown_and_opens_without_a_network(address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/hmm?run=healthy&lang=ko&segment=warm_start")
    ready(page, CONTENT)
    page.wait_for_function(DRAWN, timeout=WAIT_MS)
    figures = page.locator('[data-testid="stPlotlyChart"]').count()
    known = catalogue("ko")
    page.get_by_role("button", name=known["frame.export"]).click()
    saved(page, page.get_by_role("button", name=known["frame.export_page"]), tmp_path / "page.html")
    page.context.set_offline(True)
    try:
        alone = page.context.new_page()
        wrong: list[str] = []
        alone.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        alone.on("pageerror", lambda e: wrong.append(str(e)))
        alone.goto((tmp_path / "page.html").as_uri(), timeout=WAIT_MS)
        expect(alone.locator(".plot .main-svg:first-child")).to_have_count(figures, timeout=WAIT_MS)
        expect(alone.locator("h1")).to_have_text(known["hmm.question"])
        expect(alone.locator("header")).to_contain_text("warm_start")
        assert alone.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert wrong == []
        alone.close()
    finally:
        page.context.set_offline(False)


@pytest.fixture
def store(shown_runs: Path) -> Iterator[JobStore]:
    """The jobs of the shown runs; whatever a test leaves running is stopped."""
    found = JobStore(jobs_root(shown_runs))
    yield found
    for job in found.jobs():
        if job.active:
            found.stop(job.id)


def test_a_training_is_started_watched_and_stopped(address: str, page: Page, shown_runs: Path, store: JobStore) -> None:
    page.goto(f"{address}/training?run=damaged")  # the form is beside every page: here one without figures to draw again
    ready(page, REASON)
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
    free = sidebar.get_by_role("textbox", name=EN["train.set"])
    free.fill("training.patience=1000")  # or so small a training would end by itself before it is stopped
    free.press("Control+Enter")
    ready(page)
    sidebar.get_by_role("button", name=EN["train.start"]).click()
    card = sidebar.locator('[class*="st-key-job-"]').first
    expect(card).to_contain_text(EN["job.running"], timeout=WAIT_MS)
    job = store.jobs()[0]
    assert job.run == shown_runs / "from-the-browser"
    page.reload()  # the training is nobody's child: a reload finds it again
    ready(page, REASON)
    expect(sidebar.get_by_text("from-the-browser").first).to_be_visible()
    expect(card).to_contain_text(re.compile(r"\d " + "(s|min|h)" + re.escape(EN["job.eta"].split("}")[1])), timeout=WAIT_MS)
    sidebar.get_by_role("button", name=EN["job.stop"]).click()
    expect(sidebar.get_by_role("button", name=EN["job.resume"])).to_be_visible(timeout=WAIT_MS)
    expect(card).to_contain_text(EN["job.stopped"])
    assert store.get(job.id).status == "stopped"
    assert (job.run / "manifest.json").exists()
