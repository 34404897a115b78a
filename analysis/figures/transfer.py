"""Logit transfer: the DAG with edges as wide as their effect, and dose-response curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from analysis.figures.registry import Drawing, reported
from analysis.figures.style import GREY, bars, figure, lines
from analysis.results.whatif import StrengthSweep
from analysis.stats.effects import EffectStats
from analysis.stats.run import Statistics
from analysis.stats.transfer import DoseResponse

NODE = "#3B6FE0"
BAND = "rgba(59, 111, 224, 0.16)"
METRICS = {"auc": "AUC", "mae": "mean absolute error", "recall@10": "recall at 10"}


@dataclass(frozen=True)
class EdgeEffect:
    """One edge: its size beside the target, and what cutting it does to the target."""

    edge: str
    source: str
    target: str
    ratio: float
    change: float
    flips: float
    dose_range: float
    learned: bool = True
    """False: one end had no label in training, and the numbers are of chance alone."""


def edges_info(s: Statistics) -> list[EdgeEffect]:
    """Every active edge with its measured numbers; NaN where not measured. Edges of tasks that never learned come last."""
    out = []
    for i, edge in enumerate(s.transfer.edges if s.transfer is not None else ()):
        source, target = edge.split(":")
        change, flips = _cut(s.effects, edge, target, s.facts.kinds.get(target, ""))
        dose = s.dose.get(edge)
        ratio = float(s.transfer.mean_ratio[i]) if s.transfer is not None else float("nan")
        reach = dose.relative_range if dose else float("nan")
        out.append(EdgeEffect(edge, source, target, ratio, change, flips, reach, s.facts.learned_edge(edge)))
    return sorted(out, key=lambda e: not e.learned)


def _short(value: float) -> str:
    return "" if not np.isfinite(value) else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def _cut(effects: EffectStats | None, edge: str, target: str, kind: str) -> tuple[float, float]:
    name = f"edge.{edge}=0"
    if effects is None or name not in effects.interventions or target not in effects.tasks:
        return float("nan"), float("nan")
    i, k = effects.interventions.index(name), effects.tasks.index(target)
    flips = float("nan") if kind == "regression" else float(effects.flip_share[i, k])  # an amount has no decision
    return float(effects.mean_change[i, k]), flips


def layout(edges: Sequence[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """task -> (x, y): x is the longest path that leads to it, y separates chains."""
    names = list(dict.fromkeys(n for e in edges for n in e))
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for a, b in edges:
            depth[b] = max(depth[b], depth[a] + 1)
    chain: dict[str, int] = {}
    for name in names:
        parents = [a for a, b in edges if b == name and a in chain]
        chain[name] = chain[parents[0]] if parents else max(chain.values(), default=-1) + 1
    return {n: (float(depth[n]), -float(chain[n])) for n in names}


def dag(info: Sequence[EdgeEffect], unlearned: Sequence[str] = (), why: str = "no label in training") -> go.Figure:
    """Tasks left to right in execution order; an edge is as wide as the target's change when it is cut. Tasks that never
    learned and their edges are pale, without a number."""
    where = layout([(e.source, e.target) for e in info])
    out = figure(120 + 70 * (1 + int(max((-y for _, y in where.values()), default=0))), showlegend=False)
    largest = max((e.change for e in info if np.isfinite(e.change) and e.learned), default=0.0) or 1.0
    for e in info:
        (x0, y0), (x1, y1) = where[e.source], where[e.target]
        width = 1.5 + 7 * (e.change / largest if np.isfinite(e.change) and e.learned else 0.0)
        out.add_annotation(
            x=x1 - 0.12,
            y=y1,
            ax=x0 + 0.12,
            ay=y0,
            xref="x",
            yref="y",
            axref="x",
            ayref="y",
            text="",
            showarrow=True,
            arrowhead=2,
            arrowsize=0.8,
            arrowwidth=width,
            arrowcolor=GREY,
            opacity=0.7 if e.learned else 0.3,
        )
        out.add_trace(
            go.Scatter(
                x=[(x0 + x1) / 2],
                y=[(y0 + y1) / 2],
                mode="markers+text",
                text=[_short(e.change) if e.learned else ""],
                textposition="top center",
                marker={"size": 18, "opacity": 0},
                textfont={"color": GREY},
                customdata=[[e.edge.replace(":", " -> "), e.ratio, e.flips]],
                hovertemplate="%{customdata[0]}<br>alpha |proj| / |h| %{customdata[1]:.3f}<br>"
                "flips when cut %{customdata[2]:.1%}<extra></extra>"
                if e.learned
                else f"%{{customdata[0]}}: {why}<extra></extra>",
            )
        )
    out.add_trace(
        go.Scatter(
            x=[p[0] for p in where.values()],
            y=[p[1] for p in where.values()],
            mode="markers+text",
            text=[f"<span style='color:{GREY}'>{n} ({why})</span>" if n in unlearned else n for n in where],
            textposition="bottom center",
            marker={"size": 20, "color": [GREY if n in unlearned else NODE for n in where]},
            hoverinfo="text",
        )
    )
    out.update_xaxes(visible=False, range=[-0.4, max((p[0] for p in where.values()), default=1.0) + 0.4])
    out.update_yaxes(visible=False, range=[min((p[1] for p in where.values()), default=0.0) - 0.6, 0.6])
    return out


def ratios(info: Sequence[EdgeEffect]) -> go.Figure:
    """alpha ||proj|| over ||h_expert|| by edge; at 1 the source outweighs the target itself."""
    out = bars([e.edge.replace(":", " -> ") for e in info], {"ratio": [e.ratio for e in info]}, x_title="alpha |proj| / |h|")
    out.add_vline(x=1.0, line={"dash": "dot", "width": 1})
    return out


def dose(response: DoseResponse) -> go.Figure:
    """The target's mean answer while the source is forced over its range; the band is one standard deviation over rows."""
    source, target = response.edge.split(":")
    centre = float(np.mean(response.target))
    out = lines(response.source, {target: response.target}, x_title=f"{source}, forced to", y_title=response.scale, height=300)
    out.add_hrect(y0=centre - response.spread, y1=centre + response.spread, opacity=0.12, line_width=0, fillcolor="gray")
    return out


def sweep(found: StrengthSweep, what: Literal["metric", "change"] = "metric") -> go.Figure:
    """The target's metric over the edge's strength, or the mean change of its predictions.

    The band is the interval of the difference to the trained strength, laid around the metric there: it is closed at 1, and
    where it leaves the level of 1 the strength matters.
    """
    measured = what == "metric" and bool(found.metric)
    y = np.array([v.value for v in found.values] if measured else found.change)
    out = figure(300, hovermode="x unified", showlegend=False)
    if measured:
        trained = found.values[found.factors.index(1.0)].value
        low, high = (trained + np.array([getattr(d, end) for d in found.differences]) for end in ("low", "high"))
        if np.isfinite(low).all() and np.isfinite(high).all():
            shape = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
            out.add_trace(go.Scatter(x=found.factors, y=high, **shape))
            out.add_trace(go.Scatter(x=found.factors, y=low, fill="tonexty", fillcolor=BAND, **shape))
    difference = [(d.value, d.low, d.high) for d in found.differences] if measured else None
    out.add_trace(
        go.Scatter(
            x=found.factors,
            y=y,
            mode="lines+markers",
            line={"width": 2, "color": NODE},
            marker={"size": [10 if f == 1.0 else 6 for f in found.factors], "color": NODE},
            customdata=difference,
            hovertemplate="%{y:.4g} (%{customdata[0]:+.4f}, 95 % %{customdata[1]:+.4f} to %{customdata[2]:+.4f})<extra></extra>"
            if measured
            else "%{y:.4g}<extra></extra>",
        )
    )
    out.add_vline(x=1.0, line={"dash": "dot", "width": 1})
    out.update_xaxes(title_text="strength, as a multiple of the trained one", tickvals=[0, 0.5, 1, 1.5, 2])
    out.update_yaxes(title_text=METRICS.get(found.metric, found.metric) if measured else "mean change of the prediction")
    if not measured:
        out.update_yaxes(rangemode="tozero")
    return out


@reported(40)
def _of_edges(s: Statistics) -> Iterator[Drawing]:
    if s.transfer is not None and s.transfer.n:
        yield "Logit transfer", lambda: dag(edges_info(s))
        for response in s.dose.values():
            yield f"Dose-response of {response.edge.replace(':', ' -> ')}", partial(dose, response)
