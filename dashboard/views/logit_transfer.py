"""Logit transfer: what does each edge do?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.figures import transfer as figures
from dashboard.components import cards, compare, put, whatif
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View


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
    info = figures.edges_info(s)
    show(
        figures.dag(info),
        "transfer-dag",
        title=t("transfer.dag"),
        caption=t("transfer.dag_help", n=f"{s.effects.n if s.effects else 0:,}", order=" → ".join(s.facts.execution_order)),
        wide=True,
    )
    table(
        pd.DataFrame(
            [
                {
                    t("transfer.edge"): e.edge.replace(":", " → "),
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
    put.subheader(t("transfer.dose"), anchor=False)
    put.caption(t("transfer.dose_help"))
    edges = [e for e in s.facts.edges if e in s.dose]
    for i in range(0, len(edges), 3):
        for column, edge in zip(st.columns(3, gap="small"), edges[i : i + 3], strict=False):
            with column:
                show(
                    figures.dose(s.dose[edge]),
                    f"dose-{edge}",
                    title=edge.replace(":", " → "),
                    caption=t("card.n", n=s.dose[edge].n),
                )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        edge = st.selectbox(t("transfer.edge"), s.facts.edges, key="edge", bind="query-params", width=260)
        factor = st.slider(t("transfer.scale"), 0.0, 2.0, 0.0, 0.1, key="scale", bind="query-params", width=260)
        st.button(t("transfer.try"), icon=":material/science:", on_click=whatif.choose, args=(f"edge.{edge}={factor:g}",))
    whatif.bottom(frame, "edge.ctr:cvr=0")


VIEW = View("logit_transfer", "health", 4, ":material/account_tree:", "analysis", render)
