"""Make a dataset: what shall a model learn from? A synthetic bank or one's own files, and what simple answers reach on it."""

from __future__ import annotations

import streamlit as st

from dashboard import background, ui
from dashboard.components import data_job
from dashboard.components.bank_form import bank_form
from dashboard.components.build_form import build_form
from dashboard.components.dataset_list import dataset_list
from dashboard.components.import_form import import_form
from dashboard.frame import Frame
from dashboard.guarded import guarded
from dashboard.i18n import t
from dashboard.view import View

SHOWN_JOBS = 6
WAYS = {"bank": bank_form, "files": import_form, "events": build_form}


def _jobs() -> None:
    """The jobs, as a fragment: it runs again by itself, outside of the script's own guard."""
    with guarded():
        if said := st.session_state.pop(data_job.ERROR, None):
            ui.error(said, icon=":material/error:")
        jobs = background.data_jobs().jobs()
        if not jobs:
            ui.caption(t("datasets.no_jobs"))
        for job in jobs[:SHOWN_JOBS]:
            data_job.card(job, "page")


def render(frame: Frame | None) -> None:
    way = ui.segmented_control(
        t("datasets.way"), list(WAYS), default="bank", required=True, key="way", format_func=lambda w: t(f"datasets.way_{w}")
    )
    WAYS[way]()
    ui.subheader(t("datasets.jobs"), anchor=False)
    busy = any(j.active for j in background.data_jobs().jobs())
    st.fragment(_jobs, run_every="2s" if busy else None)()
    ui.subheader(t("datasets.here"), anchor=False)
    dataset_list()


VIEW = View("datasets", "train", 0, ":material/database:", "nothing", render)
