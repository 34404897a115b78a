"""A page as one HTML file: opens without a network, reads on paper, at most 8 MB.

The plotting library is in the file once, whatever the number of figures. The file's own policy forbids the browser to fetch
anything, so what it shows is what it holds. Always light, whatever the reader's theme was: it is made to be sent and printed.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from analysis.checks.finding import Evidence, Finding
from analysis.html_page import asset, html_page
from analysis.report import COLOURS, MAX_BYTES
from analysis.wording import statistic
from dashboard.components.cards import NUMBERS, written
from dashboard.i18n import catalogue
from dashboard.page import Card, Figure, Fold, Item, Number, Page, Table, Text
from ple_model.errors import UserError

ROWS = 100
"""Rows of a table; the rest is a line that says how many there are."""
LONG = 28
"""Characters above which a word may be broken in a cell."""
WORDS = 40
"""Characters above which a cell is prose and keeps a width to read it in."""
WIDE = 9
"""Columns from which a table is set smaller."""
GRID, SHADES = 400, 24
"""Steps to which the place and the colour of a point that is a customer are rounded."""
INK, MUTED, LINE = "#182230", "#5B6675", "#DDE3EC"
FONT = 'system-ui,"Segoe UI","Noto Sans KR","Apple SD Gothic Neo","Malgun Gothic",sans-serif'
SPECIAL = {32: "#15803D", 33: "#C8372D", 34: "#66707F", 36: MUTED, 37: INK, 38: "#FFFFFF", 39: LINE, 40: "#F4F6FA"}
"""What the app's template asks the browser to colour, by the number it stands in for."""


def to_html(page: Page, limit: int = MAX_BYTES) -> str:
    """The whole file. Figures that do not fit into `limit` bytes are left out, the largest first, each with a line that says
    so; `UserError` when even then the rest is too large."""
    drawn = {id(f): _figure_json(f) for f in page.walk() if isinstance(f, Figure)}
    titles = {id(f): f.title for f in page.walk() if isinstance(f, Figure)}
    left_out: set[int] = set()
    while True:
        text = _Writer(page, drawn, left_out, limit).document()
        size = len(text.encode())
        if size <= limit:
            return text
        rest = [k for k in drawn if k not in left_out]
        largest = max(rest, key=lambda k: len(drawn[k]), default=None)
        if largest is None or len(drawn[largest]) < (size - limit) / (2 * len(rest)):
            what = f"; its largest figure, '{titles[largest]}', has {len(drawn[largest]):,}" if largest is not None else ""
            raise UserError(f"the page '{page.title}' has {size:,} bytes, and a saved page may have {limit:,}{what}")
        left_out.add(largest)


def file_of(page: Page) -> bytes:
    """What a download button sends."""
    return to_html(page).encode()


class _Writer:
    """The parts of one document in the page's language."""

    def __init__(self, page: Page, drawn: Mapping[int, str], left_out: set[int], limit: int) -> None:
        self.page, self.drawn, self.left_out, self.limit = page, drawn, left_out, limit
        self.known = catalogue(page.language)

    def t(self, key: str, **values: object) -> str:
        text = self.known[key]
        return text.format(**values) if values else text

    def document(self) -> str:
        page = self.page
        made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        program = f"PLE-Cluster-adaTT {_version()}"
        facts = {
            **page.facts,
            self.t("export.made"): f"{made} · {program}",
            self.t("export.view"): f"/{page.name}{'?' + page.query if page.query else ''}",
        }
        listed = "".join(f"<dt>{_e(k)}</dt><dd>{_e(v)}</dd>" for k, v in facts.items())
        library = _library() if len(self.left_out) < len(self.drawn) else ""
        scripts = (
            f'<script type="application/json" id="template">{_template()}</script><script>{library}</script>'
            f"<script>{asset('dashboard', 'document.js')}</script>"
            if library
            else ""
        )
        return html_page(
            " · ".join(filter(None, (page.title, page.run))),
            f"<header><p>{_e(page.title)}</p><h1>{_e(page.question)}</h1><dl>{listed}</dl></header>"
            f"<main>{self.items(page.items)}</main><footer>{_e(self.t('export.footer', program=program, made=made))}</footer>"
            f"{scripts}",
            asset("dashboard", "document.css"),
            page.language,
        )

    def items(self, items: Sequence[Item]) -> str:
        out: list[str] = []
        for kind, found in groupby(items, _row):
            drawn = [self.item(item) for item in found]
            row = kind and (kind == "numbers" or len(drawn) > 1)
            out += [f"<div class={kind}>", *drawn, "</div>"] if row else drawn
        return "\n".join(out)

    def item(self, item: Item) -> str:
        match item:
            case Text():
                return _text(item)
            case Card():
                return self.card(item.finding)
            case Figure():
                return self.figure(item)
            case Table():
                return self.table(item)
            case Fold():
                return f"<details><summary>{inline(item.title)}</summary>{self.items(item.items)}</details>"
            case Number():
                return _number(item)

    def card(self, f: Finding) -> str:
        numbers = "".join(
            f"<div><span>{_e(self.evidence(e.name))}</span><b>{_e(written(e, e.value))}</b>"
            f"<span>{_e(self.limits(e))}</span></div>"
            for e in [e for e in f.evidence if e.value is not None][:NUMBERS]
        )
        named = [f"{self.evidence(e.name)}: {e.text}" for e in f.evidence if e.value is None and e.text]
        lines = [f"<div class=numbers>{numbers}</div>" if numbers else "", _p(" · ".join(named), "caption")]
        if f.follows:
            id, _, subject = f.follows.partition(" ")
            lines.insert(0, _p(self.t("card.follows", id=id, subject=subject), "caption"))
        lines.append(_p(f"{self.t('card.cause')}: {f.cause}" if f.cause else "", "caption"))
        if f.fix is not None and (f.fix.text or f.fix.key):
            lines.append(_p(": ".join(filter(None, (self.t("card.fix"), f.fix.text))), "caption"))
            if f.fix.key:
                lines.append(f"<pre>- {_e(f.fix.key)}: {_e(f.fix.old)}\n+ {_e(f.fix.key)}: {_e(f.fix.new)}</pre>")
        if f.whatif:
            lines.append(f"<p class=caption>{_e(self.t('card.try'))}: <code>{_e(' '.join(f.whatif))}</code></p>")
        return (
            f'<section class=card style="--c:{COLOURS[f.severity]}">'
            f"<span class=badge>{_e(self.t(f'severity.{f.severity}'))}</span> "
            f"<b>{_e(f.subject)}</b><span class=id>{_e(f.id)}</span><p>{inline(f.verdict)}</p>{''.join(lines)}</section>"
        )

    def evidence(self, name: str) -> str:
        return self.known.get(f"evidence.{name}", name.replace("_", " "))

    def limits(self, e: Evidence) -> str:
        parts = [self.t("card.threshold", value=written(e, e.threshold))] if e.threshold is not None else []
        return " · ".join(parts + ([self.t("card.n", n=f"{e.n:,}")] if e.n is not None else []))

    def figure(self, f: Figure) -> str:
        caption = _p(f.caption, "caption")
        if f.points:
            caption += _p(self.t("export.points"), "caption")
        if id(f) in self.left_out:
            size, limit = f"{len(self.drawn[id(f)]) / 1e6:.1f}", f"{self.limit / 1e6:.1f}"
            body = f'<p class=note style="--c:{COLOURS["error"]}">{_e(self.t("export.too_large", size=size, limit=limit))}</p>'
        else:
            body = (
                f'<div class=plot id="{_e(f.key)}" role=img aria-label="{_e(f.title)}"></div>'
                f'<script type="application/json">{self.drawn[id(f)]}</script>'
            )
        return f"<figure><figcaption><h3>{inline(f.title)}</h3>{caption}</figcaption>{body}</figure>"

    def table(self, table: Table) -> str:
        head = (f"<h3>{inline(table.title)}</h3>" if table.title else "") + _p(table.caption, "caption")
        if table.customers:
            body = f'<p class=note style="--c:{COLOURS["unknown"]}">{_e(self.t("export.customers", n=len(table.rows)))}</p>'
            return f"<div class=table><div class=head>{head}</div>{body}</div>"
        rows, columns = table.rows.iloc[:ROWS], list(table.rows.columns)
        numeric = {c for c in columns if pd.api.types.is_numeric_dtype(table.rows[c]) and not _bool(table.rows[c])}
        names = "".join(
            f"<th{' class=n' if c in numeric else ''}>{_e(c)}"
            + (f"<small>{_e(table.units[str(c)])}</small>" if str(c) in table.units else "")
            + "</th>"
            for c in columns
        )
        body = "".join(
            f"<tr>{''.join(_cell(v, table.formats.get(str(c)), c in numeric) for c, v in zip(columns, row, strict=True))}</tr>"
            for row in rows.itertuples(index=False, name=None)
        )
        kind, rest = " class=wide" if len(columns) >= WIDE else "", ""
        if len(table.rows) > ROWS:
            rest = _p(self.t("export.cut", shown=ROWS, total=f"{len(table.rows):,}"), "caption")
        return (
            f"<div class=table><div class=head>{head}</div>"
            f"<table{kind}><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>{rest}</div>"
        )


def _row(item: Item) -> str:
    """What stands side by side with its like."""
    if isinstance(item, Number):
        return "numbers"
    return "figures" if isinstance(item, Figure) and not item.wide else ""


def _e(text: object) -> str:
    return html.escape(str(text))


def inline(text: str) -> str:
    """The app's Markdown inside a line as HTML: bold, code, coloured text; icons are left out, links become their text."""
    text = re.sub(r":material/\w+:\s*", "", _e(text))
    text = re.sub(r":(orange|green|red|blue|gray)\[([^\[\]]*)\]", r"<span class=\1>\2</span>", text)
    text = re.sub(r"\[([^\[\]]*)\]\([^()]*\)", r"\1", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text).strip()


def blocks(text: str) -> Iterator[str]:
    """Paragraphs and lists."""
    bullet = re.compile(r"^(?:[-*]|(\d+)\.)\s+(.*)$")
    group: list[str] = []
    kind = ""

    def close() -> Iterator[str]:
        if group and kind:
            yield f"<{kind}>{''.join(f'<li>{inline(g)}</li>' for g in group)}</{kind}>"
        elif group:
            yield f"<p>{'<br>'.join(map(inline, group))}</p>"

    for line in text.strip().splitlines():
        found = bullet.match(line.strip())
        now = ("ol" if found[1] else "ul") if found else ""
        if now != kind or not line.strip():
            yield from close()
            group, kind = [], now
        if line.strip():
            group.append(found[2] if found else line)
    yield from close()


def _p(text: str, kind: str) -> str:
    return f'<p class="{kind}">{inline(text)}</p>' if text else ""


def _text(item: Text) -> str:
    if item.kind == "heading":
        return f"<h2>{inline(item.text)}</h2>"
    if item.kind == "code":
        return f"<pre>{_e(item.text)}</pre>"
    body = "".join(blocks(item.text))
    if item.kind == "text":
        return body
    if item.kind == "caption":
        return f"<div class=caption>{body}</div>"
    colour = {"success": "ok", "info": "unknown"}.get(item.kind, item.kind)
    return f'<div class=note style="--c:{COLOURS[colour]}">{body}</div>'


def _number(item: Number) -> str:
    delta = f"<i>{_e(item.delta)}</i>" if item.delta else ""
    about = f"<span>{_e(item.about)}</span>" if item.about and item.delta else ""
    return f"<div><span>{inline(item.label)}</span><b>{inline(item.value)}</b>{delta}{about}</div>"


def _bool(column: Any) -> bool:
    return bool(pd.api.types.is_bool_dtype(column))


def _cell(value: Any, config: Any, numeric: bool) -> str:
    if not numeric:
        missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
        if missing or isinstance(value, bool | np.bool_):
            return f"<td>{'–' if missing else '✓' if value else ''}</td>"
        long, words = any(len(word) > LONG for word in str(value).split()), len(str(value)) > WORDS
        text = _e(value).replace("_", "_<wbr>")
        return f"<td{' class=long' if long else ' class=words' if words else ''}>{text}</td>"
    kind = (config or {}).get("type_config") or {}
    text = formatted(value, kind.get("format"))
    share = float(value) if kind.get("type") == "progress" and not pd.isna(value) else None
    if share is None:
        return f"<td class=n>{_e(text)}</td>"
    return f'<td class=n>{_e(text)}<div class=bar style="--w:{100 * min(max(share, 0.0), 1.0):.1f}%"></div></td>'


def formatted(value: Any, how: str | None) -> str:
    """A number as the page's column shows it: a share in percent, printf, or what a person can read."""
    if value is None or pd.isna(value):
        return "–"
    if how == "percent":
        return f"{value:.1%}"
    if how and "%" in how:
        return str(how % value)
    return statistic(float(value))


@cache
def _version() -> str:
    try:
        return version("ple-scope")
    except PackageNotFoundError:
        return ""


@cache
def _library() -> str:
    """plotly.js, safe inside a script element."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _colours(name: str) -> list[str]:
    """A scale of the app's light theme."""
    import streamlit as st

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


def _template() -> str:
    """What all figures share: the app's template with light colours, fonts and grid lines."""
    import plotly.io as pio

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
    from plotly.utils import PlotlyJSONEncoder

    return PlotlyJSONEncoder  # type: ignore[no-any-return]


def _figure_json(item: Figure) -> str:
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
    """A trace of customers as a picture of them: rounded places and colours, nothing to read off a single point."""
    if len(np.atleast_1d(_array(trace.get("x", ())))) < 2:
        return trace
    out = {k: v for k, v in trace.items() if k not in ("customdata", "hovertemplate", "text", "ids", "hovertext")}
    out |= {"x": _rounded(_array(trace["x"]), GRID), "y": _rounded(_array(trace["y"]), GRID), "hoverinfo": "name"}
    marker = dict(out.get("marker") or {})
    colour = marker.get("color")
    if colour is not None and not isinstance(colour, str):
        marker["color"] = _rounded(_array(colour), SHADES)
    out["marker"] = marker
    return out


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
