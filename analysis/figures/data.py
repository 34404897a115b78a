"""What went in: presence by field and segment, diagram masks, drift by part and column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import plotly.graph_objects as go

from analysis.column_contents import ColumnBins
from analysis.figures.registry import Drawing, reported
from analysis.figures.style import bars, figure, heatmap
from analysis.stats.base import Array
from analysis.stats.inputs import CAUSES, InputStats
from analysis.stats.run import Statistics
from ple_model.presence import is_part, plain_name


def presence(stats: InputStats, *, parts: bool = False) -> go.Figure:
    """Share of rows without each field (or, with `parts`, each part of features), by cause."""
    keys = [k for k in stats.absent if is_part(k) == parts]
    names = [plain_name(k) for k in keys]
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


def part_drift(parts: Sequence[tuple[str, float, float]], watch: float, shifted: float) -> go.Figure:
    """Largest population stability index of a column by part (`analysis.column_contents.part_drift`), with both thresholds."""
    out = bars([p[0] for p in parts], {"largest PSI": [p[1] for p in parts]}, x_title="largest PSI of a column")
    for x in (watch, shifted):
        out.add_vline(x=x, line={"dash": "dot", "width": 1})
    return out


def column(bins: ColumnBins) -> go.Figure:
    """Share of training rows and of the measured rows in the bins of one column."""
    out = figure(340, barmode="group", bargap=0.2)
    for name, values in (("training", bins.trained), ("measured", bins.measured)):
        out.add_trace(go.Bar(x=bins.labels, y=values, name=name, hovertemplate="%{x}: %{y:.1%}<extra>" + name + "</extra>"))
    out.update_yaxes(title_text="share of rows", tickformat=".0%")
    out.update_xaxes(type="category")
    return out


def segment_presence(keys: Sequence[str], shares: Array, segments: Sequence[str]) -> go.Figure:
    """Share of each segment's rows that have a field or part: keys x segments."""
    return heatmap(shares, segments, keys, hover="%{y}, %{x}: %{z:.1%}", low=0.0, high=1.0, bar="present")


@reported(80)
def _of_inputs(s: Statistics) -> Iterator[Drawing]:
    if s.inputs is not None and s.inputs.n:
        yield "Missing fields by cause", partial(presence, s.inputs)
