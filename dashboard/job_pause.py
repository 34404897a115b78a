"""Pause a job and go on with it: the row of buttons of a job that works, and how its state is called then."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import access, ui
from dashboard.i18n import t
from dashboard.job_status import STATUS_COLOURS, STATUS_ICONS
from dashboard.job_store import Record, Store
from ple_model.errors import UserError

ERROR = "job_error"
"""Session key: why a job could not be paused or stopped."""


def state_of(store: Store[Any], job: Record) -> str:
    """Its status, or `paused`, or `pausing` while the step in progress still works."""
    if job.status != "running" or not store.pause_asked(job):
        return job.status
    return "paused" if store.stands_still(job) else "pausing"


def mark(state: str) -> None:
    ui.badge(t(f"job.{state}"), icon=STATUS_ICONS[state], color=STATUS_COLOURS[state])


def waiting(stores: tuple[Store[Any], ...]) -> str:
    """Why a queued job waits."""
    held = any(state_of(store, job) in ("paused", "pausing") for store in stores for job in store.jobs() if job.active)
    return t("job.waiting_paused" if held else "job.waiting")


def buttons(store: Store[Any], job: Record, state: str, where: str, stop_help: str | None = None) -> None:
    """Pause or go on, and stop."""
    paused = state in ("paused", "pausing")
    may = access.may_change()
    with st.container(horizontal=True, gap="xsmall"):
        if paused:
            ui.button(
                t("job.go_on"), icon=":material/resume:", key=f"{where}-go-on-{job.id}", on_click=_call,
                args=(store, "go_on", job.id), disabled=not may, help=t("job.go_on_help"), width="stretch",
            )  # fmt: skip
        else:
            ui.button(
                t("job.pause"), icon=":material/pause:", key=f"{where}-pause-{job.id}", on_click=_call,
                args=(store, "pause", job.id), disabled=job.stop or not may or not store.can_pause(job),
                help=t("job.pause_help"), width="stretch",
            )  # fmt: skip
        ui.button(
            t("job.stop"), icon=":material/stop:", key=f"{where}-stop-{job.id}", on_click=_call, args=(store, "stop", job.id),
            disabled=job.stop or not may, help=stop_help, width="stretch",
        )  # fmt: skip


def _call(store: Store[Any], what: str, job_id: str) -> None:
    """Ask the job for it (a callback)."""
    try:
        access.require()
        getattr(store, what)(job_id)
    except (UserError, OSError) as e:
        st.session_state[ERROR] = str(e)
