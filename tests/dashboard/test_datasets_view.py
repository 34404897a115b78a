"""The page that makes datasets: it stands without a run, refuses a wrong name at the field, and starts what it shows."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import background, making
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


@pytest.mark.parametrize("typed", ["/etc", "../../etc/passwd", "link/passwd"])
def test_what_lies_outside_the_allowed_folders_is_refused_where_it_is_typed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, started: list[Making], typed: str
) -> None:
    (runs.parent / "data").mkdir()
    (runs.parent / "data" / "link").symlink_to("/etc")
    app = opened(runs, monkeypatch, "datasets")
    app.session_state["way"], app.session_state["import_source"] = "files", typed
    app.session_state["train_open"], app.session_state["train_data"] = True, typed
    app.run()
    said = [c.value for c in app.caption]
    assert f":red[{EN['import.outside'].format(path=typed)}]" in said
    assert EN["train.outside"].format(path=typed, folders=runs.parent / "data") in said
    assert not [b for b in app.button if b.key == "import-start"]
    assert next(b for b in app.button if b.label == EN["train.start"]).disabled
    assert started == []


def answered(app: AppTest) -> AppTest:
    """The page once every command that it asked has answered."""
    asked: list[int] = [-1]
    while asked != (now := [id(a) for a in background._askings().values()]):  # a page that is drawn may ask for more
        asked = now
        for asking in list(background._askings().values()):
            assert asking.thread is not None
            asking.thread.join(60)
        app.run()
    assert [e.message for e in app.exception] == []
    return app


def test_a_file_of_card_transactions_is_mapped_read_imported_and_its_labels_counted(
    runs: Path, monkeypatch: pytest.MonkeyPatch, started: list[Making]
) -> None:
    """From a file with a fault up to the build, on the page alone; the import is run by what runs it in a job."""
    head, days = "card number;booking date;amount;shop\n", [date(2024, 1, 1) + timedelta(days=k % 330) for k in range(1500)]
    rows = [f"c{k % 40};{d:%d.%m.%Y};{k % 90 + 1}.50;Shop {k % 5}" for k, d in enumerate(days)]
    (runs.parent / "data").mkdir()
    file = runs.parent / "data" / "cards.csv"
    file.write_text(head + "\n".join([*rows[:-1], "c1;oops;1.00;Shop"]), encoding="utf-8")
    app = opened(runs, monkeypatch, "datasets")
    app.session_state["way"] = "files"
    app.session_state["import_source"] = "cards.csv"
    app = answered(app.run())
    assert EN["import.faults"].format(n=1) in text(app)
    faults = next(d.value for d in app.dataframe if EN["import.fault_value"] in d.value)
    assert faults[[EN["import.fault_row"], EN["import.fault_value"]]].to_numpy().tolist() == [[1501, "oops"]]
    assert app.button(key="import-start").disabled
    app.button(key="leave-out-all").click().run()
    app = answered(app)
    assert EN["import.left_out"].format(n=1, rows="cards.csv: 1501") in text(app)
    app.button(key="take-back").click().run()
    assert answered(app).button(key="import-start").disabled
    app.button(key="leave-out-all").click().run()
    answered(app).button(key="import-start").click().run()
    store = DataStore(runs.parent)
    with monkeypatch.context() as patch:
        patch.setattr(DataStore, "get", lambda self, job_id: SimpleNamespace(making=started[-1], id="a" * 12))
        assert making.run(store, "a" * 12) == 0
    app.session_state["way"] = "events"
    app = answered(app.run())
    assert EN["build.counts"] in text(app)
    counts = next(d.value for d in app.dataframe if EN["split_rows.train"] in d.value and EN["datasets.what"] in d.value)
    assert counts[EN["split_rows.train"]].max() > 0
    assert not app.button(key="build-start").disabled
