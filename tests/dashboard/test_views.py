"""Every page renders with no run, a tiny run and too few rows, in both languages; what the frame does with bad input."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from analysis import diagnose
from dashboard.i18n import LANGUAGES, catalogue
from dashboard.server import RUNS_VARIABLE
from dashboard.view import run_views
from ple_model.fields import SEGMENTS
from ple_model.run import Run, load_run

pytestmark = pytest.mark.slow

HANGUL = re.compile(r"[가-힣]")
SAME = {"AUC", "CKA"}
"""Words of figures that Korean takes over."""
NAMES = [v.name for v in run_views()]


def page(start: str) -> None:
    """The app as it opens on one page (the source of this function is what AppTest runs)."""
    from dashboard.app import main

    main(start)


def opened(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, **query: str) -> AppTest:
    monkeypatch.setenv(RUNS_VARIABLE, str(runs))
    app = AppTest.from_function(page, args=(name,), default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert [e.message for e in app.exception] == []
    return app


def text(app: AppTest) -> str:
    """Everything a reader sees as text."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.warning, app.error, app.success)
    return "\n".join(str(e.value) for kind in kinds for e in kind)


def words_of_figures(app: AppTest) -> set[str]:
    """Titles, axes, colour bars, notes and names in the legends of a page's figures that hold a word."""
    found: list[str | None] = []
    for chart in app.get("plotly_chart"):
        figure = go.Figure(json.loads(chart.proto.spec))
        layout = figure.layout
        found += [layout.title.text, layout.legend.title.text, layout.coloraxis.colorbar.title.text]
        found += [axis.title.text for axis in (*figure.select_xaxes(), *figure.select_yaxes())]
        found += [note.text for note in layout.annotations]
        found += [trace.name for trace in figure.data]
        found += [trace.colorbar.title.text for trace in figure.data if "colorbar" in trace]
    return {w for w in found if w and re.search("[A-Za-z]{2}", w)}


def names_in(run: Path) -> set[str]:
    """What a run calls things, in every language."""
    config = load_run(run).config
    return {run.name, *SEGMENTS, *config.tasks, *config.shared_experts}


@pytest.fixture(scope="session")
def few(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with a sample of a dozen customers: too few for any verdict."""
    runs = tmp_path_factory.mktemp("few")
    shutil.copytree(tiny_run.path, runs / "tiny", ignore=shutil.ignore_patterns("analysis", "sample"))
    tiny_run.sample().extract(runs / "tiny" / "sample", limit=12)
    diagnose(runs / "tiny")
    return runs


@pytest.mark.parametrize("name", NAMES)
def test_without_a_run_a_page_asks_its_question_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    app = opened(tmp_path, monkeypatch, name)
    assert app.title[0].value == catalogue("en")[f"{name}.question"]
    assert catalogue("en")["empty.title"] in [s.value for s in app.subheader]
    assert "ple train" in app.code[0].value


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_a_measured_run_in_each_language(
    measured: Path, monkeypatch: pytest.MonkeyPatch, name: str, language: str
) -> None:
    app = opened(measured, monkeypatch, name, lang=language)
    assert app.title[0].value == catalogue(language)[f"{name}.question"]
    assert app.get("plotly_chart") or app.dataframe or (name == "sequences" and app.code)  # this run has no encoder to show
    if language == "ko":
        assert {w for w in words_of_figures(app) if not HANGUL.search(w)} - names_in(measured / "tiny") - SAME == set()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "training"])
def test_too_few_rows_are_never_called_healthy(few: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    app = opened(few, monkeypatch, name)
    assert "Only 12 rows" in text(app)
    assert "Healthy" not in text(app)
    assert "No alarm here" not in text(app)


def test_an_unreadable_run_is_one_sentence(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(measured / "tiny", broken)
    (broken / "config.yaml").write_text("cgc: {no_such_key: 1}\n", encoding="utf-8")
    app = opened(tmp_path, monkeypatch, "overview")
    assert len(app.error) == 1
    assert "no_such_key" in app.error[0].value


def test_the_run_stays_in_the_url_and_an_unknown_one_is_not_taken_for_another(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(measured, monkeypatch, "overview", run="tiny")
    assert app.selectbox(key="run").value == "tiny"
    app = opened(measured, monkeypatch, "overview", run="gone")
    assert "`gone`" in app.error[0].value
    app.button(key="forget-run").click().run()
    assert app.selectbox(key="run").value == "tiny"


def test_a_segment_narrows_every_figure_and_says_so(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "cgc_gates")
    app.multiselect(key="segment").set_value(["warm_start"]).run()
    assert [e.message for e in app.exception] == []
    labels = [b.label if hasattr(b, "label") else b.value for b in app.markdown]
    assert any("customers" in str(v) and " of " in str(v) for v in labels)


def test_a_what_if_from_the_url_is_run(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "expert_health", **{"try": "ablate.temporal=zero"})
    assert "expert temporal replaced by zeros" in text(app)


def test_a_what_if_that_names_nothing_known_says_what_is(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "expert_health", **{"try": "ablate.temporel=zero"})
    assert any("did you mean 'temporal'" in e.value for e in app.error)


def test_train_with_this_opens_the_form_with_the_change(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import train_form

    state: dict[str, object] = {"train_set": "training.seed=3\ncgc.entropy_lambda=0.01"}
    monkeypatch.setattr(train_form.st, "session_state", state)
    train_form.open_with(["cgc.entropy_lambda=0.02"])
    assert state == {"train_set": "training.seed=3\ncgc.entropy_lambda=0.02", "train_open": True}


def test_the_form_previews_the_command_and_refuses_an_unknown_key(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNS_VARIABLE, str(measured))
    app = AppTest.from_function(page, args=("training",), default_timeout=120)
    app.session_state["train_open"] = True
    app.session_state["train_set"] = "cgc.entropy_lambda=0.03"
    app.run()
    assert [e.message for e in app.exception] == []
    assert any("--set cgc.entropy_lambda=0.03" in c.value for c in app.sidebar.code)
    app.text_area(key="train_set").set_value("cgc.entropi_lambda=0.03").run()
    assert any("did you mean 'entropy_lambda'" in c.value for c in app.sidebar.caption)
