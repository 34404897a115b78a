"""One customer's explanation: signed parts, strongest first, and the deletion test's badge numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import ROW, figure
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Contribution
from ple_model.money import UNKNOWN

SHOWN = 12


def contributions(parts: Sequence[Contribution], unit: str, *, titles: Sequence[str] | None = None) -> go.Figure:
    """Signed bars of the strongest parts; what is left is one bar, so that the bars still add up. Probabilities are in
    points."""
    names = [c.title for c in parts] if titles is None else list(titles)
    factor, axis = (100.0, "percentage points") if unit in ("", "probability") else (1.0, unit)
    values = [factor * c.value for c in parts]
    order = np.argsort([-abs(v) for v in values], kind="stable")
    top, rest = order[:SHOWN], order[SHOWN:]
    labels, shown = [names[i] for i in top], [values[i] for i in top]
    if len(rest):
        labels.append(f"{len(rest)} others")
        shown.append(float(sum(values[i] for i in rest)))
    out = figure(90 + ROW * len(labels), showlegend=False)
    for sign, name in ((1, "raises"), (-1, "lowers")):
        mine = [v if np.sign(v) == sign else None for v in shown]
        out.add_trace(
            go.Bar(y=labels, x=mine, orientation="h", name=name, hovertemplate="%{y}: %{x:+.3f}<extra>" + name + "</extra>")
        )
    out.update_layout(barmode="relative", bargap=0.25)
    out.update_yaxes(autorange="reversed")
    out.update_xaxes(title_text=axis, zeroline=True)
    return out


def groups(found: Explanation) -> go.Figure:
    """Input groups; they add up to the difference to the typical customer."""
    return contributions(found.groups, _unit(found))


def experts(found: Explanation) -> go.Figure:
    """Shared experts, HMM modes and cluster."""
    return contributions(found.experts, _unit(found))


def concepts(found: Explanation) -> go.Figure:
    """SAE latents."""
    return contributions(found.concepts, _unit(found))


def _unit(found: Explanation) -> str:
    return "probability" if found.score_unit == "probability" else "value" if found.unit in ("", UNKNOWN) else found.unit
