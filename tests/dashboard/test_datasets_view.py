"""The page that makes datasets: it stands without a run, refuses a wrong name at the field, and starts what it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dashboard.data_jobs import DataStore, Making, commands
from dashboard.i18n import LANGUAGES, catalogue
from ple_model.data.dataset.reader import Dataset
from tests.dashboard.test_views import opened, text

EN = catalogue("en")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Making]:
    """What the page asked for; nothing is made."""
    asked: list[Making] = []
    monkeypatch.setattr(DataStore, "start", lambda self, making: asked.append(making))
    return asked


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_opens_without_any_run(runs: Path, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    app = opened(runs, monkeypatch, "datasets", lang=language)
    words = catalogue(language)
    assert app.title[0].value == words["datasets.question"]
    assert words["datasets.none"] in text(app)
    assert "ple synth" in app.code[0].value


def test_a_bank_is_started_as_it_is_shown(runs: Path, monkeypatch: pytest.MonkeyPatch, started: list[Making]) -> None:
    app = opened(runs, monkeypatch, "datasets")
    app.text_input(key="bank_name").set_value("mine")
    app.number_input(key="bank_customers").set_value(300)
    app.number_input(key="bank_seed").set_value(9).run()
    shown = app.code[0].value.splitlines()
    app.button(key="bank-start").click().run()
    assert [f"ple {' '.join(words)}" for words in commands(started[0])] == shown
    assert started[0].target == runs.parent / "data" / "mine"
    assert (started[0].customers, started[0].seed, started[0].steps) == (300, 9, ("synth", "build", "baselines"))


@pytest.mark.parametrize("name", ["../x", "", "a b", "taken"])
def test_a_wrong_name_is_one_sentence_at_the_field_and_nothing_is_lost(
    runs: Path, monkeypatch: pytest.MonkeyPatch, started: list[Making], name: str
) -> None:
    (runs.parent / "data" / "taken").mkdir(parents=True)
    app = opened(runs, monkeypatch, "datasets")
    app.number_input(key="bank_customers").set_value(700)
    app.text_input(key="bank_name").set_value(name).run()
    why = EN["train.bad_name"] if name != "taken" else EN["datasets.exists"].format(name=name)
    assert f":red[{why}]" in [c.value for c in app.caption]
    assert app.button(key="bank-start").disabled
    assert (app.text_input(key="bank_name").value, app.number_input(key="bank_customers").value) == (name, 700)


def test_a_dataset_shows_what_simple_models_reach_and_goes_to_the_training_form(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tiny_dataset: Dataset, started: list[Making]
) -> None:
    place = runs.parent / "data" / "planted"
    shutil.copytree(tiny_dataset.path, place)
    app = opened(runs, monkeypatch, "datasets")
    tasks = app.dataframe[1].value
    assert set(tasks[EN["overview.task"]]) == set(tiny_dataset.manifest.label_counts)
    shutil.rmtree(place / "baselines")
    app.run()
    assert EN["datasets.reach_none"] in text(app)
    app.button(key="page-measure").click().run()
    assert commands(started[0]) == (("baselines", str(place)),)
    app.button(key="train-on").click().run()
    assert app.selectbox(key="train_data").value == str(place)


def test_the_training_form_leads_to_it(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "overview")
    app.session_state["train_open"] = True
    app.run()
    app.button(key="make-dataset").click().run()
    assert [e.message for e in app.exception] == []
    assert app.title[0].value == EN["datasets.question"]
