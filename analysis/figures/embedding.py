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
        out.add_trace(_trace(xy, {"color": values.astype(float), "coloraxis": "coloraxis"}, values, name))
        bar = {"title": {"text": name, "side": "right"}, "thickness": 10, "outlinewidth": 0}
        out.update_layout(coloraxis={"colorbar": bar}, showlegend=False)
    else:
        found, counts = np.unique(values.astype(str), return_counts=True)
        kept = found[np.argsort(-counts, kind="stable")][:CLASSES]
        rest = ~np.isin(values.astype(str), kept)
        if rest.any():
            out.add_trace(_trace(xy[rest], {"color": GREY, "opacity": 0.4}, values[rest], "…"))
        for value in kept:
            mine = values.astype(str) == value
            out.add_trace(_trace(xy[mine], {}, values[mine], value))
    axis = {"showticklabels": False, "showgrid": False, "zeroline": False}
    out.update_xaxes(**axis)
    out.update_yaxes(**axis, scaleanchor="x")
    return out


def _trace(xy: NDArray[Any], marker: dict[str, Any], values: NDArray[Any], name: str) -> go.Scattergl:
    return go.Scattergl(
        x=xy[:, 0], y=xy[:, 1], mode="markers", name=name, customdata=values, marker={"size": 4, "opacity": 0.75} | marker,
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
