"""What a command of `ple` answers, on a page: the answer, its progress with a stop, or why there is none."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import background, running, ui
from dashboard.i18n import t
from dashboard.i18n.sentences import say

AT_ONCE_S = 1.5
"""An answer that comes so soon needs no sign of waiting."""


def answer(words: tuple[str, ...], mark: str, doing: str, key: str) -> dict[str, Any] | None:
    """The JSON of `ple WORDS --json`; None while it is on its way or where it failed, which is said."""
    task = background.ask(words, mark)
    if task.thread is not None:
        task.thread.join(AT_ONCE_S)
    if task.alive:
        _waiting(task, doing, key)
        return None
    if task.result is not None:
        return task.result
    ui.error(t("answer.stopped") if task.stopped else t("answer.none"), icon=":material/error:")
    if task.error:
        st.text(say(task.error[:800]))  # plain: the words may come from a file
    ui.button(
        t("answer.again"), icon=":material/refresh:", key=f"again-{key}", on_click=background.ask_again, args=(words, mark)
    )
    return None


def _waiting(task: running.Asking, doing: str, key: str) -> None:
    @st.fragment(run_every=0.7)
    def poll() -> None:
        if not task.alive:
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            ui.badge(doing, icon=":material/hourglass_empty:", color="blue")
            ui.button(t("job.stop"), icon=":material/stop:", key=f"stop-{key}", on_click=task.end, disabled=task.stopped)

    poll()
