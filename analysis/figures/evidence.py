"""Uncertainty: distributions, reliability, risk against coverage."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import plotly.graph_objects as go

from analysis.figures.gates import histogram
from analysis.figures.registry import Drawing, reported
from analysis.figures.style import figure, lines
from analysis.stats.base import Array, ratio
from analysis.stats.evidence import BINS, TaskEvidence, risk_coverage, uncertainty_bins
from analysis.stats.run import Statistics


def uncertainty(stats: TaskEvidence) -> go.Figure:
    """Rows by vacuity (classes) or by the logarithm of the epistemic variance (regression)."""
    title = "log10 of the epistemic variance" if stats.kind == "regression" else "vacuity"
    return histogram(uncertainty_bins(stats.kind), stats.histogram, title)


def reliability(stats: TaskEvidence) -> go.Figure:
    """Observed frequency against shown probability in 15 equal-width bins; the diagonal is honest. Marker size follows rows."""
    used = stats.bin_count > 0
    x, y = ratio(stats.bin_confidence, stats.bin_count)[used], ratio(stats.bin_hits, stats.bin_count)[used]
    size = 6 + 18 * np.sqrt(stats.bin_count[used] / max(stats.bin_count.max(initial=1), 1))
    out = figure(360)
    out.add_trace(
        go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name="honest", line={"dash": "dot", "width": 1}, hoverinfo="skip")
    )
    out.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines+markers",
            name="observed",
            marker={"size": size},
            customdata=stats.bin_count[used],
            hovertemplate="shown %{x:.3f}, observed %{y:.3f}, %{customdata} rows<extra></extra>",
        )
    )
    what = "shown probability" if stats.kind == "binary" else "top probability"
    out.update_xaxes(title_text=f"{what}, {BINS} bins", range=[0, 1])
    out.update_yaxes(title_text="observed frequency" if stats.kind == "binary" else "accuracy", range=[0, 1])
    return out


def coverage(uncertain: Array, error: Array, points: int = 200) -> go.Figure:
    """Mean error among the most certain rows, against the best and the random ordering."""
    share, risk = risk_coverage(uncertain, error)
    best = risk_coverage(error, error)[1]
    keep = np.unique(np.linspace(0, max(len(share) - 1, 0), points).astype(int)) if len(share) else np.array([], int)
    series = {
        "by uncertainty": risk[keep],
        "best possible": best[keep],
        "random": np.full(len(keep), error.mean() if len(error) else np.nan),
    }
    out = lines(share[keep], series, x_title="coverage", y_title="risk (mean error)", height=340)
    out.update_traces(mode="lines")
    out.update_xaxes(tickformat=".0%")
    return out


@reported(60)
def _of_evidence(s: Statistics) -> Iterator[Drawing]:
    for task, found in s.evidence.items():
        if found.labelled:
            yield f"Reliability of {task}", partial(reliability, found)
