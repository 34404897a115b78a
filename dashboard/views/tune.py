"""Tune: which settings? A study of trials, each a run: its answer, its figures, its jobs, and the form of a new one."""

from __future__ import annotations

import streamlit as st

from analysis.harmless import harmless
from dashboard import access, studies, tune_job_card, ui
from dashboard.components import put, tune_result
from dashboard.components.tune_form import folded_form, tune_form
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View
from ple_model.errors import UserError
from ple_model.tuning.finder import load_curve
from ple_model.tuning.record import is_study


def render(frame: Frame | None) -> None:
    if not access.why_not():  # the list of jobs is a file of the user's own
        st.fragment(tune_job_card.panel, run_every="3s" if tune_job_card.busy() else None)()
    here = studies.folders()
    if not here:
        put.info(t("tune.empty"), icon=":material/tune:")
        put.markdown(t("tune.empty_help"))
        tune_form()
        return
    if st.session_state.get("study") not in here:
        st.session_state["study"] = next(iter(here))
    chosen = ui.selectbox(t("tune.study"), list(here), key="study", bind="query-params", width=320)
    put.chosen(t("tune.study"), harmless(chosen))
    _shown(chosen)
    folded_form()


def _shown(name: str) -> None:
    folder = studies.folders()[name]
    if not is_study(folder):
        try:
            curve = load_curve(folder)
        except UserError as e:
            put.error(str(e), icon=":material/error:")
            return
        if curve is not None:
            tune_result.rate(curve)
        return
    found = studies.read(folder)
    if isinstance(found, str):
        put.error(found, icon=":material/error:")
        return
    tune_result.study(found)


VIEW = View("tune", "train", 1, ":material/tune:", "nothing", render)
