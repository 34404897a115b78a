"""What went in: presence by field, diagram masks, drift by part."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import bars
from analysis.stats.inputs import CAUSES, InputStats
from ple_model.schema import PART_SLICES


def presence(stats: InputStats, *, parts: bool = False) -> go.Figure:
    """Share of rows without each field (or, with `parts`, each part of features), by cause."""
    keys = [k for k in stats.absent if k.startswith("features:") == parts]
    names = [k.removeprefix("features:") for k in keys]
    n = max(stats.n, 1)
    series = {c: [stats.absent[k][i] / n for k in keys] for i, c in enumerate(CAUSES)}
    named = {"field absent": series["field"], "row empty": series["row"], "mask empty": series["mask"]}
    out = bars(
        names,
        {k: v for k, v in named.items() if any(v)} or {"absent": [0.0] * len(names)},
        x_title="share of rows",
        stacked=True,
        percent=True,
    )
    out.update_xaxes(range=[0, 1])
    return out


def diagrams(stats: InputStats) -> go.Figure:
    """Valid share of each diagram's mask, and the share of points that cannot be."""
    names = list(stats.points)
    rows = [stats.points[k] for k in names]
    valid = [r[1] / max(r[0] * stats.capacity[k], 1) for k, r in zip(names, rows, strict=True)]
    wrong = [r[2] / max(r[1], 1) for r in rows]
    blank = [r[3] / max(r[1], 1) for r in rows]
    return bars(
        names,
        {"valid slots": valid, "death before birth": wrong, "valid points at (0, 0)": blank},
        x_title="share",
        percent=True,
    )


def drift(stats: InputStats, reference: InputStats) -> go.Figure:
    """Largest shift of a column's mean by part, in training standard deviations."""
    d = np.abs(stats.drift(reference))
    worst = {p: float(np.nanmax(d[c])) if np.isfinite(d[c]).any() else 0.0 for p, c in PART_SLICES.items()}
    names = sorted(worst, key=lambda p: -worst[p])
    out = bars(names, {"largest shift": [worst[p] for p in names]}, x_title="largest shift, in training standard deviations")
    out.add_vline(x=1.0, line={"dash": "dot", "width": 1})
    return out
