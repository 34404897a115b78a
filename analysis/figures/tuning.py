"""A study: the objective trial by trial, what each key did to it, all keys at once, and loss against learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import GREY, bars, figure
from analysis.tuning import Axis, History
from ple_model.tuning.finder import RateCurve

LEVEL, OTHER, FOUND = "#3B6FE0", "#8A94A6", "#E0872B"
"""Seen on light and on dark."""
ACROSS = 3
"""Slices beside one another."""
SCALE = [[0.0, OTHER], [0.5, LEVEL], [1.0, FOUND]]
"""From the worst trial to the best."""
ROOM = {"x": [0.07, 0.96], "y": [0.04, 0.86]}
"""Of parallel axes in their figure: names above and values beside them need the rest."""


def objective_history(found: History, aim: str) -> go.Figure:
    """Every trial's objective with its interval, and the best so far."""
    out = figure(340, hovermode="closest")
    level = np.asarray(found.level, dtype=bool)
    number = np.asarray(found.number)
    for mask, name, colour in ((level, "level with the best", LEVEL), (~level, "behind the best", OTHER)):
        if mask.any():
            out.add_trace(_points(number[mask], found, mask, name, colour))
    out.add_trace(
        go.Scatter(
            x=number, y=found.best, mode="lines", name="best so far", line={"width": 2, "color": FOUND, "shape": "hv"},
            hoverinfo="skip",
        )
    )  # fmt: skip
    turn = next((i for i, s in enumerate(found.stage) if s == "bayesian"), 0)
    if turn:
        out.add_vline(x=float(number[turn]) - 0.5, line={"dash": "dot", "width": 1, "color": GREY})
        out.add_annotation(
            x=float(number[turn]) - 0.5, y=0.0, yref="paper", text="second stage", textangle=-90, showarrow=False,
            font={"size": 11}, xanchor="right", yanchor="bottom",
        )  # fmt: skip
    out.update_xaxes(title_text="trial", dtick=1 if len(number) <= 24 else None)
    out.update_yaxes(title_text=aim)
    return out


def _points(x: object, found: History, mask: np.ndarray, name: str, colour: str) -> go.Scatter:
    value = found.value[mask]
    return go.Scatter(
        x=x, y=value, mode="markers", name=name, marker={"size": 9, "color": colour},
        error_y={"type": "data", "symmetric": False, "array": np.nan_to_num(found.high[mask] - value),
                 "arrayminus": np.nan_to_num(value - found.low[mask]), "thickness": 1.2, "width": 3},
        customdata=np.stack([found.low[mask], found.high[mask]], 1),
        hovertemplate="trial %{x}: %{y:.4f} (%{customdata[0]:.4f} to %{customdata[1]:.4f})<extra></extra>",
    )  # fmt: skip


def importances(shares: Mapping[str, float]) -> go.Figure:
    """Share of the objective's spread that each key explains."""
    return bars(list(shares), {"share of the spread": list(shares.values())}, x_title="share of the spread", percent=True)


def parallel(axes: Sequence[Axis], found: History, aim: str) -> go.Figure:
    """One line a trial through its settings, coloured by what it reached."""
    out = figure(400)
    dimensions = [
        {"label": a.key.rsplit(".", 1)[-1], "values": a.place, "tickvals": a.ticks, "ticktext": a.names,
         "range": [min(a.ticks), max(a.ticks)]}
        for a in axes
    ]  # fmt: skip
    out.add_trace(
        go.Parcoords(
            dimensions=[*dimensions, {"label": aim, "values": found.value}],
            line={"color": found.value, "colorscale": SCALE, "showscale": False},
            labelfont={"size": 12}, tickfont={"size": 11}, domain=ROOM,
        )
    )  # fmt: skip
    return out


def slices(axes: Sequence[Axis], found: History, aim: str) -> go.Figure:
    """The objective against each key, one panel a key."""
    across = min(ACROSS, max(len(axes), 1))
    down = -(-len(axes) // across)
    out = make_subplots(rows=down, cols=across, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.3 / down)
    level = np.asarray(found.level, dtype=bool)
    for i, axis in enumerate(axes):
        row, column = i // across + 1, i % across + 1
        out.add_trace(
            go.Scatter(
                x=axis.place, y=found.value, mode="markers", showlegend=False,
                marker={"size": 9, "color": [LEVEL if v else OTHER for v in level]},
                customdata=[[n] for n in found.number],
                hovertemplate="trial %{customdata[0]}: %{y:.4f}<extra></extra>",
            ),
            row=row, col=column,
        )  # fmt: skip
        room = 0.05 * (max(axis.ticks) - min(axis.ticks))
        out.update_xaxes(
            title_text=axis.key, tickvals=axis.ticks, ticktext=axis.names, row=row, col=column,
            range=[min(axis.ticks) - room, max(axis.ticks) + room],
        )  # fmt: skip
        if column == 1:
            out.update_yaxes(title_text=aim, row=row, col=column)
    out.update_layout(height=60 + 230 * down, margin={"l": 8, "r": 8, "t": 24, "b": 8})
    return out


def rate_curve(found: RateCurve) -> go.Figure:
    """Loss against learning rate: of each step, smoothed, with the suggestion and the configuration's own rate."""
    out = figure(340, hovermode="x unified")
    shown = _clipped(found)
    out.add_trace(
        go.Scatter(x=found.rates, y=shown, mode="lines", name="loss after the step", line={"width": 1, "color": GREY})
    )
    out.add_trace(
        go.Scatter(x=found.rates, y=found.smoothed, mode="lines", name="smoothed", line={"width": 2.5, "color": LEVEL})
    )
    for rate, text, colour in ((found.current, "configuration", GREY), (found.suggestion, "suggestion", FOUND)):
        if rate is not None:
            out.add_vline(x=rate, line={"dash": "dot", "width": 1.5, "color": colour})
            out.add_annotation(
                x=float(np.log10(rate)), y=1.0 if text == "suggestion" else 0.0, yref="paper", text=text, textangle=-90,
                showarrow=False, font={"size": 11}, xanchor="right", yanchor="top" if text == "suggestion" else "bottom",
            )  # fmt: skip
    out.update_xaxes(title_text="learning rate", type="log", dtick=1, exponentformat="power")
    out.update_yaxes(title_text="loss / constant predictor", range=_reach(found))
    return out


def _reach(found: RateCurve) -> list[float] | None:
    """What the smoothed curve needs: where it diverged, a single step would flatten the rest."""
    if not found.smoothed:
        return None
    low, first = min(found.smoothed), found.smoothed[0]
    high = min(max(found.smoothed), first + 3 * max(first - low, 1e-6))
    room = 0.15 * max(high - low, 1e-6)
    return [low - room, high + room]


def _clipped(found: RateCurve) -> tuple[float, ...]:
    reach = _reach(found)
    return found.losses if reach is None else tuple(min(max(v, reach[0]), reach[1]) for v in found.losses)
