"""The dashboard's entry: page settings, navigation by discovery, the frame, then the page. Run with `ple app`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime import exists

from dashboard import background, state, train_form, ui
from dashboard.export import export
from dashboard.frame import Frame, analysed, guard, no_runs, toolbar
from dashboard.guarded import guarded
from dashboard.i18n import DEFAULT, LANGUAGES, language, t
from dashboard.page import Page, recorder
from dashboard.view import SECTIONS, View, views

ASSETS = Path(__file__).with_name("assets")
WHO = ("customer", "beside")  # keys of the URL that hold the id of a customer


def _frame(view: View) -> Frame | None:
    """Everything around the page, drawn by the entry script so that it stays, with its part of the URL, from page to page.

    None where there is no run yet; a guard that fails ends the script with its sentence.
    """
    if view.needs == "nothing":
        _remember()
        ui.title(t(view.heading), anchor=False)
        return None
    entries = state.entries()
    if not entries:
        ui.title(t(view.heading), anchor=False)
        no_runs()
        return None
    bar = st.container(horizontal=True, vertical_alignment="bottom", key="toolbar")
    with bar:
        entry, other_entry = toolbar(entries)
    ui.title(t(view.heading), anchor=False)
    if entry is None:
        ui.info(t("guard.choose"))
        return None
    run = guard(entry)
    frame = Frame(run, guard(other_entry) if other_entry else None)
    if view.needs == "analysis":
        frame = analysed(frame, bar)
    with bar:
        export(frame)
    return frame


def _remember() -> None:
    """Keep what was chosen in the frame, which this page does not draw: Streamlit forgets widgets that are not there."""
    for key in ("run", "compare", "data"):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def _query() -> str:
    """What the URL says of this view, for the saved page: of its widgets alone, and no customer's id."""
    kept = [k for k in st.query_params if k in st.session_state and k not in WHO]
    return urlencode({k: st.query_params.get_all(k) for k in kept}, doseq=True)


@contextmanager
def _recorded(view: View) -> Iterator[None]:
    """What is drawn inside can be saved; a page that ends early is saved as it is."""
    page, kept = Page(view.name, t(f"{view.name}.title"), t(view.heading), language()), recorder()
    kept.begin(page)
    try:
        yield
    finally:
        try:
            page.query = _query()
        finally:  # a session that is being closed refuses even that
            kept.end(page)


def main(start: str = "overview") -> None:
    """Render the app; `start` names the page that opens first."""
    st.set_page_config(
        page_title="PLE-Cluster-adaTT", page_icon=str(ASSETS / "icon.png"), layout="wide", initial_sidebar_state=280
    )
    st.logo(str(ASSETS / "icon.png"), size="large")
    shown: dict[str, Any] = {}

    def render(view: View) -> Callable[[], None]:
        return lambda: view.render(shown["frame"])

    pages: dict[str, Sequence[str | Path | Callable[[], None] | ui.Page]] = {}
    named: dict[str, ui.Page] = {}
    known: dict[str, View] = {}
    for section in SECTIONS:
        members = [v for v in views() if v.section == section]
        known |= {t(f"{v.name}.title"): v for v in members}
        if members:
            named |= {
                v.name: ui.Page(
                    render(v),
                    title=t(f"{v.name}.title"),
                    icon=v.icon,
                    url_path="start" if v.name == start else v.name,
                    default=v.name == start,
                    help=t(f"{v.name}.help"),
                )
                for v in members
            }
            pages[t(f"section.{section}")] = [named[v.name] for v in members]
    # The page that opens first lives at `/`; a link that names it must open it too.
    first = next(v for v in views() if v.name == start)
    hidden = ui.Page(render(first), title=t(f"{first.name}.title"), url_path=first.name, visibility="hidden")
    pages[t(f"section.{first.section}")] = [*pages[t(f"section.{first.section}")], hidden]
    page = st.navigation(pages, expanded=True)
    asked = st.session_state.pop(state.GO_TO, None)
    if asked in named and known[page.title].name != asked:
        st.switch_page(named[asked], query_params={})
    with st.sidebar:
        with guarded():
            train_form.sidebar()
        ui.segmented_control(  # the URL holds the option as it is shown, so the options are the codes
            t("frame.language"),
            list(LANGUAGES),
            default=DEFAULT,
            required=True,
            key="lang",
            bind="query-params",
            label_visibility="collapsed",
            help=" · ".join(f"{code}: {name}" for code, name in LANGUAGES.items()),
        )
    view = known[page.title]
    st.session_state[state.ALONE] = view.needs == "nothing"
    with _recorded(view), guarded():
        frame = _frame(view)
        if frame is not None or view.needs == "nothing":
            shown["frame"] = frame
            page.run()
    if exists():
        background.model_side()


if __name__ == "__main__":
    main()
