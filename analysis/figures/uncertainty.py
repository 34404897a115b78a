"""Uncertainty of one task in one cohort (see `analysis.uncertainty`): figures from its parts, nothing is calculated here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import figure, lines
from analysis.results.uncertainty import (
    CohortUncertainty,
    Decomposition,
    IntervalCalibration,
    Reliability,
    RiskCoverage,
    Simplex,
)


def reliability(r: Reliability, kind: str = "binary") -> go.Figure:
    """Observed share against shown probability with 95 % intervals; the diagonal is honest, marker size follows rows."""
    most = max(float(np.max(r.shown, initial=0.0)), float(np.max(r.high, initial=0.0)))
    end = min(1.0, 1.1 * most) if kind == "binary" else 1.0  # rare outcomes fill the figure instead of one corner of it
    out = _diagonal(360, end)
    size = 6 + 16 * np.sqrt(r.count / max(int(r.count.max(initial=1)), 1))
    out.add_trace(
        go.Scatter(
            x=r.shown, y=r.observed, mode="lines+markers", name="observed", marker={"size": size}, customdata=r.count,
            error_y={"type": "data", "symmetric": False, "array": r.high - r.observed, "arrayminus": r.observed - r.low,
                     "width": 0},
            hovertemplate="shown %{x:.3f}, observed %{y:.3f}, %{customdata} rows<extra></extra>",
        )
    )  # fmt: skip
    out.update_xaxes(title_text="shown probability" if kind == "binary" else "top probability", range=[0, end])
    out.update_yaxes(title_text="observed rate" if kind == "binary" else "accuracy", range=[0, end])
    return out


def risk(r: RiskCoverage) -> go.Figure:
    """Mean error among the most certain rows, against the best possible and the random ordering."""
    series = {"by uncertainty": r.risk, "best possible": r.best, "random": np.full(len(r.coverage), r.random)}
    out = lines(r.coverage, series, x_title="coverage", y_title="risk (mean error)", height=340)
    out.update_traces(mode="lines")
    out.update_xaxes(tickformat=".0%")
    return out


def cohorts(groups: Sequence[CohortUncertainty], title: str) -> go.Figure:
    """Quantiles by group: whiskers 5 and 95 %, box 25 to 75 %."""
    out = figure(90 + 36 * len(groups), showlegend=False)
    for g in groups:
        low, q1, median, q3, high = g.quantiles
        out.add_trace(
            go.Box(
                orientation="h", y=[f"{g.name} (n = {g.n:,})"], lowerfence=[low], q1=[q1], median=[median], q3=[q3],
                upperfence=[high], mean=[g.mean], name=g.name,
            )
        )  # fmt: skip
    out.update_yaxes(autorange="reversed")
    out.update_xaxes(title_text=title)
    return out


def intervals(c: IntervalCalibration) -> go.Figure:
    """Promised against observed coverage of the head's central intervals; below the diagonal they are too narrow."""
    out = _diagonal(340)
    out.add_trace(
        go.Scatter(
            x=c.nominal, y=c.observed, mode="lines+markers", name="observed",
            hovertemplate="promised %{x:.0%}, observed %{y:.1%}<extra></extra>",
        )
    )  # fmt: skip
    out.update_xaxes(title_text="promised coverage", range=[0, 1], tickformat=".0%")
    out.update_yaxes(title_text="observed coverage", range=[0, 1], tickformat=".0%")
    return out


def decomposition(d: Decomposition, *, logs: bool) -> go.Figure:
    """Rows by epistemic and aleatoric uncertainty."""
    out = figure(360)
    x, y = (d.x_edges[:-1] + d.x_edges[1:]) / 2, (d.y_edges[:-1] + d.y_edges[1:]) / 2
    z = np.where(d.count > 0, d.count, np.nan).T
    hover = "epistemic %{x:.3f}, aleatoric %{y:.3f}: %{z} rows<extra></extra>"
    out.add_trace(go.Heatmap(x=x, y=y, z=z, coloraxis="coloraxis", hovertemplate=hover))
    out.update_layout(coloraxis={"colorbar": {"title": {"text": "rows", "side": "right"}, "thickness": 10, "outlinewidth": 0}})
    out.update_xaxes(title_text="log10 of the epistemic variance" if logs else "vacuity")
    out.update_yaxes(title_text="log10 of the aleatoric variance" if logs else "expected entropy (nats)")
    return out


def simplex(s: Simplex) -> go.Figure:
    """A three-class task: where predictions lie between the classes, coloured by the head's uncertainty."""
    out = figure(420, showlegend=False)
    size = 5 + 20 * np.sqrt(s.count / max(int(s.count.max(initial=1)), 1))
    out.add_trace(
        go.Scatterternary(
            a=s.centre[:, 0], b=s.centre[:, 1], c=s.centre[:, 2], mode="markers",
            customdata=np.stack([s.count, s.uncertainty], 1),
            marker={"size": size, "color": s.uncertainty, "coloraxis": "coloraxis"},
            hovertemplate="%{customdata[0]:.0f} rows, uncertainty %{customdata[1]:.3f}<extra></extra>",
        )
    )  # fmt: skip
    axes = {f"{k}axis": {"title": {"text": name}} for k, name in zip("abc", s.corners, strict=True)}
    bar = {"title": {"text": "vacuity", "side": "right"}, "thickness": 10, "outlinewidth": 0}
    out.update_layout(ternary={"sum": 1, **axes}, coloraxis={"colorbar": bar})
    return out


def _diagonal(height: int, end: float = 1.0) -> go.Figure:
    out = figure(height)
    out.add_trace(
        go.Scatter(x=[0, end], y=[0, end], mode="lines", name="honest", line={"dash": "dot", "width": 1}, hoverinfo="skip")
    )
    return out
