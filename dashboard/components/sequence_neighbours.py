"""Customers who moved like the chosen one, and which of their days are matched."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures import sequences as figures
from analysis.results.sequences import CustomerSteps, LearnedMap
from analysis.sequences.channels import AMOUNTS
from analysis.sequences.learned import place
from dashboard import state, ui
from dashboard.components import put, report
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.i18n.sentences import label
from ple_model.sequences.encoder_run import EncoderRun


def section(frame: Frame, encoder: EncoderRun, found: CustomerSteps, learned: LearnedMap) -> None:
    names = _named(frame)
    alike = state.moved_alike(place(encoder.path, frame.run.path, frame.data), learned, found.row, names)
    if not len(alike.rows):
        return
    amounts = label(found.channels[AMOUNTS["txn_seq" if found.daily else "session_seq"]].name)
    put.subheader(t("sequences.alike"))
    put.caption(t("sequences.alike_help", amounts=amounts, n=f"{alike.compared:,}", computed=f"{alike.computed:,}"))
    shown = [names.get(int(r), str(int(r))) for r in alike.rows]
    left, right = st.columns([5, 2], gap="small")
    with right:
        which = ui.selectbox(
            t("sequences.neighbour"), range(len(shown)), key="neighbour", format_func=lambda i: f"{i + 1}. {shown[i]}"
        )
        rows = pd.DataFrame({t("sequences.neighbour"): shown, t("sequences.distance"): alike.distance})
        formats = {t("sequences.distance"): st.column_config.NumberColumn(format="%.2f", help=t("sequences.distance_help"))}
        table(rows, "sequence-alike", customers=shown, column_config=formats, height="content")
    with left:
        title = t("sequences.warped", other=shown[int(which)])
        drawn = figures.warped(alike, found.steps, int(which))
        saved = t("sequences.warped", other=report.mask_of(frame)(shown[int(which)]))
        show(drawn, "sequence-warped", title=title, caption=t("sequences.warped_help"), points=True, saved=saved)


def _named(frame: Frame) -> dict[int, str]:
    """Customer by row of the dataset."""
    rows = frame.store.rows(["row", "customer_id"])
    return {int(r): str(c) for r, c in zip(rows["row"], rows["customer_id"], strict=True)}
