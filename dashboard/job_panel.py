"""The jobs of the sidebar: those that work, and those that ended of late."""

from __future__ import annotations

import time

import streamlit as st

from dashboard import background, data_job_card, job_card, state, ui
from dashboard.guarded import guarded

RECENT_S = 3600.0
"""Ended jobs stay in the sidebar this long."""


def panel() -> None:
    """The jobs, as a fragment: it runs again by itself, outside of the script's own guard."""
    with guarded():
        _jobs()


def _jobs() -> None:
    error = st.session_state.pop("job_error", None)
    if error:
        ui.error(error, icon=":material/error:")
    jobs = [j for j in background.jobs().jobs() if j.active or time.time() - (j.ended or 0) < RECENT_S]
    makings = [j for j in background.data_jobs().jobs() if j.active]
    before, now = st.session_state.get("active_jobs"), [j.id for j in [*jobs, *makings] if j.active]
    st.session_state["active_jobs"] = now
    if before is not None and set(before) != set(now):
        # One has ended: its run belongs into the pickers. One was resumed, by a button of this fragment, which alone ran again:
        # whether it runs by itself is for the whole script to say.
        state.refresh_entries()
        for job in jobs:
            if job.id in before and job.status == "finished" and job.run.exists():
                background.measurement(job.run)
        st.rerun()
    for making in makings[:2]:
        data_job_card.card(making, "side")
    for job in jobs[:4]:
        job_card.card(job)
