"""What-if: change and metric difference by task, with bootstrap intervals."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import bars, figure
from analysis.results.whatif import WhatIfResult


def change(result: WhatIfResult) -> go.Figure:
    """Share of rows whose decision flips, by task; tasks without a decision are left out."""
    shown = [t for t in result.tasks if t.kind in ("binary", "multiclass")]
    return bars(
        [t.task for t in shown], {"flipped decisions": [t.flip_share for t in shown]}, x_title="flipped decisions", percent=True
    )


def difference(result: WhatIfResult, metric: str) -> go.Figure:
    """after - before of one metric by task, with 95 % bootstrap intervals."""
    shown = [t for t in result.tasks if t.metric == metric and t.difference is not None]
    value = np.array([t.difference.value for t in shown if t.difference])
    low = np.array([t.difference.low for t in shown if t.difference])
    high = np.array([t.difference.high for t in shown if t.difference])
    out = figure(90 + 30 * len(shown))
    out.add_trace(
        go.Scatter(
            x=value,
            y=[t.task for t in shown],
            mode="markers",
            marker={"size": 9},
            error_x={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low},
            hovertemplate="%{y}: %{x:+.4f}<extra></extra>",
        )
    )
    out.add_vline(x=0.0, line={"width": 1, "dash": "dot"})
    out.update_xaxes(title_text=f"{metric}, after - before")
    out.update_yaxes(autorange="reversed")
    return out
