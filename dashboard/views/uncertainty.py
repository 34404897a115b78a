"""Uncertainty: when does it not know?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.checks.evidential import too_few
from analysis.checks.thresholds import Thresholds
from analysis.figures import uncertainty as figures
from analysis.figures.gates import histogram
from analysis.results.uncertainty import TaskUncertainty
from dashboard import state, ui
from dashboard.components import cards, compare, foremost, learned, put, skill
from dashboard.components.fallback import chooser
from dashboard.components.figure import show, table
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.i18n.sentences import say
from dashboard.view import View

CLUSTERS = 12


def _table(frame: Frame) -> pd.DataFrame:
    s = frame.statistics
    rows = []
    for task in learned.tasks(frame.run, s.evidence):
        e = s.evidence[task]
        q = s.quality.get(task)
        rows.append(
            {
                t("uncertainty.task"): learned.name(frame.run, task),
                t("uncertainty.kind"): t(f"kind.{e.kind}"),
                t("uncertainty.mean"): frame.cohort.uncertainty.get(task, (np.nan,))[0],
                t("uncertainty.zero"): e.zero_share,
                t("uncertainty.ece"): e.ece,
                t("uncertainty.adaptive"): q.adaptive_ece if q else np.nan,
                t("uncertainty.brier"): e.brier,
                t("uncertainty.auroc"): q.error_auroc if q else np.nan,
                t("uncertainty.aurc"): q.excess_aurc if q and e.kind != "regression" else np.nan,
                t("uncertainty.labelled"): q.n if q else 0,
            }
        )
    return pd.DataFrame(rows)


def _not_judged(frame: Frame) -> None:
    """What the cards above do not speak of."""
    limits = Thresholds()
    few = too_few(frame.statistics, limits)
    if few:
        tasks = ", ".join(f"{learned.name(frame.run, task)} ({n:,})" for task, n in few.items())
        put.caption(t("uncertainty.not_judged", tasks=tasks, n=limits.ece_rows))


def _truth(found: TaskUncertainty) -> None:
    """Do the shown probabilities, or the promised intervals, come true?"""
    if found.reliability is not None:
        r = found.reliability
        show(
            figures.reliability(r, found.kind),
            "uncertainty-reliability",
            title=t("uncertainty.reliability"),
            caption=t(
                "uncertainty.reliability_help", n=f"{found.labelled:,}", ece=f"{r.ece:.1%}", adaptive=f"{r.adaptive_ece:.1%}"
            ),
        )
    elif found.intervals is not None:
        show(
            figures.intervals(found.intervals),
            "uncertainty-intervals",
            title=t("uncertainty.intervals"),
            caption=t("uncertainty.intervals_help", n=f"{found.labelled:,}", error=f"{found.intervals.error:.1%}"),
        )
    else:
        put.info(t("uncertainty.no_labels", reason=say(found.reason)), icon=cards.ICONS["unknown"])


def _task(frame: Frame, task: str) -> None:
    """One task of the chosen customers."""
    found = state.task_uncertainty(frame.store, task, frame.filters)
    logs = found.kind == "regression"
    left, right = st.columns(2, gap="small")
    with left:
        show(
            histogram(found.edges, found.histogram.astype(float), t(f"uncertainty.bins_{found.kind}")),
            "uncertainty-histogram",
            title=t("uncertainty.spread", task=task),
            caption=t(f"uncertainty.spread_{found.kind}"),
        )
        show(
            figures.cohorts(found.cohorts, t(f"uncertainty.axis_{found.kind}")),
            "uncertainty-segment",
            title=t("uncertainty.segment"),
            caption=t("uncertainty.segment_help"),
        )
    with right:
        _truth(found)
    left, right = st.columns(2, gap="small")
    with left:
        show(
            figures.cohorts(found.by_cluster[:CLUSTERS], t(f"uncertainty.axis_{found.kind}")),
            "uncertainty-cluster",
            title=t("uncertainty.cluster"),
            caption=t("uncertainty.cluster_help", n=min(CLUSTERS, len(found.by_cluster))),
        )
    with right:
        if found.decomposition is not None:
            show(
                figures.decomposition(found.decomposition, logs=logs),
                "uncertainty-parts",
                title=t("uncertainty.parts"),
                caption=t("uncertainty.parts_help", r=f"{found.decomposition.correlation:.2f}"),
            )
        if found.simplex is not None:
            show(
                figures.simplex(found.simplex),
                "uncertainty-simplex",
                title=t("uncertainty.simplex"),
                caption=t("uncertainty.simplex_help"),
            )


def render(frame: Frame) -> None:
    s = frame.statistics
    cards.cards(frame.found.of("EVI-"))
    _not_judged(frame)
    compare.section(frame, "uncertainty")
    if not s.evidence:
        put.info(t("uncertainty.absent"))
        return
    put.caption(t("uncertainty.promise"), help=t("uncertainty.promise_help"))
    precise = ("mean", "zero", "ece", "adaptive", "brier", "auroc", "aurc")
    table(
        _table(frame),
        "uncertainty",
        title=t("uncertainty.table"),
        caption=t("uncertainty.table_help"),
        height="content",
        column_config={
            t(f"uncertainty.{n}"): st.column_config.NumberColumn(format="%.3f", help=t(f"uncertainty.{n}_help"))
            for n in precise
        },
    )
    require("task", s.evidence, t("uncertainty.task"), known=s.facts.tasks)
    learned.note(frame.run)
    task = ui.selectbox(
        t("uncertainty.task"), learned.tasks(frame.run, s.evidence), key="task", bind="query-params", width=260,
        format_func=lambda name: learned.name(frame.run, name),
    )  # fmt: skip
    put.chosen(t("uncertainty.task"), task)
    skill.remark(frame, task)
    _task(frame, task)
    foremost.section(
        frame, f"u:{task}", "uncertainty-foremost", title=t("uncertainty.foremost", task=task),
        caption=t("uncertainty.foremost_help"), number=t("why.uncertainty"), task=task,
    )  # fmt: skip
    chooser(frame, task)


VIEW = View("uncertainty", "understand", 1, ":material/help_center:", "analysis", render)
