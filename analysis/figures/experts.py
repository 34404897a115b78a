"""Expert health: starved against dead, redundancy, rank, and what is looked at against what is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from analysis.checks.thresholds import Thresholds
from analysis.figures.registry import Drawing, reported
from analysis.figures.style import bars, figure, heatmap
from analysis.stats.base import Array
from analysis.stats.effects import EffectStats
from analysis.stats.expert import ExpertStats
from analysis.stats.gate import GateStats
from analysis.stats.run import Statistics
from ple_model.presence import is_part

State = Literal["alive", "starved", "dead", "not finite", "unknown"]
STATE_COLOURS: dict[State, str] = {
    "alive": "#0072B2",
    "starved": "#E69F00",
    "dead": "#D55E00",
    "not finite": "#CC79A7",
    "unknown": "#999999",
}
"""Okabe and Ito's palette, told apart with any colour vision."""


@dataclass(frozen=True)
class ExpertHealth:
    """One expert's row on the health page; NaN where too few rows have input."""

    name: str
    state: State
    n: int
    fallback_share: float
    norm_mean: float
    norm_std: float
    effective_rank: float
    width: int
    zero_rate: float
    saturation: float
    effect: float


def health_info(s: Statistics, thresholds: Thresholds | None = None) -> list[ExpertHealth]:
    """Every expert's numbers and its state: starved (no input) is told apart from dead (input, no output)."""
    t = thresholds or Thresholds()
    e = s.experts
    if e is None:
        return []
    out = []
    for i, name in enumerate(e.names):
        rows = int(e.counted[i])
        spread = float(np.sqrt(np.nansum(e.variance(name)))) if rows else 0.0
        norm = float(e.norm_mean[i])
        state: State = "alive"
        if e.n < t.min_rows:
            state = "unknown"
        elif e.nonfinite[i] > 0:
            state = "not finite"
        elif e.fallback_share[i] >= t.fallback_warning:
            state = "starved"
        elif norm < t.dead_norm or spread < t.dead_variation * max(norm, t.dead_norm):
            state = "dead"
        effect = s.effects.of(f"ablate.{name}=mean") if s.effects is not None else np.array([np.nan])
        out.append(
            ExpertHealth(
                name,
                state,
                rows,
                float(e.fallback_share[i]),
                norm,
                float(e.norm_std[i]),
                e.effective_rank(name),
                e.dims[i],
                e.zero_rate(name),
                e.saturation(name),
                float(np.mean(effect)) if len(effect) else float("nan"),
            )
        )
    return out


def health(info: Sequence[ExpertHealth]) -> go.Figure:
    """Share of rows with and without input, the bar coloured by the expert's state."""
    out = figure(90 + 26 * len(info))
    for state, colour in STATE_COLOURS.items():
        mine = [h for h in info if h.state == state]
        if mine:
            out.add_trace(
                go.Bar(
                    y=[h.name for h in mine],
                    x=[1 - h.fallback_share for h in mine],
                    name=state,
                    orientation="h",
                    marker={"color": colour},
                    customdata=[[h.norm_mean, h.effective_rank, h.width] for h in mine],
                    hovertemplate="%{y}: input in %{x:.1%}, norm %{customdata[0]:.3f}, "
                    "rank %{customdata[1]:.1f} of %{customdata[2]}<extra></extra>",
                )
            )
    out.add_trace(
        go.Bar(
            y=[h.name for h in info],
            x=[h.fallback_share for h in info],
            name="zero fallback",
            orientation="h",
            marker={"color": "rgba(128,128,128,0.35)", "pattern": {"shape": "/"}},
            hovertemplate="%{y}: zero fallback in %{x:.1%}<extra></extra>",
        )
    )
    out.update_layout(barmode="stack", bargap=0.25)
    out.update_yaxes(categoryorder="array", categoryarray=[h.name for h in info][::-1])
    out.update_xaxes(title_text="share of rows", tickformat=".0%", range=[0, 1])
    return out


def cka(stats: ExpertStats) -> go.Figure:
    """[expert, expert] linear CKA over the rows where both have input; blank where undefined."""
    return heatmap(stats.cka(), stats.names, stats.names, hover="%{y} and %{x}: CKA %{z:.3f}", low=0, high=1, bar="CKA")


def rank(stats: ExpertStats) -> go.Figure:
    """Effective rank over width: 1 uses every direction alike."""
    values = [stats.effective_rank(n) / d for n, d in zip(stats.names, stats.dims, strict=True)]
    out = bars(stats.names, {"effective rank / width": values}, x_title="effective rank / width")
    out.update_xaxes(range=[0, 1])
    return out


def variance(stats: ExpertStats, expert: str) -> go.Figure:
    """Variance of each output dimension, sorted; dead dimensions lie at zero."""
    v = np.sort(stats.variance(expert))[::-1]
    out = figure(260)
    out.add_trace(go.Bar(x=np.arange(1, len(v) + 1), y=v, hovertemplate="dimension %{x}: %{y:.4f}<extra></extra>"))
    out.update_xaxes(title_text="dimension, by variance")
    out.update_yaxes(title_text="variance over rows", rangemode="tozero")
    return out


def absence(s: Statistics) -> go.Figure:
    """[input, expert] share of rows where the input is absent; blank where the expert does not read it. Parts of features are
    left to the data page."""
    fields = [f for f in dict.fromkeys(f for r in s.facts.reads.values() for f in r) if not is_part(f)]
    z = np.full((len(fields), len(s.facts.experts)), np.nan)
    if s.inputs is not None:
        for i, field in enumerate(fields):
            for j, expert in enumerate(s.facts.experts):
                if field in s.facts.reads[expert]:
                    z[i, j] = s.inputs.absent_share(field)
    return heatmap(z, s.facts.experts, fields, hover="%{x} reads %{y}: absent in %{z:.1%}", low=0, high=1, bar="absent")


@dataclass(frozen=True)
class MassEffect:
    """One cell of gate mass against causal effect."""

    expert: str
    task: str
    mass: float
    effect: float


def mass_effect_info(gates: GateStats, effects: EffectStats) -> list[MassEffect]:
    """Every (expert, task) with its mean gate weight and the mean change when the expert is replaced by its mean."""
    out = []
    for j, expert in enumerate(gates.experts):
        change = effects.of(f"ablate.{expert}=mean")
        for i, task in enumerate(gates.tasks):
            if task in effects.tasks:
                value = float(change[effects.tasks.index(task)])
                if np.isfinite(value):
                    out.append(MassEffect(expert, task, float(gates.mean[i, j]), value))
    return out


def mass_effect(info: Sequence[MassEffect]) -> go.Figure:
    """What is looked at (gate mass) against what is used (effect of ablation); bottom right is attention without use."""
    out = figure(420)
    for expert in dict.fromkeys(m.expert for m in info):
        mine = [m for m in info if m.expert == expert]
        out.add_trace(
            go.Scatter(
                x=[m.mass for m in mine],
                y=[m.effect for m in mine],
                mode="markers",
                name=expert,
                customdata=[m.task for m in mine],
                marker={"size": 8, "opacity": 0.8},
                hovertemplate="%{customdata}: weight %{x:.2f}, effect %{y:.4f}<extra>" + expert + "</extra>",
            )
        )
    out.update_xaxes(title_text="mean gate weight", range=[-0.02, 1.02])
    out.update_yaxes(title_text="mean change when the expert is ablated", rangemode="tozero")
    return out


def effect_heatmap(effects: EffectStats, experts: Sequence[str]) -> go.Figure:
    """[task, expert] mean change of the prediction when the expert is replaced by its mean, over the task's largest."""
    z: Array = np.array([effects.of(f"ablate.{e}=mean") for e in experts]).T
    with np.errstate(invalid="ignore", divide="ignore"):
        share = z / np.nanmax(z, axis=1, keepdims=True)
    return heatmap(
        share,
        list(experts),
        effects.tasks,
        hover="%{y} without %{x}: %{z:.2f} of its largest change",
        low=0,
        high=1,
        bar="of the largest",
    )


def group_means(groups: Sequence[object], experts: Sequence[str], means: Array) -> go.Figure:
    """[group, expert] mean norm by segment or cluster."""
    return heatmap(means, list(experts), [str(g) for g in groups], hover="%{y}, %{x}: norm %{z:.3f}", bar="norm")


@reported(10)
def _of_experts(s: Statistics) -> Iterator[Drawing]:
    if s.experts is not None and s.experts.n:
        e = s.experts
        yield "Expert health", lambda: health(health_info(s))
        yield "Redundancy between experts (linear CKA)", lambda: cka(e)
        yield "Effective rank", lambda: rank(e)
        yield "Missing inputs by expert", lambda: absence(s)


@reported(25)
def _of_mass_and_effect(s: Statistics) -> Iterator[Drawing]:
    if s.gates is not None and s.gates.n and s.effects is not None and s.effects.n:
        cells = mass_effect_info(s.gates, s.effects)
        if cells:
            yield "Gate mass against causal effect", lambda: mass_effect(cells)
