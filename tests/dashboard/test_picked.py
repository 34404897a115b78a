"""From marks and rows to the reasons of whom they stand for: who that is, and what the page of reasons opens with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.explain.lookup import customers
from analysis.figures.embedding import points
from analysis.figures.hmm import projection, projection_map
from dashboard.components import picked
from dashboard.i18n import catalogue
from dashboard.server import RUNS_VARIABLE


def event(*at: tuple[int, int]) -> dict[str, object]:
    return {"selection": {"points": [{"curve_number": c, "point_index": i} for c, i in at]}}


@pytest.mark.parametrize("values", [np.array(list("abacab")), np.linspace(0, 1, 6)])
def test_a_mark_stands_for_the_row_at_its_place(values: np.ndarray) -> None:
    xy = np.stack([np.arange(6.0), -np.arange(6.0)], 1)
    drawn = points(xy, values, "column")
    for curve, trace in enumerate(drawn.data):
        for index, x in enumerate(trace.x):
            assert picked.rows(drawn, event((curve, index))) == [int(x)]
    everything = [(c, i) for c, t in enumerate(drawn.data) for i in range(len(t.x))]
    assert picked.rows(drawn, event(*everything, *everything)) == list(range(6))
    assert picked.rows(drawn, event((0, 99), (9, 0))) == []
    assert picked.rows(drawn, {}) == []


def test_a_projected_customer_is_found_again_and_the_default_is_nobody() -> None:
    rng = np.random.default_rng(0)
    default = np.array([True, False, False, True, False, False])
    info = projection_map(rng.normal(size=(6, 4)), np.zeros(4), default, list("aababb"))
    assert info.rows == (1, 2, 4, 5)
    drawn = projection(info)
    found = [info.rows[i] for i in picked.rows(drawn, event((0, 0), (1, 0)))]
    assert [list("aababb")[i] for i in found] == ["a", "b"]
    assert picked.rows(drawn, event((2, 0))) == []


def page(ids: list[str], task: str) -> None:
    import streamlit as st

    from dashboard.app import main
    from dashboard.components import picked

    if "pressed" not in st.session_state:
        st.session_state["pressed"] = True
        picked.open_reasons(ids, task)
    main("overview")


def alone() -> None:
    from dashboard.app import main

    main("why_recommended")


@pytest.mark.parametrize("n", [1, 3])
def test_the_page_of_reasons_opens_with_whom_was_picked(measured: Path, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setenv(RUNS_VARIABLE, str(measured))
    ids = [c.customer_id for c in customers(measured / "tiny", limit=400)[50 :: 60 if n > 1 else 400]][:n]
    app = AppTest.from_function(page, args=(ids, "churn"), default_timeout=120)
    app.query_params["run"] = "tiny"
    app.run()
    assert [e.message for e in app.exception] == []
    assert app.title[0].value == catalogue("en")["why_recommended.question"]
    assert app.selectbox(key="why_task").value == "churn"
    assert app.selectbox(key="customer").value == ids[0]
    assert set(app.selectbox(key="customer").options) == set(ids)
    app.button(key="picked-clear").click().run()
    assert len(app.selectbox(key="customer").options) > n


def test_what_heads_the_page_is_what_it_answers(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNS_VARIABLE, str(measured))
    app = AppTest.from_function(alone, default_timeout=120)
    for key, value in {"run": "tiny", "reader": "groups", "why_task": "churn", "lang": "ko"}.items():
        app.query_params[key] = value
    app.run()
    assert app.title[0].value == catalogue("ko")["why_recommended.question_groups"]
