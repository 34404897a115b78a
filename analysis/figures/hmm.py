"""HMM routing as pictures: who is on the default embedding, and where it lies among the real projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.style import figure, heatmap
from analysis.stats.base import Array


def default_rate(values: Array, groups: Sequence[Any], counts: Sequence[int], modes: Sequence[str]) -> go.Figure:
    """[group, mode] share of rows on the default embedding."""
    names = [f"{g} (n = {c:,})" for g, c in zip(groups, counts, strict=True)]
    return heatmap(values, modes, names, hover="%{y}, %{x}: %{z:.1%} on the default", low=0, high=1, bar="default rate")


@dataclass(frozen=True, eq=False)
class Map:
    """Two principal components of one mode's projections: points [S, 2], the learned default, share of variance explained."""

    mode: str
    points: NDArray[np.float64]
    default: tuple[float, float]
    explained: float
    n: int


def project(mode: str, vectors: NDArray[Any], is_default: NDArray[np.bool_], default: Array, limit: int = 3000) -> Map:
    """PCA of the real projections [S, P]; the default embedding [P] is placed in their plane."""
    real = np.asarray(vectors, dtype=np.float64)[~is_default]
    if len(real) < 3:
        return Map(mode, np.zeros((0, 2)), (float("nan"), float("nan")), float("nan"), len(real))
    centre = real.mean(0)
    _, scale, axes = np.linalg.svd(real - centre, full_matrices=False)
    mass = float((scale**2).sum())
    at = axes[:2] @ (default - centre)
    points = (real[:limit] - centre) @ axes[:2].T
    return Map(mode, points, (float(at[0]), float(at[1])), float((scale[:2] ** 2).sum() / mass) if mass > 0 else 0.0, len(real))


def projection(found: Map) -> go.Figure:
    """The map of one mode; WebGL above a thousand points."""
    draw = go.Scattergl if len(found.points) > 1000 else go.Scatter
    out = figure(320)
    out.add_trace(draw(x=found.points[:, 0], y=found.points[:, 1], mode="markers", name="real projections",
                       marker={"size": 4, "opacity": 0.45}, hoverinfo="skip"))  # fmt: skip
    out.add_trace(go.Scatter(x=[found.default[0]], y=[found.default[1]], mode="markers", name="learned default",
                             marker={"size": 15, "symbol": "x"}))  # fmt: skip
    out.update_xaxes(title_text="first principal component", zeroline=False)
    out.update_yaxes(title_text="second", zeroline=False)
    return out
