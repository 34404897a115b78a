"""The map of the experts' outputs, coloured by a column of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.style import GREY, figure

CLASSES = 12
"""Values up to which a column has a colour each; the rest is drawn grey."""


def points(xy: NDArray[Any], values: NDArray[Any], name: str) -> go.Figure:
    """xy [n, 2]; values [n]: text or few whole numbers get a colour each, other numbers a scale."""
    out = figure(520)
    if values.dtype.kind == "f" or (values.dtype.kind in "iu" and len(np.unique(values)) > CLASSES and name != "cluster"):
        mine = np.arange(len(xy))
        out.add_trace(_trace(xy, mine, {"color": values.astype(float), "coloraxis": "coloraxis"}, values, name))
        bar = {"title": {"text": name, "side": "right"}, "thickness": 10, "outlinewidth": 0}
        out.update_layout(coloraxis={"colorbar": bar}, showlegend=False)
    else:
        found, counts = np.unique(values.astype(str), return_counts=True)
        kept = found[np.argsort(-counts, kind="stable")][:CLASSES]
        rest = ~np.isin(values.astype(str), kept)
        if rest.any():
            out.add_trace(_trace(xy, np.flatnonzero(rest), {"color": GREY, "opacity": 0.4}, values, "…"))
        for value in kept:
            out.add_trace(_trace(xy, np.flatnonzero(values.astype(str) == value), {}, values, value))
    axis = {"showticklabels": False, "showgrid": False, "zeroline": False}
    out.update_xaxes(**axis)
    out.update_yaxes(**axis, scaleanchor="x")
    return out


def _trace(xy: NDArray[Any], mine: NDArray[np.int64], marker: dict[str, Any], values: NDArray[Any], name: str) -> go.Scattergl:
    """The marks `mine`, whose numbers are their `ids`."""
    return go.Scattergl(
        x=xy[mine, 0], y=xy[mine, 1], mode="markers", name=name, customdata=values[mine], ids=mine.astype(str),
        marker={"size": 4, "opacity": 0.75} | marker, hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
