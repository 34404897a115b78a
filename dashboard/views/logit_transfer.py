"""Logit transfer: what does each edge do?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures import transfer as figures
from dashboard import state, ui
from dashboard.components import cards, compare, learned, put, whatif
from dashboard.components.figure import show, table
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import maybe, t
from dashboard.i18n.sentences import label
from dashboard.view import View


def _sweep(frame: Frame, edge: str) -> None:
    """The edge's strength from nothing to twice the trained one: the target's metric, and how far its predictions move."""
    with ui.spinner(t("transfer.sweeping"), show_time=True):
        found = state.strength_sweep(frame.run.path, edge, frame.data)
    name = edge.replace(":", " → ")
    tasks = frame.run.context().named(frame.run.config.tasks)
    own = tasks[found.target].unit if frame.statistics.facts.kinds[found.target] == "regression" else ""
    n, unit = f"{found.n:,}", maybe(f"edit.unit.{own}", own) if own else label(found.change_unit)
    columns = st.columns(2, gap="small") if found.metric else [st.container()]
    if found.metric:
        with columns[0]:
            metric = maybe(f"metric.{found.metric.replace('@', '_at_')}", found.metric)
            show(
                figures.sweep(found),
                "transfer-sweep",
                title=t("transfer.sweep_metric", metric=metric, target=found.target, edge=name),
                caption=t("transfer.sweep_metric_help", n=f"{found.n_labelled:,}"),
            )
    with columns[-1]:
        few = "" if found.metric else t("transfer.sweep_few")
        cut, double = found.flips[0], found.flips[-1]
        flips = "" if cut != cut else t("transfer.sweep_flips", cut=f"{cut:.1%}", double=f"{double:.1%}")
        show(
            figures.sweep(found, "change"),
            "transfer-sweep-change",
            title=t("transfer.sweep_change", target=found.target, edge=name),
            caption=t("transfer.sweep_change_help", n=n, unit=unit) + flips + few,
        )


def render(frame: Frame) -> None:
    s = frame.statistics
    cards.cards(frame.found.of("LT-"), whatif.try_finding)
    whatif.top(frame)
    compare.section(frame, "transfer")
    for sentence in s.facts.skipped_edges:
        put.caption(f":orange[{cards.ICONS['warning']}] {sentence}")
    if not s.facts.edges:
        put.info(t("transfer.none"))
        return
    learned.note(frame.run)
    _edges(frame)
    _doses(frame)
    _scale(frame)
    whatif.bottom(frame, "edge.ctr:cvr=0")


def _edges(frame: Frame) -> None:
    """What every edge hands on and what cutting it does."""
    s = frame.statistics
    info = figures.edges_info(s)
    show(
        figures.dag(info, s.facts.unlearned, t("learned.why")),
        "transfer-dag",
        title=t("transfer.dag"),
        caption=t("transfer.dag_help", n=f"{s.effects.n if s.effects else 0:,}", order=" → ".join(s.facts.execution_order)),
        wide=True,
    )
    table(
        pd.DataFrame(
            [
                {
                    t("transfer.edge"): learned.name(frame.run, e.edge),
                    t("transfer.strength"): frame.cohort.transfer.get(e.edge),
                    t("transfer.change"): e.change,
                    t("transfer.flips"): e.flips,
                    t("transfer.reach"): e.dose_range,
                }
                for e in info
            ]
        ),
        "transfer",
        title=t("transfer.table"),
        caption=t("transfer.table_help"),
        height="content",
        units={t("transfer.change"): t("table.change")},
        column_config={t("transfer.flips"): st.column_config.NumberColumn(format="percent")},
    )


def _doses(frame: Frame) -> None:
    """The answer of each target to its source, edge by edge."""
    s = frame.statistics
    put.subheader(t("transfer.dose"), anchor=False)
    put.caption(t("transfer.dose_help"))
    edges = learned.tasks(frame.run, (e for e in s.facts.edges if e in s.dose))
    for i in range(0, len(edges), 3):
        for column, edge in zip(st.columns(3, gap="small"), edges[i : i + 3], strict=False):
            with column:
                show(
                    figures.dose(s.dose[edge]),
                    f"dose-{edge}",
                    title=learned.name(frame.run, edge),
                    caption=t("card.n", n=s.dose[edge].n),
                )


def _scale(frame: Frame) -> None:
    """One edge at another strength: tried on everyone, or measured over all strengths."""
    s = frame.statistics
    put.subheader(t("transfer.sweep"), anchor=False)
    put.caption(t("transfer.sweep_help"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        require("edge", s.facts.edges, t("transfer.edge"))
        edge = ui.selectbox(
            t("transfer.edge"), learned.tasks(frame.run, s.facts.edges), key="edge", bind="query-params", width=260,
        )  # fmt: skip
        factor = ui.slider(t("transfer.scale"), 0.0, 2.0, 0.0, 0.1, key="scale", bind="query-params", width=260)
        ui.button(t("transfer.try"), icon=":material/science:", on_click=whatif.choose, args=(f"edge.{edge}={factor:g}",))
        measure = ui.toggle(t("transfer.measure"), key="sweep", bind="query-params", help=t("transfer.measure_help"))
    if measure:
        _sweep(frame, edge)


VIEW = View("logit_transfer", "health", 4, ":material/account_tree:", "analysis", render)
