"""Logit transfer as pictures: the DAG with each edge's effect, dose-response, strength by cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import ROW, figure
from analysis.stats.transfer import DoseResponse


def levels(edges: Sequence[str]) -> dict[str, int]:
    """Task -> longest path from a source, for the tasks that are on an edge."""
    pairs = [tuple(e.split(":")) for e in edges]
    level = {t: 0 for p in pairs for t in p}
    for _ in pairs:
        for a, b in pairs:
            level[b] = max(level[b], level[a] + 1)
    return level


def dag(edges: Sequence[str], effect: Mapping[str, float], flips: Mapping[str, float]) -> go.Figure:
    """The tasks by level, an arrow an edge, as thick as the target's mean change when the edge is cut."""
    level = levels(edges)
    chains = list(dict.fromkeys(t for e in edges for t in e.split(":")))
    row: dict[str, float] = {}
    for task in chains:  # a target stands in the line of its source where that place is free
        source = next((e.split(":")[0] for e in edges if e.split(":")[1] == task), None)
        taken = {(level[t], r) for t, r in row.items()}
        wish = row.get(source, 0.0) if source else 0.0
        while (level[task], wish) in taken:
            wish += 1.0
        row[task] = wish
    out = figure(110 + 64 * int(max(row.values(), default=0) + 1), showlegend=False)
    top = max([v for v in effect.values() if np.isfinite(v)], default=0.0) or 1.0
    for edge in edges:
        a, b = edge.split(":")
        size = effect.get(edge, float("nan"))
        width = 1.0 + 6.0 * (size / top if np.isfinite(size) else 0.0)
        out.add_annotation(x=level[b] - 0.16, y=row[b], ax=level[a] + 0.16, ay=row[a], xref="x", yref="y", axref="x", ayref="y", text="",
                           arrowhead=2, arrowwidth=width, arrowsize=max(0.4, 1.2 - width / 8), opacity=0.75, showarrow=True)  # fmt: skip
        out.add_annotation(x=(level[a] + level[b]) / 2, y=(row[a] + row[b]) / 2, yshift=16, showarrow=False, font={"size": 11},
                           text=f"{size:.3f} · {flips.get(edge, float('nan')):.1%}")  # fmt: skip
    out.add_trace(go.Scatter(x=[level[t] for t in row], y=list(row.values()), mode="markers+text", text=list(row), textposition="bottom center",
                             marker={"size": 22}, hoverinfo="text"))  # fmt: skip
    out.update_xaxes(visible=False, range=[-0.4, max(level.values(), default=0) + 0.4])
    out.update_yaxes(visible=False, range=[max(row.values(), default=0) + 0.6, -0.5])
    return out


def dose(found: DoseResponse) -> go.Figure:
    """The target's mean answer while the source is forced over its range; the band is one standard deviation of the target."""
    out = figure(260, showlegend=False)
    y = np.asarray(found.target)
    middle = float(np.mean(y)) if len(y) else 0.0
    out.add_hrect(y0=middle - found.spread / 2, y1=middle + found.spread / 2, opacity=0.12, line_width=0, fillcolor="gray")
    out.add_trace(go.Scatter(x=list(found.source), y=y, mode="lines+markers", line={"width": 2.5}))
    source, target = found.edge.split(":")
    out.update_xaxes(title_text=f"{source} is set to")
    out.update_yaxes(title_text=f"{target}: {found.scale}")
    return out


def strength(ratios: Mapping[str, float]) -> go.Figure:
    """Mean size of each edge's addition beside the target's own representation."""
    out = figure(90 + ROW * max(len(ratios), 1), showlegend=False)
    out.add_trace(go.Bar(y=[e.replace(":", " → ") for e in ratios], x=list(ratios.values()), orientation="h",
                         hovertemplate="%{y}: %{x:.3f}<extra></extra>"))  # fmt: skip
    out.update_xaxes(title_text="added / own representation (norms)", rangemode="tozero")
    out.update_yaxes(autorange="reversed")
    return out
