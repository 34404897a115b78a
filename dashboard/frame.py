"""The frame around every page: run and comparison pickers, cohort filter, guards; its whole state travels in the URL."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard import state
from dashboard.i18n import t
from ple_model.run import Run, RunEntry


@dataclass(frozen=True)
class Frame:
    """What a page is given: the run it shows and, if one was chosen, the run to compare with."""

    run: Run
    other: Run | None


def toolbar(entries: list[RunEntry]) -> tuple[RunEntry | None, RunEntry | None]:
    """The pickers in one row; returns (run, compared run)."""
    names = [e.name for e in entries]
    by_name = {e.name: e for e in entries}
    # The chosen run must stay in the URL, so the widget has no default that would leave it out.
    if st.session_state.get("run") not in names and st.query_params.get("run") not in names:
        st.session_state["run"] = next((e.name for e in entries if e.error is None), names[0])
    chosen = st.selectbox(t("frame.run"), names, index=None, key="run", bind="query-params", help=t("frame.run_help"), width=280)
    others = [n for n in names if n != chosen and by_name[n].error is None]
    other = st.selectbox(
        t("frame.compare"), others, index=None, key="compare", bind="query-params", placeholder=t("frame.compare_none"),
        help=t("frame.compare_help"), width=240, disabled=not others,
    )  # fmt: skip
    return by_name.get(chosen or ""), by_name.get(other or "")


def guard(entry: RunEntry) -> Run:
    """The run, opened; an unreadable one ends the page with the sentence that says why."""
    reason = entry.error or state.readable(entry.path)
    if reason is not None:
        st.error(t("guard.unreadable", name=entry.name, reason=reason), icon=":material/error:")
        st.stop()
    return state.run(entry.path)


def no_runs() -> None:
    """The state before the first run: what to do, in the words of the shell and of the sidebar."""
    with st.container(border=True):
        st.subheader(t("empty.title"))
        st.markdown(t("empty.body", folders=", ".join(f"`{f}`" for f in state.folders())))
        st.code("ple synth events --customers 5000 --seed 0\nple build events data/bank\nple train data/bank runs/first --preset small",
                language="bash")  # fmt: skip
        st.caption(t("empty.sidebar"))
