"""Two runs side by side: pairs of points a measure, a map of gate differences, two trainings over each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.compare import Comparison, Difference, Key, kept_epoch
from analysis.figures.style import GREY, ROW, figure, heatmap
from analysis.stats.base import Array
from analysis.stats.training import TrainingStats

COLOURS = ("#3B6FE0", "#E0872B")
"""This run, the run it is compared with; told apart on light and dark, and with any colour vision."""
SYMBOLS = ("circle", "circle-open")
WIDE = 3
"""Panels beside each other."""
FAINT = 0.3


def panels(comparison: Comparison, measures: Sequence[str]) -> list[str]:
    """The measures of which anything differs, in their order: only they are drawn."""
    there = {r.key.measure for r in comparison.shown}
    return [m for m in measures if m in there]


def pairs(
    comparison: Comparison, measures: Mapping[str, str], subjects: Mapping[str, str], names: tuple[str, str]
) -> go.Figure | None:
    """One panel a measure that differs anywhere, one line a subject from run to run; faint where it is within noise.

    measures: measure -> what its panel is called; subjects: subject -> how it is called, in order. None if nothing differs.
    """
    drawn = panels(comparison, list(measures))
    if not drawn:
        return None
    tall = math.ceil(len(drawn) / WIDE)
    wide = math.ceil(len(drawn) / tall)
    out = make_subplots(
        tall, wide, shared_yaxes=True, subplot_titles=[measures[m] for m in drawn], horizontal_spacing=0.06,
        vertical_spacing=0.0 if tall == 1 else min(0.16, 90 / (tall * (90 + ROW * len(subjects)))),
    )  # fmt: skip
    for i, measure in enumerate(drawn):
        mine = {r.key.subject: r for r in comparison.of(measure)}
        place = {"row": i // wide + 1, "col": i % wide + 1}
        _pair_lines(out, [(subjects[s], mine[s]) for s in subjects if s in mine], place)
        for side in (0, 1):
            out.add_trace(_points(mine, subjects, names, side), **place)
        share = any(r.unit == "share" for r in mine.values())
        out.update_xaxes(tickformat=".0%" if share else None, nticks=5, zeroline=False, **place)
    out.update_yaxes(categoryorder="array", categoryarray=list(subjects.values())[::-1])
    for side in (0, 1):  # a legend of their own: a faint first point must not make a faint legend
        out.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=names[side], marker=_marker(side, 1.0)))
    out.update_layout(figure(tall * (70 + ROW * len(subjects)) + 40).layout)
    out.update_layout(legend={"y": 1 + (40 if any(measures.values()) else 8) / out.layout.height, "yanchor": "bottom"})
    out.update_annotations(font_size=12)
    return out


def _pair_lines(out: go.Figure, rows: Sequence[tuple[str, Difference]], place: Mapping[str, int]) -> None:
    """The lines between the two runs, one trace for those beyond noise and one for the rest."""
    for shown in (True, False):
        mine = [(y, r) for y, r in rows if r.shown is shown]
        if mine:
            out.add_trace(
                go.Scatter(
                    x=[v for _, r in mine for v in (r.a, r.b, None)],
                    y=[v for y, _ in mine for v in (y, y, None)],
                    mode="lines",
                    line={"width": 2, "color": GREY},
                    opacity=0.8 if shown else FAINT,
                    showlegend=False,
                    hoverinfo="skip",
                ),
                **place,
            )


def _marker(side: int, opacity: float | list[float]) -> dict[str, Any]:
    line = {"width": 2, "color": COLOURS[side]}
    return {"size": 9, "symbol": SYMBOLS[side], "color": COLOURS[side], "opacity": opacity, "line": line}


def _points(rows: Mapping[str, Difference], subjects: Mapping[str, str], names: tuple[str, str], side: int) -> go.Scatter:
    """One run's points of one panel."""
    mine = [(subjects[s], rows[s]) for s in subjects if s in rows]
    return go.Scatter(
        x=[(r.a, r.b)[side] for _, r in mine],
        y=[y for y, _ in mine],
        mode="markers",
        name=names[side],
        showlegend=False,
        marker=_marker(side, [1.0 if r.shown else FAINT for _, r in mine]),
        customdata=[[written(r), (r.n_a, r.n_b)[side]] for _, r in mine],
        hovertemplate="%{y}: %{x:.4g}<br>%{customdata[0]}<br>n = %{customdata[1]:,}<extra>" + names[side] + "</extra>",
    )


def written(row: Difference) -> str:
    """A difference with its interval, where there is one: `+0.120 [+0.101, +0.139]`."""
    return f"{row.difference:+.3g} {row.span()}".rstrip()


def gate_cells(comparison: Comparison, tasks: Sequence[str], experts: Sequence[str]) -> tuple[Array, list[list[str]]]:
    """([task, expert] difference, 0 where it is within noise and NaN where one run lacks the cell; what each cell says)."""
    cells = {r.key: r for r in comparison.of("weight")}
    z = np.full((len(tasks), len(experts)), np.nan)
    said = [["" for _ in experts] for _ in tasks]
    for i, task in enumerate(tasks):
        for j, expert in enumerate(experts):
            r = cells.get(Key(task, "weight", expert))
            if r is not None and math.isfinite(r.difference):
                z[i, j] = r.difference if r.shown else 0.0
                said[i][j] = f"{r.a:.3f} - {r.b:.3f} = {written(r)}"
    return z, said


def gates(comparison: Comparison, tasks: Mapping[str, str], experts: Mapping[str, str]) -> go.Figure:
    """[task, expert] weight of this run minus the other's. tasks, experts: name -> label, which says what one run alone has."""
    z, said = gate_cells(comparison, list(tasks), list(experts))
    known = np.abs(z[np.isfinite(z)])
    reach = float(max(0.02, known.max())) if known.size else 1.0
    out = heatmap(
        z,
        list(experts.values()),
        list(tasks.values()),
        hover="%{y} · %{x}: %{customdata}",
        low=-reach,
        high=reach,
        centre=0.0,
        bar="difference",
        hover_text=said,
    )
    text = out.data[0].text
    if text is not None:  # what is within noise stays empty
        out.data[0].text = [["" if v == 0 else str(c) for v, c in zip(*row, strict=True)] for row in zip(z, text, strict=True)]
    return out


def gradient_norm(stats: TrainingStats) -> Array:
    """[E] root of the sum of squares of the modules' mean gradient norms; NaN where none was logged."""
    table = stats.table("grad_norm")
    if not table:
        return np.full(len(stats), np.nan)
    squares = np.array(list(table.values())) ** 2
    return np.where(np.isfinite(squares).any(0), np.sqrt(np.nansum(squares, axis=0)), np.nan)


def trainings(a: TrainingStats, b: TrainingStats, names: tuple[str, str]) -> go.Figure:
    """Validation loss, learning rate and gradient norm of two trainings by epoch; a star where weights were kept."""
    titles = ("validation loss / constant predictor", "learning rate", "gradient norm, all modules")
    out = make_subplots(1, 3, subplot_titles=titles, horizontal_spacing=0.07)
    for side, stats in enumerate((a, b)):
        series = (stats.series("valid", "mean_ratio"), stats.series("lr"), gradient_norm(stats))
        for i, y in enumerate(series):
            out.add_trace(
                go.Scatter(
                    x=stats.epoch, y=y, name=names[side], legendgroup=str(side), showlegend=i == 0, mode="lines+markers",
                    line={"width": 2, "color": COLOURS[side], "dash": ("solid", "dash")[side]}, marker={"size": 4},
                    hovertemplate="%{x}: %{y:.4g}<extra>" + names[side] + "</extra>",
                ),
                1, i + 1,
            )  # fmt: skip
        kept = kept_epoch(stats)
        if kept is not None:
            out.add_trace(
                go.Scatter(
                    x=[stats.epoch[kept]], y=[series[0][kept]], mode="markers", showlegend=False, hoverinfo="skip",
                    marker={"size": 13, "symbol": "star", "color": COLOURS[side]},
                ),
                1, 1,
            )  # fmt: skip
    out.update_layout(figure(340).layout)
    out.update_layout(legend={"y": 1.14})
    out.update_xaxes(title_text="epoch", nticks=6)
    out.update_yaxes(nticks=6, exponentformat="power")
    out.update_yaxes(exponentformat="none", row=1, col=2)
    out.update_annotations(font_size=12)
    return out
