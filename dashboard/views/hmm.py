"""HMM: who lives on the default embedding?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures import hmm as figures
from analysis.stats.hmm import HmmStats
from analysis.vectors import sampled
from dashboard import state, ui
from dashboard.components import cards, compare, put, whatif
from dashboard.components.figure import show, table
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View

MIN_POINTS = 3


def _table(frame: Frame, h: HmmStats) -> pd.DataFrame:
    tasks = frame.statistics.facts.hmm_modes
    return pd.DataFrame(
        [
            {
                t("hmm.mode"): mode,
                t("hmm.tasks"): ", ".join(k for k, m in tasks.items() if m == mode),
                t("hmm.rate"): frame.cohort.hmm_default.get(mode),
                t("hmm.real_norm"): float(h.real_norm[i]),
                t("hmm.default_norm"): float(h.default_norm[i]),
                t("hmm.cosine"): float(h.cosine[i]),
                t("hmm.spread"): float(h.spread[i]),
                t("hmm.swap"): _swap(frame, mode),
            }
            for i, mode in enumerate(h.modes)
        ]
    )


def _swap(frame: Frame, mode: str) -> float | None:
    effects = frame.statistics.effects
    return None if effects is None else float(np.nanmean(effects.of(f"hmm.{mode}=default")))


def _by(frame: Frame, by: str, modes: tuple[str, ...]) -> None:
    groups, counts, values = frame.store.group_mean([f"d:{m}" for m in modes], by, frame.filters, limit=20)
    labels = [t("frame.group", name=g, n=f"{c:,}") for g, c in zip(groups, counts, strict=True)]
    show(figures.default_by_group(labels, modes, values), f"hmm-{by}", title=t(f"hmm.by_{by}"), caption=t("hmm.by_help"))


def _maps(frame: Frame) -> None:
    h, vectors = frame.statistics.hmm, frame.store.vectors
    assert h is not None
    found = sampled(frame.store, ["segment", "customer_id", *(f"d:{m}" for m in h.modes)], frame.filters)
    for column, mode, default in zip(st.columns(len(h.modes), gap="small"), h.modes, h.embedding, strict=True):
        flags = found.columns[f"d:{mode}"].astype(bool)
        with column:
            if f"hmm:{mode}" not in vectors or int((~flags).sum()) < MIN_POINTS:
                put.info(t("hmm.nobody", mode=mode))
                continue
            points = figures.projection_map(
                vectors[f"hmm:{mode}"][found.index], default, flags, [str(v) for v in found.columns["segment"]]
            )
            show(
                figures.projection(points),
                f"hmm-map-{mode}",
                title=t("hmm.map", mode=mode),
                caption=t("hmm.map_help", n=f"{len(points.xy):,}"),
                points=True,
                customers=[str(found.columns["customer_id"][i]) for i in points.rows],
            )


def render(frame: Frame) -> None:
    h = frame.statistics.hmm
    cards.cards(frame.found.of("HMM-"), whatif.try_finding)
    whatif.top(frame)
    compare.section(frame, "hmm")
    if h is None:
        put.info(t("guard.not_measured"))
        return
    chosen = state.cohort_hmm(frame.store, frame.filters) or h
    table(
        _table(frame, chosen),
        "hmm",
        title=t("hmm.table"),
        caption=t("hmm.table_help"),
        height="content",
        units={t("hmm.swap"): t("table.change")},
        column_config={
            t("hmm.rate"): st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0),
            t("hmm.tasks"): st.column_config.TextColumn(width="medium"),
        },
    )
    left, right = st.columns(2, gap="small")
    with left:
        _by(frame, "segment", h.modes)
        show(figures.norms(chosen), "hmm-norms", title=t("hmm.norms"), caption=t("hmm.norms_help"))
    with right:
        _by(frame, "cluster", h.modes)
    _maps(frame)
    if frame.statistics.effects is not None:
        show(
            figures.swap_effect(frame.statistics.effects, h.modes),
            "hmm-swap",
            title=t("hmm.swaps"),
            caption=t("hmm.swaps_help"),
            wide=True,
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        require("mode", h.modes, t("hmm.mode"))
        mode = ui.selectbox(t("hmm.mode"), h.modes, key="mode", bind="query-params", width=220)
        for how in ("default", "zero"):
            ui.button(
                t(f"hmm.force_{how}"),
                key=f"force-{how}",
                icon=":material/science:",
                on_click=whatif.choose,
                args=(f"hmm.{mode}={how}",),
            )
    whatif.bottom(frame, "hmm.journey=default")


VIEW = View("hmm", "health", 3, ":material/route:", "analysis", render)
