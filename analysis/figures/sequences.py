"""One customer's series as an encoder restores it, which steps count, and the gate of its spectrum."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.style import GREY, bars, figure
from analysis.results.sequences import CustomerSteps, MovedAlike, ProbeRow, StepsAhead

ODD_COLOUR = "#D1495B"
"""Of marked steps, on light and on dark."""
AHEAD_COLOUR = "#E08A1E"
"""Of what is forecast, on light and on dark."""
BAND = "rgba(224, 138, 30, 0.22)"
"""Of its interval."""
BEFORE = 84
"""Steps that a forecast is shown after: twelve weeks."""


def restored(found: CustomerSteps, channel: int, odd: NDArray[np.bool_]) -> go.Figure:
    """A channel's values as bars, what was said of each step while it was hidden as a line (none of an encoder that does not
    restore); `odd` [L] steps are marked."""
    c = found.channels[channel]
    values, said = found.values[:, channel], found.restored[:, channel]
    seen = np.isfinite(found.error)
    out = figure(320, hovermode="x unified")
    x, hover = np.array(found.steps), "%{customdata:,.2f}"
    told = {"customdata": c.shown(values)[seen], "hovertemplate": hover}
    out.add_trace(go.Bar(x=x[seen], y=values[seen], name="seen", marker={"opacity": 0.55}, **told))
    told = {"customdata": c.shown(said)[seen], "hovertemplate": hover}
    if found.restores:
        out.add_trace(
            go.Scatter(x=x[seen], y=said[seen], name="restored while hidden", mode="lines", line={"width": 2}, **told)
        )
    marked = seen & odd
    if marked.any():
        mark = {"symbol": "x", "size": 9, "color": ODD_COLOUR}
        told = {"customdata": c.shown(values)[marked], "hovertemplate": hover}
        out.add_trace(
            go.Scatter(x=x[marked], y=values[marked], name="out of the ordinary", mode="markers", marker=mark, **told)
        )
    if c.kind == "log":
        _log_axis(out, values[seen])
    out.update_layout(bargap=0.1)
    return out


def ahead(found: CustomerSteps, said: StepsAhead, channel: int, odd: NDArray[np.bool_]) -> go.Figure:
    """The last `BEFORE` steps of one channel and the next ones with their interval; `odd` [L] steps are marked."""
    c = found.channels[channel]
    recent = np.arange(len(found.values)) >= len(found.values) - BEFORE
    seen = recent & np.isfinite(found.error)
    values, x = found.values[:, channel], np.array(found.steps)
    forecast, low, high = said.forecast[:, channel], said.low[:, channel], said.high[:, channel]
    out = figure(320, hovermode="x unified")
    told = {"customdata": c.shown(values)[seen], "hovertemplate": "%{customdata:,.2f}"}
    out.add_trace(go.Bar(x=x[seen], y=values[seen], name="seen", marker={"opacity": 0.55}, **told))
    marked = seen & odd
    if marked.any():
        mark = {"symbol": "x", "size": 9, "color": ODD_COLOUR}
        told = {"customdata": c.shown(values)[marked], "hovertemplate": "%{customdata:,.2f}"}
        out.add_trace(
            go.Scatter(x=x[marked], y=values[marked], name="out of the ordinary", mode="markers", marker=mark, **told)
        )
    known = np.isfinite(low) & np.isfinite(high)
    if known.all():
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        out.add_trace(go.Scatter(x=said.steps, y=high, showlegend=False, **edge))
        out.add_trace(go.Scatter(x=said.steps, y=low, fill="tonexty", fillcolor=BAND, name="interval", **edge))
    ends = np.stack([c.shown(forecast), c.shown(low), c.shown(high)], axis=1)
    hover = "%{customdata[0]:,.2f} (%{customdata[1]:,.2f} – %{customdata[2]:,.2f})"
    line = {"width": 2, "color": AHEAD_COLOUR}
    out.add_trace(
        go.Scatter(x=said.steps, y=forecast, name="forecast", mode="lines", line=line, customdata=ends, hovertemplate=hover)
    )
    out.add_vline(x=said.steps[0], line={"dash": "dot", "width": 1.5, "color": GREY})
    if c.kind == "log":
        _log_axis(out, np.concatenate([values[seen], low[known], high[known]]))
    out.update_layout(bargap=0.1)
    return out


def _log_axis(out: go.Figure, values: NDArray[np.float32]) -> None:
    """Ticks of an axis of signed logarithms in the unit's own numbers."""
    ticks = _ticks(float(np.nanmin(values, initial=0)), float(np.nanmax(values, initial=0)))
    out.update_yaxes(tickvals=np.sign(ticks) * np.log1p(np.abs(ticks)), ticktext=[f"{v:,.0f}" for v in ticks])


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    """Powers of ten around zero for an axis of signed logarithms from `low` to `high`."""
    powers = 10.0 ** np.arange(16)
    below, above = -powers[np.log1p(powers) <= -low][::-1], powers[np.log1p(powers) <= high]
    return np.concatenate([below, [0.0], above])


def oddness(found: CustomerSteps, percentile: NDArray[np.float64], limit: float) -> go.Figure:
    """[L] percentile of each step's error among training customers' steps, with the limit."""
    out = figure(300, showlegend=False)
    x = np.array(found.steps)
    known = np.isfinite(percentile)
    out.add_trace(go.Bar(x=x[known], y=percentile[known], hovertemplate="%{x}: %{y:.1f}<extra></extra>"))
    out.add_hline(y=limit, line={"dash": "dot", "width": 1.5, "color": GREY})
    out.update_yaxes(range=[0, 100], title_text="percentile of the error")
    out.update_layout(bargap=0.1)
    return out


def counting(found: CustomerSteps) -> go.Figure:
    """How far the embedding moves without each block, and the attention that its token gets."""
    out = figure(300)
    held = [k for k, (first, stop) in enumerate(found.blocks) if np.isfinite(found.error[first:stop]).any()]
    names = ["–".join(dict.fromkeys(found.span(k))) for k in held]
    starts = [found.span(k)[0] for k in held]
    told = {"customdata": names, "hovertemplate": "%{customdata}: %{y:.1%}<extra></extra>"}
    out.add_trace(go.Bar(x=starts, y=found.weight[held], name="embedding moves without it", **told))
    out.update_layout(yaxis={"tickformat": ".0%"})
    if found.attention is not None:
        look = {"mode": "lines+markers", "line": {"width": 2}, "marker": {"size": 5}}
        out.add_trace(go.Scatter(x=starts, y=found.attention[held], name="attention it gets", yaxis="y2", **look, **told))
        right = {"overlaying": "y", "side": "right", "tickformat": ".0%", "showgrid": False, "rangemode": "tozero"}
        out.update_layout(yaxis2=right)
    return out


def gates(found: CustomerSteps, names: list[str]) -> go.Figure:
    """How much of each channel's spectrum enters; the hover tells the strongest period. `names` [C]: the channels, as shown."""
    assert found.gate is not None
    assert found.period is not None
    out = bars(names, {"gate": found.gate}, x_title="share of the spectrum that enters", percent=True)
    out.data[0].customdata = found.period
    out.data[0].hovertemplate = "%{y}: %{x:.0%} · %{customdata:.1f}<extra></extra>"
    return out


def warped(found: MovedAlike, steps: list[str], which: int) -> go.Figure:
    """The customer's amounts above, the chosen neighbour's below, and which step is matched with which."""
    out = figure(340, hovermode=False)
    own, other = found.series[0], found.series[1 + which]
    drop = float(own.max() - own.min()) * 0.6 + float(other.max() - min(0.0, float(own.min()))) + 0.5
    lines_x: list[str | None] = []
    lines_y: list[float | None] = []
    for i, j in found.paths[which]:
        if max(abs(own[i]), abs(other[j])) > 0.5:  # of quiet steps the match says nothing, and would hide the others
            lines_x += [steps[i], steps[j], None]
            lines_y += [float(own[i]), float(other[j]) - drop, None]
    thin = {"width": 1, "color": GREY}
    out.add_trace(go.Scatter(x=lines_x, y=lines_y, mode="lines", line=thin, opacity=0.55, name="matched days"))
    out.add_trace(go.Scatter(x=steps, y=own, mode="lines", name="this customer", line={"width": 2}))
    out.add_trace(go.Scatter(x=steps, y=other - drop, mode="lines", name="the neighbour", line={"width": 2}))
    out.update_yaxes(showticklabels=False, showgrid=False, zeroline=False)
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
