"""CGC gates as pictures: task x expert weights, prior against learned, collapse against specialisation, one cell, dilution."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.style import ROW, figure, heatmap
from analysis.stats.base import Array
from analysis.stats.gate import GateStats


def weights(gates: GateStats) -> go.Figure:
    """[task, expert] mean gate weight; rows sum to 1."""
    spread = [[f"{v:.3f}" for v in row] for row in gates.std]
    return heatmap(gates.mean, gates.experts, gates.tasks, hover="%{y} on %{x}: %{z:.3f} ± %{customdata}", low=0,
                   high=float(max(0.3, np.nanmax(gates.mean, initial=0))), bar="mean weight", hover_text=spread)  # fmt: skip


def moved(gates: GateStats, prior: Array) -> go.Figure:
    """[task, expert] learned weight minus the warm start's."""
    z = gates.mean - prior
    reach = float(max(0.05, np.nanmax(np.abs(z), initial=0)))
    return heatmap(z, gates.experts, gates.tasks, hover="%{y} on %{x}: %{z:+.3f}", low=-reach, high=reach, centre=0.0,
                   bar="learned - prior")  # fmt: skip


def effective(gates: GateStats) -> go.Figure:
    """How many experts a row of each task uses, exp(mean H), beside what the task uses over all its rows, exp(H(mean))."""
    out = figure(90 + ROW * len(gates.tasks))
    row = gates.effective_experts
    task = np.exp(gates.mean_entropy + gates.specialisation)
    for t, a, b in zip(gates.tasks, row, task, strict=True):
        out.add_trace(go.Scatter(x=[a, b], y=[t, t], mode="lines", line={"width": 2, "color": "rgba(128,140,160,.5)"}, showlegend=False,
                                 hoverinfo="skip"))  # fmt: skip
    out.add_trace(go.Scatter(x=row, y=list(gates.tasks), mode="markers", name="one row", marker={"size": 10},
                             hovertemplate="%{y}: %{x:.2f}<extra></extra>"))  # fmt: skip
    out.add_trace(go.Scatter(x=task, y=list(gates.tasks), mode="markers", name="all rows together", marker={"size": 10, "symbol": "diamond"},
                             hovertemplate="%{y}: %{x:.2f}<extra></extra>"))  # fmt: skip
    out.update_xaxes(title_text="effective experts", range=[0.8, len(gates.experts) + 0.2])
    out.update_yaxes(autorange="reversed")
    return out


def cell(edges: Array, counts: NDArray[np.int64], prior: float) -> go.Figure:
    """Distribution over rows of one cell's weight, with the warm start marked."""
    total = max(int(counts.sum()), 1)
    out = figure(280, showlegend=False, bargap=0.05)
    out.add_trace(go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=counts / total, width=np.diff(edges),
                         hovertemplate="weight %{x:.3f}: %{y:.1%}<extra></extra>"))  # fmt: skip
    out.add_vline(x=prior, line={"dash": "dot", "width": 1.5}, annotation_text="prior", annotation_font_size=11)
    out.update_xaxes(title_text="gate weight")
    out.update_yaxes(title_text="share of rows", tickformat=".0%")
    return out


def dilution(gates: GateStats) -> go.Figure:
    """[task, expert] mean weight that lands on the expert's zero fallback."""
    return heatmap(gates.dilution, gates.experts, gates.tasks, hover="%{y} spends %{z:.3f} on empty %{x}", low=0,
                   high=float(max(0.1, np.nanmax(gates.dilution, initial=0))), bar="wasted weight")  # fmt: skip


def utilisation(gates: GateStats) -> go.Figure:
    """Expert by expert: mean weight over tasks, and the share of (row, task) pairs where it leads."""
    out = figure(110 + ROW * len(gates.experts) * 2 // 1, bargap=0.3)
    lead = gates.load.mean(0)
    for name, values in (("mean weight over tasks", gates.importance), ("leads in", lead)):
        out.add_trace(go.Bar(y=list(gates.experts), x=values, name=name, orientation="h", hovertemplate="%{y}: %{x:.1%}<extra></extra>"))
    out.update_layout(barmode="group")
    out.update_yaxes(autorange="reversed")
    out.update_xaxes(tickformat=".0%", rangemode="tozero")
    return out
