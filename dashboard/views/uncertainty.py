"""Uncertainty: when does it not know?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.checks.thresholds import Thresholds
from analysis.figures import evidence as figures
from analysis.figures.gates import histogram
from analysis.figures.style import bars
from dashboard.components import cards
from dashboard.components.fallback import chooser
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View


def _table(frame: Frame) -> pd.DataFrame:
    s = frame.statistics
    rows = []
    for task, e in s.evidence.items():
        q = s.quality.get(task)
        rows.append(
            {
                t("uncertainty.task"): task,
                t("uncertainty.kind"): t(f"kind.{e.kind}"),
                t("uncertainty.mean"): frame.cohort.uncertainty.get(task, (np.nan,))[0],
                t("uncertainty.zero"): e.zero_share,
                t("uncertainty.ece"): e.ece,
                t("uncertainty.adaptive"): q.adaptive_ece if q else np.nan,
                t("uncertainty.brier"): e.brier,
                t("uncertainty.auroc"): q.error_auroc if q else np.nan,
                t("uncertainty.aurc"): q.excess_aurc if q else np.nan,
                t("uncertainty.labelled"): q.n if q else 0,
            }
        )
    return pd.DataFrame(rows)


def _task(frame: Frame, task: str) -> None:
    e = frame.statistics.evidence[task]
    left, right = st.columns(2, gap="small")
    with left:
        edges, counts = frame.store.histogram(f"u:{task}", frame.filters)
        show(
            histogram(edges, counts.astype(float), t(f"uncertainty.axis_{e.kind}")),
            "uncertainty-histogram",
            title=t("uncertainty.spread", task=task),
            caption=t(f"uncertainty.spread_{e.kind}"),
        )
        groups, n, means = frame.store.group_mean([f"u:{task}"], "segment", frame.filters)
        labels = [t("frame.group", name=g, n=f"{c:,}") for g, c in zip(groups, n, strict=True)]
        show(
            bars(labels, {task: means[:, 0]}, x_title=t(f"uncertainty.axis_{e.kind}")),
            "uncertainty-segment",
            title=t("uncertainty.segment"),
            caption=t("uncertainty.segment_help"),
        )
    with right:
        if e.labelled >= Thresholds().min_rows:
            show(
                figures.reliability(e),
                "uncertainty-reliability",
                title=t("uncertainty.reliability"),
                caption=t("uncertainty.reliability_help", n=f"{e.labelled:,}"),
            )
        else:
            st.info(
                t("uncertainty.no_labels" if e.kind != "regression" else "uncertainty.no_reliability"),
                icon=cards.ICONS["unknown"],
            )


def render(frame: Frame) -> None:
    s = frame.statistics
    cards.cards(frame.found.of("EVI-"))
    if not s.evidence:
        st.info(t("uncertainty.absent"))
        return
    st.caption(t("uncertainty.promise"), help=t("uncertainty.promise_help"))
    table(_table(frame), "uncertainty", title=t("uncertainty.table"), caption=t("uncertainty.table_help"), height="content")
    task = st.selectbox(t("uncertainty.task"), list(s.evidence), key="task", bind="query-params", width=260)
    _task(frame, task)
    chooser(frame, task)


VIEW = View("uncertainty", "understand", 1, ":material/help_center:", "analysis", render)
