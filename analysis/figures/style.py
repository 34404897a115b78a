"""What all figures share: an empty figure of a height, heatmaps on the template's own colour axis, lines with shared hover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

GREY = "#8A94A6"
"""Seen on light and on dark."""
ROW = 26
"""Pixels a heatmap row or a bar takes."""
MAX_TEXT = 8
"""Columns up to which a heatmap's cells say their values."""
MAX_TICKS = 24
"""Columns up to which every one is named."""


def figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure; margins are tight because pages give the title."""
    out = go.Figure()
    out.update_layout(height=height, margin={"l": 8, "r": 8, "t": 24, "b": 8}, hoverlabel={"namelength": -1}, **layout)
    out.update_layout(legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0})
    return out


def _short(value: float, decimals: int) -> str:
    """`.05`, `-.31`, `1.00`, `0`: narrow enough for a cell beside seven others."""
    if not np.isfinite(value):
        return ""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return "0"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def heatmap(
    z: ArrayLike,
    x: Sequence[str],
    y: Sequence[str],
    *,
    hover: str,
    low: float | None = None,
    high: float | None = None,
    centre: float | None = None,
    decimals: int = 2,
    bar: str = "",
    show: bool = True,
    hover_text: Sequence[Sequence[str]] | None = None,
) -> go.Figure:
    """A labelled heatmap; `centre` puts it on the diverging scale. `hover` is Plotly's template with %{x}, %{y}, %{z}."""
    values = np.asarray(z, dtype=np.float64)
    show = show and values.shape[1] <= MAX_TEXT
    text = [[_short(v, decimals) for v in row] for row in values] if show else None
    out = figure(90 + ROW * len(y))
    trace: dict[str, Any] = {
        "z": values,
        "x": list(x),
        "y": list(y),
        "hovertemplate": hover + "<extra></extra>",
        "xgap": 2,
        "ygap": 2,
        "coloraxis": "coloraxis",
    }
    wide = values.shape[1] > 4
    if text is not None:
        trace |= {"text": text, "texttemplate": "%{text}", "textfont": {"size": 10}}
    if hover_text is not None:
        trace["customdata"] = hover_text
    out.add_trace(go.Heatmap(**trace))
    axis: dict[str, Any] = {"colorbar": {"title": {"text": bar, "side": "right"}, "thickness": 10, "outlinewidth": 0}}
    axis["showscale"] = not (show and wide)  # the cells say their values, and need the room
    if low is not None and high is not None:
        axis |= {"cmin": low, "cmax": high}
    if centre is not None:
        template = out.layout.template.layout.colorscale.diverging
        axis |= {"cmid": centre, "colorscale": template or "RdBu"}
    out.update_layout(coloraxis=axis)
    out.update_xaxes(side="top", tickangle=-90 if len(x) > 10 else -50 if len(x) > 6 else 0, showgrid=False)
    if 10 < len(x) <= MAX_TICKS:
        out.update_xaxes(dtick=1, tickfont={"size": 10})  # Plotly leaves out every other name by itself
    out.update_yaxes(autorange="reversed", showgrid=False)
    return out


def bars(
    names: Sequence[str],
    series: Mapping[str, ArrayLike],
    *,
    x_title: str,
    stacked: bool = False,
    percent: bool = False,
) -> go.Figure:
    """Horizontal bars by name, one series a colour."""
    out = figure(80 + ROW * len(names) * (1 if stacked else len(series)))
    for name, values in series.items():
        out.add_trace(
            go.Bar(
                y=list(names),
                x=np.asarray(values, dtype=np.float64),
                name=name,
                orientation="h",
                hovertemplate="%{y}: %{x:.3f}<extra>" + name + "</extra>",
            )
        )
    out.update_layout(barmode="stack" if stacked else "group", bargap=0.25, showlegend=len(series) > 1)
    out.update_yaxes(autorange="reversed")
    out.update_xaxes(title_text=x_title, tickformat=".0%" if percent else None)
    return out


def lines(
    x: ArrayLike, series: Mapping[str, ArrayLike], *, x_title: str, y_title: str, height: int = 320, log: bool = False
) -> go.Figure:
    """Lines over a common axis, read together on hover."""
    out = figure(height, hovermode="x unified")
    for name, y in series.items():
        out.add_trace(
            go.Scatter(
                x=np.asarray(x),
                y=np.asarray(y, dtype=np.float64),
                name=name,
                mode="lines+markers",
                marker={"size": 5},
                line={"width": 2},
            )
        )
    out.update_xaxes(title_text=x_title)
    out.update_yaxes(title_text=y_title, type="log" if log else "linear")
    return out


def learned_first(drawn: go.Figure, unlearned: Sequence[str], why: str = "no label in training") -> go.Figure:
    """A figure whose vertical axis names tasks (and perhaps the horizontal one): those that never learned go last, under grey,
    and their names say why."""
    silent = set(unlearned)
    for key in ("x", "y"):
        values = [v for trace in drawn.data for v in (getattr(trace, key) if getattr(trace, key) is not None else ())]
        names = list(dict.fromkeys(v for v in values if isinstance(v, str)))
        order = sorted(names, key=lambda name: name in silent)
        first = sum(name not in silent for name in names)
        if first == len(names):
            continue
        said = [f"<span style='color:{GREY}'>{n} ({why})</span>" if n in silent else n for n in order]
        axis = {"categoryorder": "array", "categoryarray": order, "tickmode": "array", "tickvals": order, "ticktext": said}
        drawn.update_layout({f"{key}axis": axis})
        ends = {f"{key}0": first - 0.5, f"{key}1": len(names) - 0.5, f"{key}ref": key}
        across = {"x0": 0, "x1": 1, "xref": "paper"} if key == "y" else {"y0": 0, "y1": 1, "yref": "paper"}
        drawn.add_shape(type="rect", fillcolor=GREY, opacity=0.7, line={"width": 0, "color": GREY}, **ends, **across)
    return drawn
