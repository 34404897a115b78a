"""Who may change anything: an app that is read-only writes nothing but what is measured, on no page and by no button."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import access, background, state
from dashboard.data_jobs import DataStore, Making
from dashboard.i18n import catalogue
from dashboard.jobs import JobStore, Training
from dashboard.server import READ_ONLY_VARIABLE, TRAINERS_VARIABLE
from dashboard.view import views
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from tests.dashboard.test_tune_view import make_study
from tests.dashboard.test_views import opened, text
from tests.encoders import tiny_encoder

EN = catalogue("en")


@pytest.fixture
def place(measured: Path, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs with a study whose first trial can be opened, a dataset and a table beside it, a home of its own: of a
    server that is read-only."""
    shutil.copytree(measured, tmp_path / "here" / "runs")
    shutil.copytree(tiny_dataset.path, tmp_path / "here" / "data" / "planted")
    (tmp_path / "here" / "data" / "table.csv").write_text("customer,day,amount\n1,2024-01-01,5\n")
    study = make_study(tmp_path / "here" / "runs" / "study", tiny_dataset)
    shutil.copytree(measured / "tiny", study / "trials" / "trial-0001", ignore=shutil.ignore_patterns("analysis"))
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
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    small_dataset: Dataset,
) -> None:
    if name == "sequences":
        shutil.copytree(tiny_encoder(tmp_path_factory, small_dataset), place / "runs" / "days")
    state.refresh_entries()
    before = written(place)
    app = opened(place / "runs", monkeypatch, name, run="tiny")
    assert EN["access.read_only"] in text(app)
    _press_all(app)
    for field in [f for kind in (app.text_input, app.text_area) for f in kind if not f.disabled]:
        field.set_value("x")
        app.run()
        assert [e.message for e in app.exception] == []
    assert written(place) == before


def _press_all(app: AppTest) -> None:
    """Every button, by its key or its words: another may take it away."""
    for name in [b.key or b.label for b in app.button if not b.disabled]:
        found = [b for b in app.button if (b.key or b.label) == name and not b.disabled]
        if found:
            found[0].click()
            app.run()
            assert [e.message for e in app.exception] == []


def test_the_newest_pages_are_tried_with_what_they_are_about(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"tune", "datasets", "sequences"} <= {v.name for v in views()}
    app = opened(place / "runs", monkeypatch, "tune")
    assert not app.button(key="tune-open").disabled
    assert app.button(key="tune-train-best").disabled


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
