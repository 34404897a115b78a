"""How good each task is: a constant, simpler answers, what can be reached and the model with its interval on one axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import plotly.graph_objects as go

from analysis.figures.registry import Drawing, reported
from analysis.figures.style import GREY, figure
from analysis.stats.run import Statistics
from analysis.stats.skill import TaskSkill, has_skill, judged_skill

LOWEST = -0.5
"""Where the axis ends: how much worse than a constant matters less than that it is."""
MARKS: dict[str, tuple[str, str]] = {
    "linear": ("linear", "diamond-open"),
    "boosting": ("boosting", "square-open"),
    "reachable": ("reachable", "line-ns-open"),
}
"""Of the answers that are no model of ours: legend and symbol."""
ROW = 30
OWN: tuple[tuple[str, bool | None, str], ...] = (
    ("this model", True, "#3B6FE0"),
    ("this model, no better than a constant", False, "#E0872B"),
    ("this model, too few to say", None, GREY),
)
"""Legend, whether it has skill, and a colour that is seen on light and on dark."""


def skill(tasks: Mapping[str, TaskSkill]) -> go.Figure:
    """[task] skill, 1 - loss / loss of a constant. The bar is the 95 % interval over customers; a triangle at the edge stands
    for a skill further left, which the hover says."""
    shown = list(tasks.values())
    names = [x.task for x in shown]
    out = figure(100 + ROW * len(names))
    out.add_vline(
        x=0, line={"width": 2}, annotation_text="a constant", annotation_font_size=11, annotation_position="bottom right"
    )
    for key, (name, symbol) in MARKS.items():
        there = [x for x in shown if np.isfinite(x.baseline_skill.get(key, np.nan))]
        if there:
            values = [x.baseline_skill[key] for x in there]
            out.add_trace(
                go.Scatter(
                    x=np.maximum(values, LOWEST),
                    y=[x.task for x in there],
                    mode="markers",
                    name=name,
                    marker={"symbol": symbol, "size": 16 if key == "reachable" else 10, "color": GREY, "line": {"width": 2}},
                    customdata=values,
                    hovertemplate="%{y}: %{customdata:.3f}<extra>" + name + "</extra>",
                )
            )
    for name, has, colour in OWN:
        group = [x for x in shown if has_skill(x) is has and np.isfinite(x.skill.value)]
        if group:
            out.add_trace(_model(group, name, colour))
    low = min([0.0, *(v for x in shown for v in (x.skill.value, x.skill.low, *x.baseline_skill.values()) if np.isfinite(v))])
    out.update_xaxes(title_text="skill: 1 - loss / loss of a constant", range=[max(low, LOWEST) - 0.03, None], zeroline=False)
    out.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=names)
    out.update_layout(legend={"traceorder": "normal"})
    return out


def _model(group: list[TaskSkill], name: str, colour: str) -> go.Scatter:
    value = np.array([x.skill.value for x in group])
    at = np.maximum(value, LOWEST)
    high = np.array([x.skill.high for x in group])
    low = np.array([x.skill.low for x in group])
    return go.Scatter(
        x=at,
        y=[x.task for x in group],
        mode="markers",
        name=name,
        marker={"size": 12, "color": colour, "symbol": ["triangle-left" if v < LOWEST else "circle" for v in value]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.maximum(np.nan_to_num(high, nan=-np.inf) - at, 0),
            "arrayminus": np.maximum(at - np.maximum(np.nan_to_num(low, nan=np.inf), LOWEST), 0),
            "thickness": 2,
            "width": 5,
        },
        customdata=np.stack([value, low, high], 1),
        hovertemplate="%{y}: %{customdata[0]:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]<extra>" + name + "</extra>",
    )


@reported(0)
def _of_skill(s: Statistics) -> Iterator[Drawing]:
    if found := judged_skill(s):
        yield "Skill of each task beside simpler answers", partial(skill, found)
