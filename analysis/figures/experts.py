"""Experts as pictures: what starves them, how they overlap (CKA), attention against causal effect, norms by group, rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import ROW, figure, heatmap
from analysis.stats.base import Array, ratio
from analysis.stats.effects import EffectStats
from analysis.stats.expert import ExpertStats
from analysis.stats.inputs import CAUSE_TEXT, CAUSES, InputStats


def presence(inputs: InputStats, reads: dict[str, tuple[str, ...]]) -> go.Figure:
    """Every input an expert reads: share of rows without it, by cause. The label names the experts that read it."""
    keys = list(dict.fromkeys(k for fields in reads.values() for k in fields if k in inputs.absent))
    label = {k: f"{k} ({', '.join(e for e, fields in reads.items() if k in fields)})" for k in keys}
    out = figure(100 + ROW * max(len(keys), 1), barmode="stack", bargap=0.3)
    for i, cause in enumerate(CAUSES):
        share = [float(ratio(inputs.absent[k][i], inputs.n)) for k in keys]
        out.add_trace(go.Bar(y=[label[k] for k in keys], x=share, name=CAUSE_TEXT[cause], orientation="h",
                             hovertemplate="%{y}: %{x:.1%}<extra></extra>"))  # fmt: skip
    out.update_xaxes(title_text="share of rows without this input", tickformat=".0%", range=[0, 1])
    out.update_yaxes(autorange="reversed")
    return out


def cka(experts: ExpertStats) -> go.Figure:
    """[expert, expert] linear CKA over the rows where both have input: 1 means that they say the same."""
    return heatmap(experts.cka(), experts.names, experts.names, hover="%{y} with %{x}: %{z:.3f}", low=0, high=1, bar="CKA")


def mass_effect(experts: Sequence[str], mass: Array, effects: EffectStats) -> go.Figure:
    """Mean gate weight against the effect of ablation (share of the task's largest, mean over tasks): looked at, or used?"""
    found = np.array([effects.of(f"ablate {e}") for e in experts])
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.nanmean(found / np.nanmax(found, axis=0, keepdims=True), axis=1)
    out = figure(340, showlegend=False)
    for expert, x, y in zip(experts, mass, relative, strict=True):
        out.add_trace(go.Scatter(x=[x], y=[y], mode="markers+text", text=[expert], textposition="top center", marker={"size": 13},
                                 name=expert, hovertemplate=f"{expert}: weight %{{x:.3f}}, effect %{{y:.2f}}<extra></extra>"))  # fmt: skip
    out.update_xaxes(title_text="mean gate weight", rangemode="tozero", tickformat=".0%")
    out.update_yaxes(title_text="effect when ablated (1: the task's largest)", range=[0, 1.12])
    return out


def by_group(values: Array, groups: Sequence[Any], counts: Sequence[int], experts: Sequence[str]) -> go.Figure:
    """[group, expert] mean output norm relative to the expert's mean over groups; the label has the group's rows."""
    mean = np.nanmean(values, axis=0, keepdims=True)
    relative = np.asarray(ratio(values, np.broadcast_to(mean, values.shape)))
    names = [f"{g} (n = {c:,})" for g, c in zip(groups, counts, strict=True)]
    return heatmap(relative, experts, names, hover="%{y}, %{x}: %{z:.2f} of the mean", low=0.5, high=1.5, centre=1.0, bar="norm / mean")


def rank(experts: ExpertStats) -> go.Figure:
    """Effective rank of each expert's output beside its width."""
    ranks = [experts.effective_rank(e) for e in experts.names]
    out = figure(100 + ROW * len(experts.names), barmode="overlay", bargap=0.3)
    out.add_trace(go.Bar(y=list(experts.names), x=list(experts.dims), name="width", orientation="h", opacity=0.25))
    out.add_trace(go.Bar(y=list(experts.names), x=ranks, name="effective rank", orientation="h",
                         hovertemplate="%{y}: %{x:.1f}<extra></extra>"))  # fmt: skip
    out.update_yaxes(autorange="reversed")
    out.update_xaxes(title_text="dimensions")
    return out
