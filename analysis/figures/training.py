"""Training curves: losses against a constant predictor, s_k, learning rate, gradient norms, adaTT affinity, gate history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go

from analysis.figures.registry import Drawing, reported
from analysis.figures.style import ROW, figure, heatmap, lines
from analysis.stats.run import Statistics
from analysis.stats.training import TrainingStats
from analysis.stats.turning import Turn, train_ratio

OWN, WORSE = "#3B6FE0", "#E0872B"
"""Seen on light and on dark."""


def marks(out: go.Figure, stats: TrainingStats) -> go.Figure:
    """Vertical marks where a phase begins (after the first) and where gates were frozen. Their names run along the lines, one
    kind from the top and one from the bottom: the lines may lie an epoch apart."""
    for event in stats.event("phase")[1:]:
        if event.get("phase") and "ended" not in event:
            _mark(out, event["epoch"] - 0.5, "dot", f"phase {event['phase']}", top=True)
    for event in stats.event("freeze"):
        _mark(out, event["epoch"] + 0.5, "dash", "gates frozen", top=False)
    return out


def _mark(out: go.Figure, x: float, dash: str, text: str, *, top: bool) -> None:
    out.add_vline(x=x, line={"dash": dash, "width": 1})
    out.add_annotation(
        x=x, y=1.0 if top else 0.0, yref="paper", text=text, textangle=-90, showarrow=False, font={"size": 11},
        xanchor="right", yanchor="top" if top else "bottom",
    )  # fmt: skip


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


def turning(found: Sequence[Turn]) -> go.Figure:
    """[task] each task's own best epoch, the stretch after it, and the epoch whose weights were kept for all."""
    out = figure(90 + ROW * len(found))
    late = [t for t in found if not t.improving and not t.level]
    out.add_trace(
        go.Scatter(
            x=[v for t in late for v in (t.best_epoch, t.last_epoch, None)],
            y=[v for t in late for v in (t.task, t.task, None)],
            mode="lines",
            name="its validation loss rose again",
            line={"width": 3, "color": WORSE},
            hoverinfo="skip",
        )
    )
    for name, group, symbol in (
        ("its own best epoch", late, "circle"),
        ("still improving at the end", [t for t in found if t.improving], "triangle-right"),
        ("the same in every epoch", [t for t in found if t.level], "square-open"),
    ):
        if group:
            out.add_trace(
                go.Scatter(
                    x=[t.best_epoch for t in group],
                    y=[t.task for t in group],
                    mode="markers",
                    name=name,
                    marker={"size": 11, "symbol": symbol, "color": OWN},
                    customdata=[[t.best, t.kept] for t in group],
                    hovertemplate="%{y}: epoch %{x}, skill %{customdata[0]:.3f}, in the kept weights %{customdata[1]:.3f}"
                    "<extra></extra>",
                )
            )
    if found:
        _mark(out, found[0].kept_epoch, "solid", "kept weights", top=True)
    out.update_xaxes(title_text="epoch", dtick=1 if found and found[0].last_epoch <= 20 else None)
    out.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=[t.task for t in found])
    return out


def gap(stats: TrainingStats) -> go.Figure:
    """Mean skill over tasks by epoch, of the training rows and of the validation rows; what lies between is learnt by heart."""
    trained = train_ratio(stats)
    mean = np.mean(list(trained.values()), axis=0) if trained else np.full(len(stats), np.nan)
    out = lines(
        stats.epoch,
        {"training rows": 1 - mean, "validation rows": 1 - stats.series("valid", "mean_ratio")},
        x_title="epoch",
        y_title="skill, mean over tasks",
    )
    return marks(out, stats)


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
