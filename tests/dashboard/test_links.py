"""A link to what is gone says so and shows nothing else; contradictions and empty verdicts on the overview."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis import diagnose
from ple_model.run import Run
from tests.dashboard.test_views import opened, text


@pytest.fixture(scope="module")
def two_runs(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a measured run and another to compare it with."""
    runs = tmp_path_factory.mktemp("linked")
    for name in ("first", "second"):
        shutil.copytree(tiny_run.path, runs / name)
    diagnose(runs / "first")
    shutil.copytree(runs / "first" / "analysis", runs / "second" / "analysis", dirs_exist_ok=True)
    return runs


@pytest.mark.parametrize(
    ("view", "query"),
    [
        ("overview", {"run": "gone"}),
        ("overview", {"compare": "gone"}),
        ("overview", {"segment": "nobody"}),
        ("overview", {"column": "raw:nothing"}),
        ("cgc_gates", {"task": "loan"}),
        ("cgc_gates", {"expert": "oracle"}),
        ("uncertainty", {"task": "loan"}),
        ("hmm", {"mode": "daily"}),
        ("logit_transfer", {"edge": "ctr:loan"}),
        ("sae_neurons", {"latent": "999999"}),
        ("why_recommended", {"why_task": "loan"}),
    ],
)
def test_a_link_to_what_is_not_here_shows_nothing_else(
    view: str, query: dict[str, str], two_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(two_runs, monkeypatch, view, **query)
    (value,) = query.values()
    said = [e.value for e in app.error]
    assert len(said) == 1
    assert f"`{value}`" in said[0]
    assert "not here" in said[0]
    if "run" in query:
        assert not app.metric
        assert "Healthy" not in text(app)


def test_what_is_here_is_one_click_away(two_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(two_runs, monkeypatch, "cgc_gates", task="loan")
    app.button(key="forget-task").click().run()
    assert not app.error
    assert app.selectbox(key="task").value


def test_a_task_of_the_run_that_a_page_has_nothing_of_is_said(two_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(two_runs, monkeypatch, "uncertainty", task="brand_prediction")
    assert not app.error
    assert any("`brand_prediction`" in i.value for i in app.info)
    assert app.selectbox(key="task").value != "brand_prediction"
