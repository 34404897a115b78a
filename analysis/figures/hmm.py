"""HMM triple mode: default rates, and a map of projections with the default embedding marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.registry import Drawing, reported
from analysis.figures.style import bars, figure, heatmap
from analysis.stats.base import Array
from analysis.stats.effects import EffectStats
from analysis.stats.hmm import HmmStats
from analysis.stats.run import Statistics

GL_ABOVE = 1000
"""Points above which WebGL draws."""
MAP_POINTS = 4000


def default_rate(rates: Mapping[str, float]) -> go.Figure:
    """Share of rows on the default embedding, by mode."""
    out = bars(
        list(rates), {"default rate": list(rates.values())}, x_title="share of rows on the default embedding", percent=True
    )
    out.update_xaxes(range=[0, 1])
    return out


def default_by_group(groups: Sequence[object], modes: Sequence[str], means: Array) -> go.Figure:
    """[group, mode] default rate by segment or cluster."""
    return heatmap(
        means, list(modes), [str(g) for g in groups], hover="%{y}, %{x}: %{z:.1%}", low=0, high=1, bar="default rate"
    )


def norms(stats: HmmStats) -> go.Figure:
    """Norm of the default embedding beside the mean norm and the spread of real projections."""
    series = {
        "default embedding": stats.default_norm,
        "real projections, mean": stats.real_norm,
        "real projections, spread": stats.spread,
    }
    return bars(stats.modes, series, x_title="norm")


def swap_effect(effects: EffectStats, modes: Sequence[str]) -> go.Figure:
    """[task, mode] mean change when every row gets the mode's default embedding."""
    z = np.array([effects.of(f"hmm.{m}=default") for m in modes]).T
    return heatmap(
        z,
        list(modes),
        effects.tasks,
        hover="%{y} on default %{x}: %{z:.4f}",
        low=0.0,
        high=float(np.nanmax(z, initial=1e-6)),
        bar="mean change",
        decimals=3,
    )


@dataclass(frozen=True)
class ProjectionMap:
    """Principal plane of the real projections; the default embedding in the same plane."""

    xy: Array
    """[S, 2]"""
    default: tuple[float, float]
    explained: tuple[float, float]
    labels: tuple[str, ...]
    rows: tuple[int, ...] = ()
    """Number of each point among the rows that were given."""


def projection_map(
    projected: NDArray[Any], embedding: Array, is_default: NDArray[np.bool_], labels: Sequence[str], seed: int = 0
) -> ProjectionMap:
    """projected [S, P]; rows on the default are left out of the plane and of the points."""
    real = np.flatnonzero(~is_default)
    if len(real) > MAP_POINTS:
        real = np.sort(np.random.default_rng(seed).choice(real, MAP_POINTS, replace=False))
    x = np.asarray(projected, dtype=np.float64)[real]
    if len(x) < 3:
        return ProjectionMap(np.zeros((0, 2)), (0.0, 0.0), (float("nan"), float("nan")), ())
    mean = x.mean(0)
    _, values, axes = np.linalg.svd(x - mean, full_matrices=False)
    plane = axes[:2]
    share = values**2 / max(float((values**2).sum()), 1e-12)
    at = (embedding - mean) @ plane.T
    shown = tuple(str(labels[int(i)]) for i in real)
    return ProjectionMap(
        (x - mean) @ plane.T, (float(at[0]), float(at[1])), (float(share[0]), float(share[1])), shown, tuple(real.tolist())
    )


def projection(info: ProjectionMap) -> go.Figure:
    """The map, coloured by label (segment or cluster), the default as a star."""
    out = figure(420)
    kind = go.Scattergl if len(info.xy) > GL_ABOVE else go.Scatter
    for label in sorted(set(info.labels)):
        mine = np.array([v == label for v in info.labels])
        out.add_trace(
            kind(
                ids=np.flatnonzero(mine).astype(str),
                x=info.xy[mine, 0],
                y=info.xy[mine, 1],
                mode="markers",
                name=label,
                marker={"size": 4, "opacity": 0.6},
                hoverinfo="name",
            )
        )
    out.add_trace(
        go.Scatter(
            x=[info.default[0]],
            y=[info.default[1]],
            mode="markers",
            name="default embedding",
            marker={"size": 16, "symbol": "star", "color": "#D55E00", "line": {"width": 1}},
        )
    )
    out.update_xaxes(title_text=f"first axis ({info.explained[0]:.0%} of variance)", zeroline=False)
    out.update_yaxes(title_text=f"second axis ({info.explained[1]:.0%} of variance)", zeroline=False)
    return out


@reported(30)
def _of_modes(s: Statistics) -> Iterator[Drawing]:
    if s.hmm is not None and s.hmm.n:
        rates = dict(zip(s.hmm.modes, s.hmm.default_rate.tolist(), strict=True))
        yield "Rows on the default HMM embedding", lambda: default_rate(rates)
