"""The page that tunes: it stands without a run, starts what it shows, and shows a study with its trials in both languages."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dashboard import state
from dashboard.i18n import LANGUAGES, catalogue
from dashboard.tune_jobs import TuneStore, Tuning, command
from ple_model.config import load_config
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.run import Run
from ple_model.tuning.finder import curve, save_curve
from ple_model.tuning.judge import FoldLosses, save_losses, skill_of
from ple_model.tuning.record import StudySpec, TrialRecord, save_study, save_trial
from ple_model.tuning.space import chosen_space
from tests.dashboard.test_views import opened, text

EN = catalogue("en")
KEYS = ["training.learning_rate", "training.batch_size"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    state.refresh_entries()
    return tmp_path / "runs"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Tuning]:
    """What the page asked for; nothing is searched."""
    asked: list[Tuning] = []
    monkeypatch.setattr(TuneStore, "start", lambda self, tuning: asked.append(tuning))
    return asked


def make_study(folder: Path, data: Dataset, trials: int = 6) -> Path:
    """A study whose trials were never trained, as its folder would say it."""
    config = load_config("small")
    folder.mkdir()
    save_study(
        folder,
        StudySpec(
            data.path, data.manifest.fingerprint, "small", ("training.phase1_epochs=2",), config.to_dict(),
            chosen_space(config, KEYS, only=True), "tpe", "median", "plain", "mean", 0, 0, trials, "cpu", "2026-01-01",
        ),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    constant = rng.uniform(0.5, 1.5, (50, 2))
    for number in range(1, trials):
        params = {"training.learning_rate": 10.0 ** -(1.5 + 0.3 * number), "training.batch_size": ("64", "128")[number % 2]}
        losses = [FoldLosses(("ctr", "ltv"), constant * (0.7 + 0.01 * number) + rng.normal(0, 0.02, (50, 2)), constant)]
        save_losses(folder, number, losses)
        settings = tuple(f"{k}={v}" for k, v in params.items())
        save_trial(folder, TrialRecord(number, "finished", params, settings, (f"trial-{number:04d}",), "", ((1, 0.1),),
                                       skill_of(losses, "mean"), {}, 12.0))  # fmt: skip
    pruned = TrialRecord(trials, "pruned", params, settings, reason="pruned at step 2: behind the trials before it (median)")
    save_trial(folder, pruned)
    write_json(folder / "importance.json", {"trials": trials, "shares": {KEYS[0]: 0.7, KEYS[1]: 0.3}})
    rates = np.geomspace(1e-5, 1, 80)
    save_curve(folder, curve(rates.tolist(), (1 - 0.3 * np.exp(-((np.log10(rates) + 2) ** 2))).tolist(), 2e-3, 64))
    return folder


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_a_study_it_says_what_one_is_and_offers_the_form(
    runs: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    app = opened(runs, monkeypatch, "tune", lang=language)
    words = catalogue(language)
    assert app.title[0].value == words["tune.question"]
    assert words["tune.empty"] in text(app)
    assert app.button(key="tune-start").disabled
    assert words["train.need_data"] in text(app)


def test_a_study_is_started_as_it_is_shown(
    runs: Path, monkeypatch: pytest.MonkeyPatch, small_dataset: Dataset, started: list[Tuning]
) -> None:
    shutil.copytree(small_dataset.path, runs.parent / "data" / "planted")
    app = opened(runs, monkeypatch, "tune")
    app.number_input(key="tune_trials").set_value(9)
    app.text_area(key="tune_set").set_value("training.phase1_epochs=2")
    app.text_area(key="tune_ranges").set_value("training.learning_rate=1e-3..4e-3:log").run()
    shown = app.code[0].value
    app.button(key="tune-start").click().run()
    (tuning,) = started
    assert "ple " + " ".join(command(tuning)[3:]) == shown
    assert (tuning.strategy, tuning.sampler, tuning.trials, tuning.only) == ("staged", "tpe", 9, True)
    assert tuning.study == runs / "study-1"
    assert "training.learning_rate=1e-3..4e-3:log" in tuning.keys
    assert KEYS[0] not in tuning.keys


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("tune_ranges", "training.learning_rat=1..2", "did you mean 'training.learning_rate'"),
        ("tune_set", "training.phase1_epoch=2", "did you mean 'phase1_epochs'"),
    ],
)
def test_a_wrong_key_is_told_with_the_nearest_before_anything_starts(
    runs: Path, monkeypatch: pytest.MonkeyPatch, small_dataset: Dataset, field: str, value: str, said: str
) -> None:
    shutil.copytree(small_dataset.path, runs.parent / "data" / "planted")
    app = opened(runs, monkeypatch, "tune")
    app.text_area(key=field).set_value(value).run()
    assert said in text(app)
    assert app.button(key="tune-start").disabled


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_study_is_shown_with_what_is_level_and_opens_in_the_form(
    runs: Path, monkeypatch: pytest.MonkeyPatch, small_dataset: Dataset, tiny_run: Run, language: str
) -> None:
    folder = make_study(runs / "mine", small_dataset)
    shutil.copytree(tiny_run.path, folder / "trials" / "trial-0001")
    state.refresh_entries()
    app = opened(runs, monkeypatch, "tune", lang=language)
    words = catalogue(language)
    assert len(app.get("plotly_chart")) == 5
    found = app.dataframe[0].value
    assert list(found[words["tune.trial_column"]])[:2] == [1, 2]
    assert len(found) == 6
    assert words["tune.optimistic"] in text(app)
    assert "mine/trial-0001" in {e.name for e in state.entries()}
    assert not app.button(key="tune-open").disabled
    if language != "en":
        return  # the words of a selector are read back outside of the session, which speaks English there
    app.button(key="tune-train-best").click().run()
    assert [e.message for e in app.exception] == []
    assert app.session_state["train_phase1"] == 2  # a field shows it, so that none says otherwise than the command
    assert not any(line.startswith("training.phase1_epochs") for line in app.session_state["train_set"].splitlines())
    assert app.session_state["train_preset"] == "small"


def test_a_damaged_study_is_one_sentence_and_the_page_stays(
    runs: Path, monkeypatch: pytest.MonkeyPatch, small_dataset: Dataset
) -> None:
    folder = make_study(runs / "mine", small_dataset)
    (folder / "results" / "trial-0001.json").write_text("{}")
    app = opened(runs, monkeypatch, "tune")
    assert "trial-0001.json is damaged" in app.error[0].value
    assert app.button(key="tune-start")


def test_a_reader_may_look_and_not_start(runs: Path, monkeypatch: pytest.MonkeyPatch, small_dataset: Dataset) -> None:
    from dashboard.server import READ_ONLY_VARIABLE

    make_study(runs / "mine", small_dataset)
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    app = opened(runs, monkeypatch, "tune")
    assert EN["access.read_only"] in text(app)
    assert app.button(key="tune-train-best").disabled
    assert not [b for b in app.button if b.key == "tune-start"]
    with pytest.raises(UserError):
        TuneStore(runs / "jobs").start(Tuning(runs / "d", runs / "s"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset": Path("d")}, {"preset": "x y"}, {"settings": ("nonsense",)}, {"keys": ("a b",)}, {"sampler": "cma"},
        {"objective": "../x"}, {"trials": -1}, {"trials": True}, {"folds": 1000}, {"minutes": float("nan")},
    ],
)  # fmt: skip
def test_a_job_that_is_none_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        Tuning(**{"dataset": tmp_path, "study": tmp_path / "s", **wrong})  # type: ignore[arg-type]


def test_a_study_that_is_there_is_gone_on_with(runs: Path, small_dataset: Dataset) -> None:
    tuning = Tuning(small_dataset.path, runs / "mine", keys=("global.dropout=0..0.3",), only=True, minutes=5.0, folds=2)
    first = command(tuning)
    assert first[3:6] == (*("tune", str(small_dataset.path)), str(runs / "mine"))
    assert first[8:11] == ("--key", "global.dropout=0..0.3", "--only")
    make_study(runs / "mine", small_dataset)
    assert command(tuning)[6:] == ("--resume", "--minutes", "5")
