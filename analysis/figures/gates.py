"""CGC gates: where each task looks, how far it moved from its prior, how much lands on empty inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from analysis.figures.registry import Drawing, reported
from analysis.figures.style import bars, figure, heatmap
from analysis.stats.base import Array
from analysis.stats.gate import GateStats
from analysis.stats.run import Statistics


def weights(stats: GateStats) -> go.Figure:
    """[task, expert] mean gate weight."""
    return heatmap(stats.mean, stats.experts, stats.tasks, hover="%{y} on %{x}: %{z:.3f}", low=0, high=1, bar="weight")


def prior_shift(stats: GateStats, prior: Array) -> go.Figure:
    """[task, expert] learned minus prior weight; blue and red on the diverging scale."""
    shift = stats.mean - prior
    reach = float(max(0.02, np.nanmax(np.abs(shift)))) if np.isfinite(shift).any() else 1.0
    return heatmap(
        shift,
        stats.experts,
        stats.tasks,
        hover="%{y} on %{x}: %{z:+.3f} against the prior",
        low=-reach,
        high=reach,
        centre=0.0,
        bar="shift",
    )


def distance(stats: GateStats, prior: Array) -> go.Figure:
    """Jensen-Shannon distance of each task's mean weights to its prior."""
    return bars(
        stats.tasks, {"distance to the prior": stats.distance_to(prior)}, x_title="Jensen-Shannon distance to the prior"
    )


def effective(stats: GateStats) -> go.Figure:
    """exp(mean H) by task: how many experts a row really uses; the dotted line is all of them."""
    out = bars(stats.tasks, {"effective experts": stats.effective_experts}, x_title="effective experts, exp(H)")
    out.add_vline(x=len(stats.experts), line={"dash": "dot", "width": 1})
    out.update_xaxes(range=[0, len(stats.experts) * 1.03])
    return out


def collapse(stats: GateStats) -> go.Figure:
    """H(mean p) split into mean H(p) and their difference: a low sum is collapse, a large difference specialisation."""
    return bars(
        stats.tasks,
        {"mean H(p)": stats.mean_entropy, "H(mean p) - mean H(p)": np.maximum(stats.specialisation, 0)},
        x_title="nats",
        stacked=True,
    )


def load(stats: GateStats) -> go.Figure:
    """[task, expert] share of rows where the expert has the largest weight."""
    return heatmap(
        stats.load, stats.experts, stats.tasks, hover="%{y}: %{x} leads in %{z:.1%}", low=0, high=1, bar="top-1 share"
    )


def dilution(stats: GateStats) -> go.Figure:
    """[task, expert] weight spent on zero fallback, over all rows."""
    high = float(max(0.2, np.nanmax(stats.dilution))) if np.isfinite(stats.dilution).any() else 1.0
    return heatmap(
        stats.dilution,
        stats.experts,
        stats.tasks,
        hover="%{y} spends %{z:.3f} on empty %{x}",
        low=0,
        high=high,
        bar="wasted weight",
    )


def importance(stats: GateStats) -> go.Figure:
    """Mean weight of each expert over tasks; the dotted line is 1/N."""
    out = bars(stats.experts, {"mean weight over tasks": stats.importance}, x_title="mean weight over tasks")
    out.add_vline(x=1 / len(stats.experts), line={"dash": "dot", "width": 1})
    return out


def cell(stats: GateStats, task: str, expert: str) -> go.Figure:
    """Distribution over rows of one task's weight on one expert."""
    counts = stats.histogram[stats.tasks.index(task), stats.experts.index(expert)]
    return histogram(np.linspace(0, 1, len(counts) + 1), counts, "gate weight")


def histogram(edges: Array, counts: Array, x_title: str) -> go.Figure:
    """Counts over given bin edges."""
    centres = (np.asarray(edges)[1:] + np.asarray(edges)[:-1]) / 2
    out = figure(260)
    out.add_trace(
        go.Bar(x=centres, y=np.asarray(counts), width=np.diff(edges), hovertemplate="%{x:.3f}: %{y} rows<extra></extra>")
    )
    out.update_layout(bargap=0.02)
    out.update_xaxes(title_text=x_title)
    out.update_yaxes(title_text="rows", rangemode="tozero")
    return out


def task_distance(stats: GateStats) -> go.Figure:
    """[task, task] Jensen-Shannon distance of mean weights: which tasks look at the same things."""
    return heatmap(
        stats.task_distance(),
        stats.tasks,
        stats.tasks,
        hover="%{y} and %{x}: %{z:.3f}",
        low=0,
        high=1,
        bar="distance",
        show=len(stats.tasks) <= 8,
    )


@reported(20)
def _of_gates(s: Statistics) -> Iterator[Drawing]:
    if s.gates is not None and s.gates.n:
        g = s.gates
        yield "Gate weights", lambda: weights(g)
        yield "Learned minus prior", lambda: prior_shift(g, s.facts.prior())
        yield "Collapse against specialisation", lambda: collapse(g)
        yield "Attention spent on empty inputs", lambda: dilution(g)
