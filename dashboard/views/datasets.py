"""Make a dataset: what shall a model learn from? A synthetic bank or one's own files, and what simple answers reach on it."""

from __future__ import annotations

import streamlit as st

from dashboard import access, background, data_job_card, ui
from dashboard.components import put
from dashboard.components.bank_form import bank_form
from dashboard.components.build_form import build_form
from dashboard.components.dataset_list import dataset_list
from dashboard.components.import_form import import_form
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View

WAYS = {"bank": bank_form, "files": import_form, "events": build_form}


def render(frame: Frame | None) -> None:
    if why := access.why_not():
        put.info(t(f"access.{why}"), icon=":material/lock:")
        dataset_list()
        return
    st.session_state.setdefault("way", "bank")  # no default of the widget: a button may have chosen before it is drawn
    way = ui.segmented_control(
        t("datasets.way"), list(WAYS), required=True, key="way", format_func=lambda w: t(f"datasets.way_{w}")
    )
    WAYS[way or "bank"]()
    put.subheader(t("datasets.jobs"), anchor=False)
    busy = any(j.active for j in background.data_jobs().jobs())
    st.fragment(data_job_card.panel, run_every="2s" if busy else None)()
    put.subheader(t("datasets.here"), anchor=False)
    dataset_list()


VIEW = View("datasets", "train", 0, ":material/database:", "nothing", render)
