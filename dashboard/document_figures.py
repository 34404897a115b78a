"""Figures of a saved page as JSON: in light colours whatever the reader had, and of customers only a picture."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from dashboard.page import Figure

GRID, SHADES = 400, 24
"""Steps to which the place and the colour of a point that is a customer are rounded."""
INK, MUTED, LINE = "#182230", "#5B6675", "#DDE3EC"
FONT = 'system-ui,"Segoe UI","Noto Sans KR","Apple SD Gothic Neo","Malgun Gothic",sans-serif'
SPECIAL = {32: "#15803D", 33: "#C8372D", 34: "#66707F", 36: MUTED, 37: INK, 38: "#FFFFFF", 39: LINE, 40: "#F4F6FA"}
"""What the app's template asks the browser to colour, by the number it stands in for."""


def _colours(name: str) -> list[str]:
    """A scale of the app's light theme."""
    return list(st.get_option(f"theme.light.{name}") or st.get_option(f"theme.{name}") or [])


def _placeholders() -> dict[str, str]:
    """The app's template colours figures by numbers that the browser replaces; here they become the light theme's."""
    out = {f"#{i:06d}": colour for i, colour in SPECIAL.items()}
    for start, count, name in ((1, 10, "Categorical"), (11, 10, "Sequential"), (21, 10, "Diverging")):
        colours = _colours(f"chart{name}Colors")
        if colours:
            out |= {f"#{start + i:06d}": colours[i % len(colours)] for i in range(count)}
    return out


def _script_safe(text: str) -> str:
    """JSON in the light theme's colours that cannot end the script element it stands in."""
    known = _placeholders()
    text = re.sub(r'"(#0000\d\d)"', lambda m: f'"{known.get(m[1], m[1])}"', text)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def template_json() -> str:
    """What all figures share: the app's template with light colours, fonts and grid lines."""
    import plotly.io as pio  # late: plotly

    name = "streamlit" if "streamlit" in pio.templates else "plotly_white"
    template: dict[str, Any] = pio.templates[name].to_plotly_json()
    axis = {"gridcolor": "#E6EAF0", "zerolinecolor": "#C5CCD6", "linecolor": LINE, "automargin": True, "ticks": ""}
    layout = {
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"bgcolor": "#fff", "bordercolor": LINE, "font": {"color": INK}},
        "legend": {"font": {"color": INK}},
        "ternary": {"bgcolor": "#fff", **{f"{k}axis": {"gridcolor": "#E6EAF0", "linecolor": "#8A94A6"} for k in "abc"}},
    }
    template["layout"] = {**template.get("layout", {}), **layout}
    return _script_safe(json.dumps(template, cls=_encoder()))


def _encoder() -> type[json.JSONEncoder]:
    from plotly.utils import PlotlyJSONEncoder  # late: plotly

    return PlotlyJSONEncoder  # type: ignore[no-any-return]


def figure_json(item: Figure) -> str:
    """Data and layout without the template, in light colours. WebGL traces become SVG: they print, and need no code made at run
    time, which the file's policy forbids."""
    found = item.figure.to_dict()
    layout = {k: v for k, v in found["layout"].items() if k != "template"}
    layout["colorway"] = _colours("chartCategoricalColors") or None
    layout.pop("width", None)
    data = [{**t, "type": "scatter"} if t.get("type") == "scattergl" else t for t in found["data"]]
    if item.points:
        data = [_blurred(t) for t in data]
    return _script_safe(json.dumps({"data": data, "layout": layout}, cls=_encoder()))


def _blurred(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace of customers as a picture of them: rounded places and colours, nothing to read off a single point. An axis of
    days or names stays as it is."""
    places = {axis: _places(trace[axis]) for axis in "xy" if trace.get(axis) is not None}
    if len(places.get("x", ())) < 2:
        return trace
    out = {k: v for k, v in trace.items() if k not in ("customdata", "hovertemplate", "text", "ids", "hovertext")}
    out |= {**places, "hoverinfo": "name"}
    marker = dict(out.get("marker") or {})
    colour = marker.get("color")
    if colour is not None and not isinstance(colour, str):
        marker["color"] = _rounded(_array(colour), SHADES)
    out["marker"] = marker
    return out


def _places(values: Any) -> list[Any]:
    try:
        return list(_rounded(np.atleast_1d(_array(values)), GRID))
    except ValueError:  # days, names
        return list(values)


def _array(values: Any) -> np.ndarray:
    """Numbers of a figure's dict, which plotly may have packed as base64."""
    if isinstance(values, Mapping):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=np.dtype(values["dtype"]))
    return np.asarray(values, dtype=np.float64)


def _rounded(values: np.ndarray, steps: int) -> list[float | None]:
    """To `steps` even steps between the least and the greatest."""
    values = values.astype(np.float64)
    if not np.isfinite(values).any():
        return [None] * len(values)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    step = (high - low) / steps or 1.0
    digits = max(0, 3 - math.floor(math.log10(step))) if step > 0 else 3
    near = np.round((values - low) / step) * step + low
    return [None if not math.isfinite(v) else round(float(v), digits) for v in near]
