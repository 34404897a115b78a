"""What fails on a page, or is typed into the sidebar, ends in a sentence; the rest of the page stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import dataset_folders, train_form
from dashboard.i18n import catalogue
from dashboard.server import DEBUG, RUNS_VARIABLE
from ple_model.data.dataset.reader import Dataset

EN = catalogue("en")
TYPED = (
    "training.seed=2001-99-99", "training.seed=-1", "training.seed=" + "9" * 5000, "cgc.temperature=!!float x", "a=!!bool 1",
    "shared_experts.temporal.patch=-1", "training.patience=0b_", "x" * 9000, "=", "cgc=" + "[" * 500 + "]" * 500,
)  # fmt: skip


def page() -> None:
    from dashboard.app import main

    main("overview")


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv(RUNS_VARIABLE, str(folder))
    app = AppTest.from_function(page, default_timeout=120)
    app.session_state["train_open"] = True
    return app


def test_a_part_that_fails_is_a_sentence_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ZeroDivisionError("*division* by zero")

    monkeypatch.delenv(DEBUG)
    monkeypatch.setattr(train_form, "_form", fails)
    app = opened(tmp_path, monkeypatch).run()
    assert len(app.exception) == 0
    assert [e.value for e in app.error] == [EN["guard.broken"]]
    assert [e.value for e in app.text] == ["ZeroDivisionError: *division* by zero"]
    assert app.title[0].value == EN["overview.question"]


def test_with_debug_the_exception_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(train_form, "_form", fails)
    assert len(opened(tmp_path, monkeypatch).run().exception) == 1


def test_settings_typed_into_the_form_end_in_a_sentence(
    tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_folders, "datasets", lambda: [str(tiny_dataset.path)])
    app = opened(tmp_path, monkeypatch)
    app.session_state["train_data"] = str(tiny_dataset.path)
    for typed in TYPED:
        app.session_state["train_set"] = typed
        app.run()
        assert [e.message for e in app.exception] == [], typed
        start = next(b for b in app.sidebar.button if b.label == EN["train.start"])
        assert start.disabled, typed


@pytest.mark.parametrize("typed", ["\0", "x" * 5000, "a\0b", "/dev/null/x"])
def test_a_dataset_that_is_no_path_is_a_sentence(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(tmp_path, monkeypatch)
    app.session_state["train_data"] = typed
    app.run()
    assert [e.message for e in app.exception] == []
    assert any(typed in str(c.value) for c in app.sidebar.caption)
