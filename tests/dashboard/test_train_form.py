"""The training form: it stands for one configuration, said with its differences; a wrong key is named as it is typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import background, train_estimate
from dashboard.chosen_config import chosen, differences, of_preset, problem
from dashboard.i18n import catalogue
from dashboard.jobs import JobStore, Training
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from tests.dashboard.test_views import opened, text
from tests.ple_model.test_encoder_start import write_run

EN = catalogue("en")


@pytest.fixture
def place(measured: Path, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs with the dataset of its run beside it."""
    shutil.copytree(measured, tmp_path / "runs")
    shutil.copytree(tiny_dataset.path, tmp_path / "data" / "planted")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "runs"


def form(runs: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    app = opened(runs, monkeypatch, "overview")
    app.session_state["train_open"] = True
    return app.run()


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("training:\n  learning_rat: 0.1", "learning_rate"),
        ("trainin: {}", "training"),
        ("training: [", "YAML"),
        ("- 1", EN["train.yaml_mapping"]),
        ("training:\n  learning_rate: fast", "training.learning_rate"),
        ("training: !!python/object/apply:os.system ['true']", "YAML"),
    ],
)
def test_what_is_typed_is_judged_at_once_with_the_nearest_key_and_runs_no_code(yaml: str, said: str) -> None:
    assert said in problem("small", yaml)
    assert "\n" not in problem("small", yaml)


def test_preset_yaml_and_settings_are_laid_on_each_other_and_what_differs_is_listed() -> None:
    here = chosen("small", "training:\n  phase1_epochs: 3", ["training.seed=7", "cgc.temperature=2"])
    base = of_preset("small")
    found = differences(here, base, "small")
    rows = {key: (then, now) for key, then, now in found.itertuples(index=False)}
    assert rows == {
        "training.phase1_epochs": (str(base.training.phase1_epochs), "3"),
        "training.seed": (str(base.training.seed), "7"),
        "cgc.temperature": (json.dumps(base.cgc.temperature), "2.0"),
    }
    assert differences(here, here, "x").empty


def test_a_run_is_taken_over_with_its_settings_and_its_data(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = form(place, monkeypatch)
    app.selectbox(key="train_from").select("tiny").run()
    assert [e.message for e in app.exception] == []
    run = next(e for e in background.state.entries() if e.name == "tiny")
    mine = background.state.run(run.path).config
    state = app.session_state
    taken = chosen(state["train_preset"], state["train_yaml"], [])
    assert differences(taken, mine, "x").empty
    assert state["train_phase1"] == mine.training.phase1_epochs
    assert Path(state["train_data"]).name in ("planted", "sample")
    app.number_input(key="train_seed").set_value(mine.training.seed + 5).run()
    app.selectbox(key="diff-form").select("tiny").run()
    shown = next(d.value for d in app.dataframe if EN["train.diff_key"] in d.value)
    assert shown.to_numpy().tolist() == [["training.seed", str(mine.training.seed), str(mine.training.seed + 5)]]


def test_the_weights_of_a_run_that_was_taken_over_go_into_the_command(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = form(place, monkeypatch)
    assert not [b for b in app.selectbox if b.key == "train_weights"]
    app.selectbox(key="train_from").select("tiny").run()
    assert not [c for c in app.code if "--from" in c.value]  # the settings alone
    app.selectbox(key="train_weights").select("phase_2").run()
    assert [e.message for e in app.exception] == []
    assert [c for c in app.code if f"--from {place / 'tiny'} --phase-2" in c.value]


def test_what_is_started_remembers_the_run_that_was_looked_at(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, job = JobStore(place.parent / "jobs"), "a" * 12
    assert store.parent(job) is None
    store.root.mkdir()
    store.note_parent(job, "tiny")
    assert store.parent(job) == "tiny"


def test_earlier_runs_tell_the_time_of_the_whole_without_the_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten epochs of 600 rows in 40 seconds, of which 10 were spent on what simple models reach, over a night's stop; the log is
    longer than what the app reads of it."""
    told: list[dict[str, object]] = [{"event": "start", "time": 0.0, "filling": "x" * 300_000}]
    told += [{"event": "epoch", "time": 2.0 * i, "epoch": i, "rss_mb": 900 + i} for i in range(1, 11)]
    told += [{"event": "baselines", "time": t, "share": 0.5} for t in (20.0, 25.0)]
    told += [{"event": "resumed", "time": 9_000.0}]
    told += [{"event": "baselines", "time": t, "share": 1.0} for t in (9_000.0, 9_005.0)]
    (tmp_path / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told), encoding="utf-8")
    entries = [
        SimpleNamespace(
            path=tmp_path,
            manifest=SimpleNamespace(preset="small", seconds=seconds, status=status, data=SimpleNamespace(rows={"train": 600})),
        )
        for seconds, status in ((40.0, "finished"), (1.0, "stopped"))
    ]
    monkeypatch.setattr(train_estimate.state, "entries", lambda: entries)
    assert train_estimate.estimate("small") == (200.0, 910.0, 1)
    assert train_estimate.estimate("v3_14") is None


def test_measuring_asks_for_a_few_steps_of_what_is_shown(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    told = {"seconds": 600.0, "rss_mb": 2048.0, "timed": 16, "epochs": [8, 2], "parameters": 1234}
    monkeypatch.setattr("dashboard.train_estimate.answer", lambda words, *rest: (asked.append(words), told)[1])
    app = form(place, monkeypatch)
    app.text_area(key="train_set").set_value("training.seed=3").run()
    assert asked == []  # nothing is measured until it is asked for
    app.button(key="measure-steps").click().run()
    data = app.session_state["train_data"]
    assert asked[-1][:5] == ("estimate", data, "--preset", "small", "--set")
    assert "training.seed=3" in asked[-1]
    assert "2.0 GB" in text(app)
    app.text_area(key="train_set").set_value("training.seed=4").run()
    assert "2.0 GB" not in text(app)  # of another configuration nothing is said
    assert app.button(key="measure-steps").label == EN["train.measure"]


def test_the_yaml_goes_where_the_command_looks_for_it(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    training = Training(tmp_path / "d", tmp_path / "r", config="training: {}")
    store.keep_yaml(training.config)
    path = store.config_path(training)
    assert path is not None
    assert path.read_text() == "training: {}"


def test_an_encoder_in_the_folder_of_runs_is_offered_and_named_in_the_command(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(place / "days-encoder")
    app = form(place, monkeypatch)
    app.selectbox(key="train_encoder").select("days-encoder").run()
    app.selectbox(key="train_encoder_mode").select("lora").run()
    assert not app.exception
    said = next(c.value for c in app.code if "ple train" in c.value)
    assert f"--encoder {(place / 'days-encoder').absolute()} --encoder-mode lora" in said


def test_a_job_names_an_encoder_by_its_whole_path_and_a_mode_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is none of frozen, finetune, lora"):
        Training(tmp_path / "data", tmp_path / "run", encoder=tmp_path / "e", encoder_mode="melted")
    with pytest.raises(UserError, match="absolute"):
        Training(tmp_path / "data", tmp_path / "run", encoder=Path("e"))
