"""Expert health: which experts are dead, starved or redundant, and why?"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analysis.figures import experts as figures
from analysis.stats.expert import ExpertStats
from dashboard import state, ui
from dashboard.components import cards, compare, embedding, put, whatif
from dashboard.components.figure import show, table
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View


def _table(frame: Frame) -> pd.DataFrame:
    c, whole, gates = frame.cohort, state.cohort_experts(frame.store, frame.filters), frame.cohort.gates
    assert whole is not None
    rows = []
    for i, name in enumerate(c.experts):
        fields = frame.statistics.facts.reads.get(name, ())
        inputs = frame.statistics.inputs
        missing = max(((inputs.absent_share(k), k) for k in fields), default=(0.0, "")) if inputs else (0.0, "")
        rows.append(
            {
                t("experts.expert"): name,
                t("experts.fallback"): float(c.fallback_share[i]),
                t("experts.missing"): f"{missing[1]} {missing[0]:.0%}" if missing[0] > 0 else "–",
                t("experts.weight"): float(gates.importance[i]),
                t("experts.norm"): float(c.norm_mean[i]),
                t("experts.zero"): whole.zero_rate(name),
                t("experts.dead"): whole.dead_share(name),
                t("experts.rank"): whole.effective_rank(name),
                t("experts.width"): whole.dims[i],
                t("experts.saturated"): whole.saturation(name),
                t("experts.nonfinite"): int(whole.nonfinite[i]),
            }
        )
    return pd.DataFrame(rows)


def _shares() -> dict[str, Any]:
    """Formats of the table's columns, with what each means."""
    bars = {
        t(n): st.column_config.ProgressColumn(help=t(f"{n}_help"), format="percent", min_value=0.0, max_value=1.0)
        for n in ("experts.fallback", "experts.weight")
    }
    formats = {
        "experts.norm": "%.2f", "experts.zero": "percent", "experts.dead": "percent", "experts.rank": "%.1f",
        "experts.saturated": "percent", "experts.nonfinite": "%d",
    }  # fmt: skip
    return bars | {t(n): st.column_config.NumberColumn(format=f, help=t(f"{n}_help")) for n, f in formats.items()}


def _groups(frame: Frame) -> None:
    by = ui.segmented_control(
        t("experts.by"),
        ["segment", "cluster"],
        default="segment",
        required=True,
        key="group",
        bind="query-params",
        format_func=lambda c: t(f"frame.{c}"),
        label_visibility="collapsed",
    )
    names = list(frame.cohort.experts)
    groups, counts, values = frame.store.group_mean([f"n:{e}" for e in names], by, frame.filters, limit=24)
    labels = [t("frame.group", name=g, n=f"{c:,}") for g, c in zip(groups, counts, strict=True)]
    show(
        figures.group_means(labels, names, values),
        "experts-groups",
        title=t("experts.groups"),
        caption=t("experts.groups_help"),
        wide=True,
    )


def render(frame: Frame) -> None:
    s = frame.statistics
    cards.cards(frame.found.of("EXP-", "DATA-"), whatif.try_finding)
    whatif.top(frame)
    compare.section(frame, "experts")
    if s.experts is None or s.inputs is None:
        put.info(t("guard.not_measured"))
        return
    vectors = state.cohort_experts(frame.store, frame.filters) or s.experts
    table(
        _table(frame),
        "experts",
        title=t("experts.table"),
        caption=t("experts.table_help"),
        column_config=_shares(),
        height="content",
    )
    _figures(frame, vectors)
    _groups(frame)
    embedding.section(frame)
    _ablate(frame)
    whatif.bottom(frame, "ablate.temporal=zero")


def _figures(frame: Frame, vectors: ExpertStats) -> None:
    """Health, presence, effect and likeness of the experts."""
    s = frame.statistics
    left, right = st.columns(2, gap="small")
    with left:
        show(
            figures.health(figures.health_info(s)),
            "experts-health",
            title=t("experts.health"),
            caption=t("experts.health_help"),
        )
        show(figures.absence(s), "experts-presence", title=t("experts.presence"), caption=t("experts.presence_help"))
    with right:
        if s.effects is not None:
            show(
                figures.mass_effect(figures.mass_effect_info(frame.cohort.gates, s.effects)),
                "experts-effect",
                title=t("experts.effect"),
                caption=t("experts.effect_help", n=f"{s.effects.n:,}"),
            )
            show(figures.rank(vectors), "experts-rank", title=t("experts.ranks"), caption=t("experts.ranks_help"))
    left, right = st.columns(2, gap="small")
    with left:
        show(figures.cka(vectors), "experts-cka", title=t("experts.cka"), caption=t("experts.cka_help"))
    with right:
        if s.effects is not None:
            show(
                figures.effect_heatmap(s.effects, s.facts.experts),
                "experts-ablation",
                title=t("experts.ablation"),
                caption=t("experts.ablation_help", n=f"{s.effects.n:,}"),
            )


def _ablate(frame: Frame) -> None:
    """One expert taken out, at zero or at its mean."""
    s = frame.statistics
    with st.container(horizontal=True, vertical_alignment="bottom"):
        require("expert", s.facts.experts, t("experts.pick"))
        expert = ui.selectbox(t("experts.pick"), s.facts.experts, key="expert", bind="query-params", width=240)
        for how in ("zero", "mean"):
            ui.button(
                t(f"experts.ablate_{how}"),
                key=f"ablate-{how}",
                icon=":material/science:",
                on_click=whatif.choose,
                args=(f"ablate.{expert}={how}",),
            )


VIEW = View("expert_health", "health", 1, ":material/stethoscope:", "analysis", render)
