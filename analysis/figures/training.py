"""Training curves: losses against a constant predictor, s_k, learning rate, gradient norms, adaTT affinity, gate history."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import plotly.graph_objects as go

from analysis.figures.registry import Drawing, reported
from analysis.figures.style import figure, heatmap, lines
from analysis.stats.run import Statistics
from analysis.stats.training import TrainingStats


def marks(out: go.Figure, stats: TrainingStats) -> go.Figure:
    """Vertical marks where a phase begins (after the first) and where gates were frozen."""
    for event in stats.event("phase")[1:]:
        if event.get("phase") and "ended" not in event:
            out.add_vline(
                x=event["epoch"] - 0.5,
                line={"dash": "dot", "width": 1},
                annotation_text=f"phase {event['phase']}",
                annotation_font_size=11,
            )
    for event in stats.event("freeze"):
        out.add_vline(
            x=event["epoch"] + 0.5,
            line={"dash": "dash", "width": 1},
            annotation_text="gates frozen",
            annotation_font_size=11,
            annotation_position="top left",
        )
    return out


def loss(stats: TrainingStats, name: str = "") -> go.Figure:
    """Validation loss over the constant predictor's, mean over tasks; below 1 the model has learned something."""
    out = lines(
        stats.epoch,
        {name or "this run": stats.series("valid", "mean_ratio")},
        x_title="epoch",
        y_title="validation loss / constant predictor",
    )
    out.add_hline(
        y=1.0,
        line={"width": 1, "dash": "dot"},
        annotation_text="constant predictor",
        annotation_font_size=11,
        annotation_position="bottom left",
    )
    best = [e["epoch"] for e in stats.epochs if e.get("best")]
    if best:
        ratio = dict(zip(stats.epoch, stats.series("valid", "mean_ratio"), strict=True))
        out.add_trace(
            go.Scatter(
                x=[best[-1]], y=[ratio[best[-1]]], mode="markers", name="kept weights", marker={"size": 11, "symbol": "star"}
            )
        )
    return marks(out, stats)


def task_ratio(stats: TrainingStats) -> go.Figure:
    """[task, epoch] validation loss over the constant predictor's; 1 is where the model knows nothing."""
    table = stats.table("valid", "ratio")
    z = np.array(list(table.values())) if table else np.zeros((0, len(stats)))
    reach = float(np.clip(np.nanmax(np.abs(z - 1)), 0.1, 0.5)) if z.size and np.isfinite(z).any() else 0.5
    out = heatmap(
        z,
        [f"{e:.0f}" for e in stats.epoch],
        list(table),
        hover="%{y}, epoch %{x}: %{z:.3f}",
        low=1 - reach,
        high=1 + reach,
        centre=1.0,
        bar="ratio",
    )
    out.update_coloraxes(reversescale=True)  # better than a constant in blue, worse in orange
    out.update_xaxes(side="bottom", title_text="epoch", tickangle=0, type="category")
    return out


def log_vars(stats: TrainingStats, limit: float) -> go.Figure:
    """[task, epoch] uncertainty weights s_k between their limits; positive means that the task counts less."""
    table = stats.table("s")
    z = np.array(list(table.values())) if table else np.zeros((0, len(stats)))
    reach = float(min(limit, max(0.05, np.nanmax(np.abs(z))))) if z.size and np.isfinite(z).any() else limit
    out = heatmap(
        z,
        [f"{e:.0f}" for e in stats.epoch],
        list(table),
        hover="%{y}, epoch %{x}: s = %{z:.3f}",
        low=-reach,
        high=reach,
        centre=0.0,
        bar="s_k",
    )
    out.update_xaxes(side="bottom", title_text="epoch", tickangle=0, type="category")
    return out


def learning_rate(stats: TrainingStats) -> go.Figure:
    """Learning rate at the end of each epoch."""
    out = lines(stats.epoch, {"learning rate": stats.series("lr")}, x_title="epoch", y_title="learning rate")
    out.update_yaxes(exponentformat="none")
    return marks(out, stats)


def gradients(stats: TrainingStats) -> go.Figure:
    """[module, epoch] log10 of the mean gradient norm; blank where it is zero (frozen)."""
    table = stats.table("grad_norm")
    values = np.array(list(table.values())) if table else np.zeros((0, len(stats)))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(values > 0, np.log10(values), np.nan)
    out = heatmap(
        z, [f"{e:.0f}" for e in stats.epoch], list(table), hover="%{y}, epoch %{x}: 10^%{z:.2f}", bar="log10 norm", decimals=1
    )
    out.update_xaxes(side="bottom", title_text="epoch", tickangle=0, type="category")
    return out


def affinity(stats: TrainingStats) -> go.Figure | None:
    """[task, task] adaTT affinity of the last epoch that measured it: the cosine of averaged gradients; None if none did."""
    known = [e["adatt"] for e in stats.epochs if isinstance(e.get("adatt"), dict) and e["adatt"].get("A")]
    if not known:
        return None
    last = known[-1]
    z = np.array([[np.nan if v is None else v for v in row] for row in last["A"]], dtype=np.float64)
    np.fill_diagonal(z, np.nan)
    band = (
        np.array([[np.nan if v is None else v for v in row] for row in last["band"]])
        if last.get("band")
        else np.full_like(z, np.nan)
    )
    return heatmap(
        z,
        last["tasks"],
        last["tasks"],
        hover="%{y} with %{x}: %{z:.2f} ± %{customdata:.2f}",
        low=-1,
        high=1,
        centre=0.0,
        bar="cosine",
        hover_text=band.tolist(),
    )


def speed(stats: TrainingStats) -> go.Figure:
    """Rows a second by epoch."""
    return lines(
        stats.epoch, {"rows a second": stats.series("samples_per_s")}, x_title="epoch", y_title="rows a second", height=260
    )


def conflict(stats: TrainingStats) -> go.Figure:
    """Share of task pairs whose gradients disagree beyond the threshold."""
    out = lines(
        stats.epoch,
        {"conflicting pairs": stats.series("adatt", "conflict_share")},
        x_title="epoch",
        y_title="share of task pairs",
        height=260,
    )
    out.update_yaxes(tickformat=".0%", rangemode="tozero")
    return out


def gate_history(stats: TrainingStats, task: str, experts: tuple[str, ...]) -> go.Figure:
    """Mean gate weight of one task by epoch, stacked to 1, with phases and the freeze marked."""
    weights = stats.gates(task)
    out = figure(320, hovermode="x unified")
    for i, expert in enumerate(experts[: weights.shape[1]]):
        out.add_trace(
            go.Scatter(x=stats.epoch, y=weights[:, i], name=expert, stackgroup="one", mode="lines", line={"width": 0.5})
        )
    out.update_xaxes(title_text="epoch")
    out.update_yaxes(title_text="mean gate weight", range=[0, 1])
    return marks(out, stats)


@reported(70)
def _of_training(s: Statistics) -> Iterator[Drawing]:
    if s.training is not None and len(s.training):
        yield "Validation loss", partial(loss, s.training)
        yield "Gradient norms", partial(gradients, s.training)
