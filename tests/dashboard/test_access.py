"""Who may change anything: an app that is read-only writes nothing but what is measured, on no page and by no button."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import access, background
from dashboard.data_jobs import DataStore, Making
from dashboard.i18n import catalogue
from dashboard.jobs import JobStore, Training
from dashboard.server import READ_ONLY_VARIABLE, TRAINERS_VARIABLE
from dashboard.view import views
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from tests.dashboard.test_views import opened, text

EN = catalogue("en")


@pytest.fixture
def place(measured: Path, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs with a dataset beside it, and a home of its own, in a server that is read-only."""
    shutil.copytree(measured, tmp_path / "here" / "runs")
    shutil.copytree(tiny_dataset.path, tmp_path / "here" / "data" / "planted")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here" / "state"))
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    return tmp_path / "here"


def written(root: Path) -> dict[str, str]:
    """Every file and what it holds, but for what is measured of a run."""
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in sorted(root.rglob("*"))
        if "analysis" not in p.relative_to(root).parts
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [v.name for v in views()])
def test_a_read_only_app_writes_nothing_on_any_page_by_any_button(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = written(place)
    app = opened(place / "runs", monkeypatch, name)
    assert EN["access.read_only"] in text(app)
    for key in [b.key for b in app.button if not b.disabled and b.key]:
        found = [b for b in app.button if b.key == key]  # another button may have taken it away
        if found and not found[0].disabled:
            found[0].click()
            app.run()
            assert [e.message for e in app.exception] == []
    for field in [f for f in app.text_input if not f.disabled]:
        field.set_value("x")
        app.run()
    assert written(place) == before


def test_what_opens_the_training_form_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(place / "runs", monkeypatch, "overview")
    assert not [b for b in app.button if b.key and b.key.startswith("train-") and not b.disabled]
    assert "train_preset" not in app.session_state


def test_no_job_is_started_or_stopped_however_it_is_asked(place: Path) -> None:
    root = place / "jobs"
    for start in (
        lambda: JobStore(root).start(Training(place / "data" / "planted", place / "runs" / "new")),
        lambda: DataStore(root).start(Making(("baselines",), dataset=place / "data" / "planted")),
        lambda: JobStore(root).stop("a" * 12),
        lambda: background.fit_baselines(place / "runs" / "tiny"),
        lambda: background.ask(("import", "map", "x", "y"), "mark"),
    ):
        with pytest.raises(UserError, match=r"read.only"):
            start()
    assert not root.exists()


@pytest.mark.parametrize(
    ("user", "trainers", "why"),
    [
        ({}, "", ""),
        ({}, "ann@bank.example", "no_login"),
        ({"is_logged_in": False}, "", "login"),
        ({"is_logged_in": True, "email": "ann@bank.example"}, "", ""),
        ({"is_logged_in": True, "email": "Ann@Bank.example"}, " ann@bank.example , bob@bank.example", ""),
        ({"is_logged_in": True, "email": "eve@bank.example"}, "ann@bank.example", "not_trainer"),
        ({"is_logged_in": True}, "ann@bank.example", "not_trainer"),
    ],
)
def test_who_may_train_is_who_is_logged_in_and_named(
    monkeypatch: pytest.MonkeyPatch, user: dict[str, object], trainers: str, why: str
) -> None:
    monkeypatch.delenv(READ_ONLY_VARIABLE, raising=False)
    monkeypatch.setenv(TRAINERS_VARIABLE, trainers)
    monkeypatch.setattr(st, "user", user)
    assert access.why_not() == why
    if why:
        with pytest.raises(UserError, match=re.escape(EN[f"access.{why}"])):
            access.require()
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    assert access.why_not() == "read_only"


def test_who_may_not_train_sees_why_and_the_pages(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRAINERS_VARIABLE, "ann@bank.example")
    app: AppTest = opened(measured, monkeypatch, "training")
    assert EN["access.no_login"] in text(app)
    assert app.get("plotly_chart")
