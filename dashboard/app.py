"""The dashboard's entry: page settings, navigation by discovery, the frame, then the page. Run with `ple app`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st
import torch

from dashboard import state, train_form
from dashboard.frame import Frame, analysed, export, guard, no_runs, toolbar
from dashboard.i18n import DEFAULT, LANGUAGES, t
from dashboard.view import SECTIONS, View, views

ASSETS = Path(__file__).with_name("assets")


def _page(view: View) -> Callable[[], None]:
    def show() -> None:
        entries = state.entries()
        if not entries:
            st.title(t(f"{view.name}.question"))
            no_runs()
            return
        bar = st.container(horizontal=True, vertical_alignment="bottom", key="toolbar")
        with bar:
            entry, other_entry = toolbar(entries)
        st.title(t(f"{view.name}.question"), anchor=False)
        if entry is None:
            st.info(t("guard.choose"))
            return
        run = guard(entry)
        frame = Frame(run, guard(other_entry) if other_entry else None)
        if view.needs == "analysis":
            frame = analysed(frame, bar)
            with bar:
                export(frame)
        view.render(frame)

    return show


def main(start: str = "overview") -> None:
    """Render the app; `start` names the page that opens first."""
    torch.set_flush_denormal(True)
    st.set_page_config(
        page_title="PLE-Cluster-adaTT", page_icon=str(ASSETS / "icon.png"), layout="wide", initial_sidebar_state=320
    )
    st.logo(str(ASSETS / "icon.png"), size="large")
    pages: dict[str, Sequence[str | Path | Callable[[], None] | st.Page]] = {}
    for section in SECTIONS:
        members = [v for v in views() if v.section == section]
        if members:
            pages[t(f"section.{section}")] = [
                st.Page(
                    _page(v),
                    title=t(f"{v.name}.title"),
                    icon=v.icon,
                    url_path=v.name,
                    default=v.name == start,
                    help=t(f"{v.name}.help"),
                )
                for v in members
            ]
    page = st.navigation(pages, expanded=True)
    with st.sidebar:
        train_form.sidebar()
        st.segmented_control(  # the URL holds the option as it is shown, so the options are the codes
            t("frame.language"),
            list(LANGUAGES),
            default=DEFAULT,
            required=True,
            key="lang",
            bind="query-params",
            label_visibility="collapsed",
            help=" · ".join(f"{code}: {name}" for code, name in LANGUAGES.items()),
        )
    page.run()


if __name__ == "__main__":
    main()
