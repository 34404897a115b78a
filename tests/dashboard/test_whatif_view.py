"""What-ifs on pages: a customer with other values, edits in the what-if text, the strength sweep of an edge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import diagnose
from dashboard.i18n import LANGUAGES, catalogue
from dashboard.server import RUNS_VARIABLE
from dashboard.state import answers
from ple_model.run import Run


@pytest.fixture(autouse=True)
def whatever_its_skill(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The panel belongs to the reasons, which a task without skill does not have: whether this small model has any is no
    matter."""
    monkeypatch.setattr(import_module("analysis.explain.customer"), "standing", lambda *_: None)
    answers._explanation.clear()
    yield
    answers._explanation.clear()


WHO = {"run": "tiny", "customer": "test-00003"}


def page(start: str) -> None:
    from dashboard.app import main

    main(start)


@pytest.fixture(scope="module")
def measured(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    runs = tmp_path_factory.mktemp("tried")
    shutil.copytree(tiny_run.path, runs / "tiny")
    diagnose(runs / "tiny")
    return runs


def opened(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, **query: str) -> AppTest:
    monkeypatch.setenv(RUNS_VARIABLE, str(runs))
    app = AppTest.from_function(page, args=(name,), default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert [e.message for e in app.exception] == []
    return app


def said(app: AppTest) -> str:
    return "\n".join(str(e.value) for kind in (app.markdown, app.caption, app.warning, app.error) for e in kind)


def words(language: str, key: str) -> str:
    return catalogue(language)[key]


def test_a_column_of_the_customer_is_offered_with_its_value_and_standing(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(measured, monkeypatch, "why_recommended", **WHO)
    chosen = app.multiselect(key="edit:en")
    assert len(chosen.value) == 1, "the one that matters most is there to start with"
    assert any(o.startswith("recency_days · ") for o in chosen.options)
    assert len(chosen.options) == 734
    assert re.search(r"Now .*\. That is above \d+% of \d+ training rows in the run's sample; training went from", said(app))
    assert words("en", "edit.none") in said(app)
    assert words("en", "edit.before") not in [m.label for m in app.metric]
    chosen.set_value(["recency_days", "purchase_count_7d"]).run()
    app.number_input(key="to:recency_days").set_value(3.0).run()
    assert words("en", "edit.after") in [m.label for m in app.metric]
    assert [n.label for n in app.number_input if (n.key or "").startswith("to:")] == ["New value, days", "New value, count"]
    assert app.query_params["edit"] in ("recency_days,purchase_count_7d", ["recency_days,purchase_count_7d"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_value_is_answered_with_before_and_after_and_what_moves(
    measured: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    query = {**WHO, "why_task": "churn", "lang": language, "edit": "recency_days", "to:recency_days": "9000"}
    app = opened(measured, monkeypatch, "why_recommended", **query)
    shown = {m.label: m for m in app.metric}
    before, after = shown[words(language, "edit.before")], shown[words(language, "edit.after")]
    assert before.value != after.value
    assert after.delta.endswith(words(language, "edit.points"))
    assert "9,000" in app.warning[-1].value
    table = next(d.value for d in app.dataframe if words(language, "edit.moved") in d.value)
    moved = list(table[words(language, "edit.moved")])
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 0


def test_a_copied_link_opens_the_same_values(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = {**WHO, "edit": "recency_days,purchase_count_7d,nonsense", "to:recency_days": "3"}
    app = opened(measured, monkeypatch, "why_recommended", **query)
    assert app.multiselect(key="edit:en").value == ["recency_days", "purchase_count_7d"]
    assert app.number_input(key="to:recency_days").value == 3
    assert app.number_input(key="to:purchase_count_7d").value is None
    assert words("en", "edit.after") in [m.label for m in app.metric]
    button = next(b for b in app.button if b.label == words("en", "edit.clear"))
    button.click().run()
    assert app.multiselect(key="edit:en").value == []
    assert words("en", "edit.after") not in [m.label for m in app.metric]


def test_the_counterfactual_is_taken_over_at_a_press(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "why_recommended", **WHO, why_task="churn")
    buttons = [b for b in app.button if b.label == words("en", "edit.start")]
    if not buttons:
        pytest.skip("the explanation of this customer is withheld or has no counterfactual")
    buttons[0].click().run()
    assert [e.message for e in app.exception] == []
    chosen = app.multiselect(key="edit:en").value
    assert chosen
    assert all(app.number_input(key=f"to:{name}").value is not None for name in chosen)
    assert words("en", "edit.after") in [m.label for m in app.metric]


def test_features_are_edited_in_the_text_of_a_what_if(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "logit_transfer", **{"try": "feature.recency_days=9000 feature.deposit=absent"})
    assert "recency_days set to 9000; input deposit taken away" in said(app)
    assert "outside" in app.warning[-1].value
    app = opened(measured, monkeypatch, "logit_transfer", **{"try": "feature.recency_days=9000", "lang": "ko"})
    assert "recency_days 을(를) 9000 로" in said(app)
    app = opened(measured, monkeypatch, "logit_transfer", **{"try": "feature.recency=1"})
    assert any("did you mean 'recency_days'" in e.value for e in app.error)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_strength_of_an_edge_is_swept_when_asked_for(
    measured: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    app = opened(measured, monkeypatch, "logit_transfer", run="tiny", edge="churn:retention", lang=language)
    before = len(app.get("plotly_chart"))
    app.toggle(key="sweep").set_value(True).run()
    assert [e.message for e in app.exception] == []
    assert len(app.get("plotly_chart")) == before + 2
    metric = words(language, "transfer.sweep_metric").format(metric="AUC", target="retention", edge="churn → retention")
    assert metric in said(app)
    app.selectbox(key="edge").set_value("cvr:ltv").run()
    assert "cvr → ltv" in said(app)
