"""One customer's series as an encoder restores it, which steps count, and the gate of its spectrum."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.style import GREY, bars, figure
from analysis.results.sequences import CustomerSteps, ProbeRow


def restored(found: CustomerSteps, channel: int, odd: NDArray[np.bool_]) -> go.Figure:
    """A channel's values as bars, what was said of each step while it was hidden as a line; `odd` [L] steps are marked."""
    c = found.channels[channel]
    values, said = c.shown(found.values[:, channel]), c.shown(found.restored[:, channel])
    seen = np.isfinite(found.error)
    out = figure(320, hovermode="x unified")
    x = np.array(found.steps)
    out.add_trace(go.Bar(x=x[seen], y=values[seen], name="seen", marker={"opacity": 0.55}, hovertemplate="%{y:,.2f}"))
    out.add_trace(
        go.Scatter(
            x=x[seen], y=said[seen], name="restored while hidden", mode="lines", line={"width": 2}, hovertemplate="%{y:,.2f}"
        )
    )
    marked = seen & odd
    if marked.any():
        mark = {"symbol": "x", "size": 10, "color": "#D1495B", "line": {"width": 1, "color": "#D1495B"}}
        out.add_trace(
            go.Scatter(
                x=x[marked],
                y=values[marked],
                name="out of the ordinary",
                mode="markers",
                marker=mark,
                hovertemplate="%{y:,.2f}",
            )
        )
    out.update_layout(bargap=0.1)
    return out


def oddness(found: CustomerSteps, percentile: NDArray[np.float64], limit: float) -> go.Figure:
    """[L] percentile of each step's error among training customers' steps, with the limit."""
    out = figure(200, showlegend=False)
    x = np.array(found.steps)
    known = np.isfinite(percentile)
    out.add_trace(go.Bar(x=x[known], y=percentile[known], hovertemplate="%{x}: %{y:.1f}<extra></extra>"))
    out.add_hline(y=limit, line={"dash": "dot", "width": 1.5, "color": GREY})
    out.update_yaxes(range=[0, 100], title_text="percentile of the error")
    out.update_layout(bargap=0.1)
    return out


def counting(found: CustomerSteps) -> go.Figure:
    """How far the embedding moves without each block, and the attention that its token gets."""
    out = figure(300, barmode="group")
    names = ["–".join(dict.fromkeys(found.span(k))) for k in range(len(found.blocks))]
    starts = [found.span(k)[0] for k in range(len(found.blocks))]
    hover = "%{customdata}: %{y:.1%}<extra></extra>"
    out.add_trace(go.Bar(x=starts, y=found.weight, name="embedding moves without it", customdata=names, hovertemplate=hover))
    if found.attention is not None:
        out.add_trace(
            go.Scatter(
                x=starts, y=found.attention, name="attention it gets", customdata=names, hovertemplate=hover,
                mode="lines+markers", yaxis="y2", line={"width": 2}, marker={"size": 5},
            )
        )  # fmt: skip
        out.update_layout(
            yaxis2={"overlaying": "y", "side": "right", "tickformat": ".0%", "showgrid": False, "rangemode": "tozero"}
        )
    out.update_yaxes(tickformat=".0%", selector={"side": None})
    out.update_layout(yaxis={"tickformat": ".0%"})
    return out


def gates(found: CustomerSteps) -> go.Figure:
    """How much of each channel's spectrum enters; the hover tells the strongest period."""
    assert found.gate is not None
    assert found.period is not None
    out = bars(
        [c.name for c in found.channels], {"gate": found.gate}, x_title="share of the spectrum that enters", percent=True
    )
    out.data[0].customdata = found.period
    out.data[0].hovertemplate = "%{y}: %{x:.0%} · %{customdata:.1f}<extra></extra>"
    return out


def few_labels(rows: tuple[ProbeRow, ...], task: str) -> go.Figure:
    """AUC of both readers by number of labels, with their deviation over draws."""
    mine = [r for r in rows if r.task == task]
    x = [r.labels for r in mine]
    out = figure(300, hovermode="x unified")
    for name, y, spread in (
        ("embedding of the encoder", [r.encoder for r in mine], [r.encoder_spread for r in mine]),
        ("summary statistics", [r.summary for r in mine], [r.summary_spread for r in mine]),
    ):
        out.add_trace(
            go.Scatter(
                x=x, y=y, name=name, mode="lines+markers", error_y={"type": "data", "array": spread, "thickness": 1.2},
                hovertemplate="%{y:.3f}",
            )
        )  # fmt: skip
    out.add_hline(y=0.5, line={"dash": "dot", "width": 1.5, "color": GREY})
    out.update_xaxes(type="log", title_text="labels", tickvals=x, ticktext=[f"{n:,}" for n in x])
    out.update_yaxes(title_text="AUC")
    return out
