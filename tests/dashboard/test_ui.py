"""Streamlit's elements are reached by one door, and what passes it is harmless."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from analysis.harmless import harmless_figure
from dashboard import ui
from tests.dashboard.test_hostile_text import PLANTED, marked, sent

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
LAYOUT = {"columns", "container", "empty", "add_rows"}
AS_IT_IS = {"code", "json", "text"}
"""Elements that show text and read no Markdown."""
DRAWN_PAST = {"vega_lite_chart"}
"""Numbers alone: the small chart of a training's progress."""
APART = {
    "cache_data", "cache_resource", "column_config", "context", "fragment", "get_option", "navigation", "query_params", "rerun",
    "session_state", "set_page_config", "sidebar", "stop", "switch_page", "logo", "App", "login", "logout", "user",
}  # fmt: skip
"""What of Streamlit is no element, or shows nothing but the program's own name and picture."""
METHODS = {n for n in dir(DeltaGenerator) if not n.startswith("_")} - LAYOUT - AS_IT_IS - {"map"} | set(ui.__all__) | {"toast"}
ELEMENTS = ("streamlit.elements", "streamlit.components", "streamlit.delta_generator")
OTHERS = {
    "ui", "put", "drawn", "cards", "_log", "found", "self", "alt", "d", "text_of", "json", "st", "page", "frame.run",
    "frame.other", "os",
}  # fmt: skip
"""What has methods of these names and is no container: `drawn` is `put` or `ui`."""


def past(source: str) -> list[str]:
    """Where a module shows words by Streamlit itself, or in a container, and not by the door."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module == "streamlit" or (node.module or "").startswith(ELEMENTS)):
            wrong.append(f"line {node.lineno}: from {node.module} import ...")
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "st":
            if node.attr not in LAYOUT | AS_IT_IS | DRAWN_PAST | APART:
                wrong.append(f"line {node.lineno}: st.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            element, owner = node.func.attr, ast.unparse(node.func.value)
            if element in METHODS and owner not in OTHERS:
                wrong.append(f"line {node.lineno}: {owner}.{element}")
    return wrong


@pytest.mark.parametrize(
    "path", [p for p in sorted(DASHBOARD.rglob("*.py")) if p.name != "ui.py"], ids=lambda p: p.relative_to(DASHBOARD).as_posix()
)
def test_no_module_shows_words_past_the_door(path: Path) -> None:
    assert past(path.read_text(encoding="utf-8")) == [], "use dashboard.ui, inside `with` for a column"


@pytest.mark.parametrize(
    "source",
    ["st.button(x)", "st.toast(x)", "st.html(x)", "left.caption(x)", "st.sidebar.write(x)", "from streamlit import image"],
)
def test_the_guard_sees_what_goes_past(source: str) -> None:
    assert past(source) != []


def shown(planted: str) -> None:
    """Every element of the door with the planted words wherever it takes words."""
    import pandas as pd

    from dashboard import ui

    ui.badge(planted)
    ui.button(planted, help=planted)
    ui.caption(planted, help=planted)
    ui.checkbox(planted, help=planted)
    ui.data_editor(pd.DataFrame({"a": [1]}), column_config={"a": {"label": planted, "help": planted}}, key="edited")
    ui.dataframe(pd.DataFrame({"a": [1]}), column_config={"a": {"label": planted, "help": planted}}, placeholder=planted)
    ui.download_button(planted, b"", "x", help=planted)
    ui.error(planted)
    ui.expander(planted)
    ui.file_uploader(planted, help=planted)
    ui.info(planted)
    ui.markdown(body=planted, help=planted)
    ui.metric(planted, planted, planted, help=planted, delta_description=planted)
    ui.multiselect(planted, ["a"], help=planted, placeholder=planted)
    ui.number_input(planted, help=planted, placeholder=planted)
    ui.popover(planted, help=planted)
    ui.progress(0.5, planted)
    ui.segmented_control(planted, [planted], help=planted)
    ui.selectbox(planted, ["a"], help=planted, placeholder=planted)
    ui.slider(planted, help=planted)
    ui.subheader(planted, help=planted, anchor="here")
    ui.success(planted)
    ui.table(pd.DataFrame({planted: [planted]}, index=[planted]))
    ui.text_area(planted, help=planted, placeholder=planted)
    ui.text_input(planted, help=planted, placeholder=planted)
    ui.title(planted, help=planted, anchor="top")
    ui.toggle(planted, help=planted)
    ui.warning(planted)
    with ui.spinner(planted):
        pass


def test_every_element_takes_its_words_as_text() -> None:
    app = AppTest.from_function(shown, args=(PLANTED,)).run()
    assert [e.message for e in app.exception] == []
    assert marked(app) == []
    assert len({e for e, _, words in sent(app) if "seen" in words}) >= 18
    assert app.table[0].value.iloc[0, 0].startswith("! [seen] (")


def test_what_is_typed_stays_as_it_is() -> None:
    def typed(planted: str) -> None:
        from dashboard import ui

        ui.text_input("a", planted)
        ui.text_area("b", planted)

    app = AppTest.from_function(typed, args=(PLANTED,)).run()
    assert [app.text_input[0].value, app.text_area[0].value] == [PLANTED, PLANTED]


def test_a_figure_makes_no_link_of_a_name() -> None:
    bad = "<a href='http://127.0.0.1:9/'>x</a>"
    made = go.Figure(go.Bar(x=[bad], y=[1], name=bad, hovertemplate="<b>%{x}</b><br>%{y}<extra></extra>"))
    made.update_layout(title_text=bad, annotations=[{"text": bad}], xaxis={"ticktext": [bad], "tickvals": [0]})
    sent_on = str(json.loads(harmless_figure(made).to_json()))
    assert "<a" not in sent_on
    assert sent_on.count("< a href") == 5
    assert "<b>%{x}</b><br>%{y}<extra></extra>" in sent_on
    tame = go.Figure(go.Bar(x=["a < b"], y=[1]))
    assert harmless_figure(tame).data[0].x == ("a < b",)


class Kept(dict[str, object]):
    """A session that remembers what was set."""

    def __init__(self) -> None:
        super().__init__()
        self.set: list[str] = []

    def __setitem__(self, key: str, value: object) -> None:
        self.set.append(key)
        super().__setitem__(key, value)


def test_what_was_chosen_is_set_anew_when_the_language_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the label of the language before, which is no option any more, would be taken for what was chosen."""
    session, spoken = Kept(), ["en"]
    monkeypatch.setattr(ui.st, "session_state", session)
    monkeypatch.setattr(ui, "language", lambda: spoken[0])
    session["way"] = "random"
    for now, times in (("en", 1), ("ko", 2), ("ko", 2), ("en", 3)):
        spoken[0] = now
        ui._keep("way")
        assert session.set.count("way") == times
    assert session["way"] == "random"
