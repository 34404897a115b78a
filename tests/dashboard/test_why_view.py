"""Why recommended for a reviewer, for two customers side by side and by group; what is saved is masked and recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.explain.customer import explain
from analysis.explain.lookup import customers
from analysis.i18n import section
from analysis.review.record import Person, verify
from dashboard import access
from dashboard.components.report import issued, noted
from dashboard.document import to_html
from dashboard.i18n import catalogue
from dashboard.page import KEY
from dashboard.server import READ_ONLY_VARIABLE, RUNS_VARIABLE
from dashboard.state import answers
from ple_model.run import Run, load_run

WHO = {"run": "tiny", "why_task": "nba"}


@pytest.fixture(autouse=True)
def whatever_its_skill(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whether this small model has any skill is no matter here."""
    monkeypatch.setattr(import_module("analysis.explain.customer"), "standing", lambda *_: None)
    answers._explanation.clear()
    yield
    answers._explanation.clear()


def page(start: str) -> None:
    from dashboard.app import main

    main(start)


def opened(runs: Path, monkeypatch: pytest.MonkeyPatch, **query: str) -> AppTest:
    monkeypatch.setenv(RUNS_VARIABLE, str(runs))
    app = AppTest.from_function(page, args=("why_recommended",), default_timeout=120)
    for key, value in {**WHO, **query}.items():
        app.query_params[key] = value
    app.run()
    assert [e.message for e in app.exception] == []
    return app


def said(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.success, app.info, app.error, app.subheader)
    tables = " ".join(t.value.to_csv() for t in (*app.table, *app.dataframe))
    return "\n".join(str(e.value) for kind in kinds for e in kind) + tables


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_reviewer_sees_the_reports_own_words_and_no_machinery(
    measured: Path, monkeypatch: pytest.MonkeyPatch, lang: str
) -> None:
    app = opened(measured, monkeypatch, reader="plain", lang=lang)
    text, w, full = said(app), section("review", lang), catalogue(lang)
    for key in ("decision", "reasons", "change", "limits"):
        assert w[key] in text
    for key in ("why.experts", "why.concepts", "why.groups", "why.transfer", "why.features"):
        assert full[key] not in text
    found = explain(measured / "tiny", app.selectbox(key="customer").value, "nba")
    assert found.shown(found.prediction, "ko" if lang == "ko" else "en") in text


def test_two_customers_stand_side_by_side(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (c.customer_id for c in customers(measured / "tiny", limit=400)[::300])
    app = opened(measured, monkeypatch, reader="plain", customer=one, beside=other)
    assert [s.value for s in app.subheader] == [one, other]
    assert len({t.value.to_csv() for t in app.table}) >= 2


def test_customers_are_found_by_what_is_recommended(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = opened(measured, monkeypatch, recommended="1").selectbox(key="customer").options
    assert some
    found = explain(measured / "tiny", some[0], "nba")
    assert found.target == 1


def test_groups_are_listed_with_rates_and_differences(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, reader="groups", by="segment")
    known = catalogue("en")
    assert {known["groups.difference"], known["groups.ratio"], known["groups.hits"]} <= {m.label for m in app.metric}
    rows = next(d.value for d in app.dataframe if known["groups.group"] in d.value)
    assert rows[known["groups.customers"]].sum() > 0
    assert rows[known["groups.rate"]].between(0, 1).all()


@pytest.fixture
def copied(tiny_run: Run, tmp_path: Path) -> Run:
    """Without the record of what other tests asked of it."""
    return load_run(Path(shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("audit"))))


def test_a_saved_report_is_masked_and_noted(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(READ_ONLY_VARIABLE, raising=False)
    e = explain(copied, customers(copied, limit=1)[0].customer_id, "nba")
    by = Person("ann@bank.example", "login")
    assert e.customer_id.encode() not in issued(copied, e, "html", "en", by, show_ids=False)
    assert e.customer_id.encode() in issued(copied, e, "html", "en", by, show_ids=True)
    lines = (copied.path / "audit" / "explanations.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(x["by"], x["known_by"], x["masked"]) for x in map(json.loads, lines)] == [
        ("ann@bank.example", "login", True),
        ("ann@bank.example", "login", False),
    ]
    assert verify(copied.path / "audit").whole
    noted(copied, e, "en", by, show_ids=False)
    assert verify(copied.path / "audit").entries == 3


@pytest.mark.parametrize("reader", ["full", "plain"])
@pytest.mark.parametrize("whose", ["known", "unknown"])
def test_a_saved_page_holds_no_id(measured: Path, monkeypatch: pytest.MonkeyPatch, reader: str, whose: str) -> None:
    ids = [c.customer_id for c in customers(measured / "tiny", limit=1000)]
    asked = ids[0] if whose == "known" else f"{ids[0]}9"
    app = opened(measured, monkeypatch, reader=reader, customer=asked, beside=ids[-1])
    saved = to_html(app.session_state[KEY].last(0))
    assert "run=tiny" in saved
    assert not [i for i in {asked, *ids} if i in saved]


def test_a_read_only_app_saves_reports_and_writes_nothing(copied: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    e = explain(copied, customers(copied, limit=1)[0].customer_id, "nba")
    data = issued(copied, e, "html", "en", Person("x", "account"), show_ids=False)
    assert data == issued(copied, e, "html", "en", Person("x", "account"), show_ids=False)
    assert not (copied.path / "audit").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("user", "name", "known_by"),
    [
        ({"is_logged_in": True, "email": "ann@bank.example", "name": "Ann"}, "ann@bank.example", "login"),
        ({"is_logged_in": True, "sub": "7"}, "7", "login"),
        ({"is_logged_in": False}, "not logged in", "login"),
    ],
)
def test_who_asked_is_who_is_logged_in(
    monkeypatch: pytest.MonkeyPatch, user: dict[str, object], name: str, known_by: str
) -> None:
    monkeypatch.setattr(st, "user", user)
    assert access.person() == Person(name, known_by)  # type: ignore[arg-type]
    monkeypatch.setattr(st, "user", {})
    assert access.person() == Person.of_account()
