"""What a linear reader makes of few labels, on the embedding and on plain summary statistics."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures import sequences as figures
from analysis.results.sequences import LearnedMap, ProbeRow
from dashboard import ui
from dashboard.components import put
from dashboard.components.figure import show, table
from dashboard.i18n import t


def section(learned: LearnedMap) -> None:
    put.subheader(t("sequences.probe"))
    if not learned.probe:
        put.info(t("sequences.probe_none"))
        return
    put.markdown(_verdict(learned.probe))
    tasks = list(dict.fromkeys(r.task for r in learned.probe))
    task = ui.selectbox(t("why.task"), tasks, key="probe_task", width=240)
    show(
        figures.few_labels(learned.probe, task), "sequence-probe", title=t("sequences.probe_figure", task=task),
        caption=t("sequences.probe_help"), wide=True,
    )  # fmt: skip
    auc = st.column_config.NumberColumn(format="%.3f")
    columns = (t("sequences.auc_encoder"), t("sequences.auc_summary"))
    rows = pd.DataFrame(
        [
            {
                t("why.task"): r.task, t("sequences.share"): r.share, t("sequences.labels"): r.labels,
                columns[0]: r.encoder, t("sequences.spread_encoder"): r.encoder_spread,
                columns[1]: r.summary, t("sequences.spread_summary"): r.summary_spread, t("sequences.tested"): r.tested,
            }
            for r in learned.probe
        ]
    )  # fmt: skip
    formats = dict.fromkeys((*columns, t("sequences.spread_encoder"), t("sequences.spread_summary")), auc)
    table(
        rows, "sequence-probe-table", title=t("sequences.probe_table"),
        column_config=formats | {t("sequences.share"): st.column_config.NumberColumn(format="percent")},
    )  # fmt: skip


def _verdict(rows: tuple[ProbeRow, ...]) -> str:
    """How often the embedding is ahead of the summary statistics by more than both spreads, and how often behind."""
    ahead = sum(r.encoder - r.summary > r.encoder_spread + r.summary_spread for r in rows)
    behind = sum(r.summary - r.encoder > r.encoder_spread + r.summary_spread for r in rows)
    return t("sequences.verdict", ahead=ahead, behind=behind, all=len(rows), level=len(rows) - ahead - behind)
