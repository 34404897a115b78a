"""A page as one HTML file: opens without a network, reads on paper, at most 8 MB.

The plotting library is in the file once, whatever the number of figures. The file's own policy forbids the browser to fetch
anything, so what it shows is what it holds. Always light, whatever the reader's theme was: it is made to be sent and printed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from dashboard.components.cards import NUMBERS, written
from dashboard.document_figures import figure_json, template_json
from dashboard.document_text import blocks, escaped, inline, paragraph
from dashboard.i18n import catalogue
from dashboard.page import Card, Figure, Fold, Item, Number, Page, Table, Text
from ple_model.errors import UserError
from ple_model.numerals import statistic

ROWS = 100
"""Rows of a table; the rest is a line that says how many there are."""
LONG = 28
"""Characters above which a word may be broken in a cell."""
WORDS = 40
"""Characters above which a cell is prose and keeps a width to read it in."""
WIDE = 9
"""Columns from which a table is set smaller."""


def to_html(page: Page, limit: int = MAX_BYTES) -> str:
    """The whole file. Figures that do not fit into `limit` bytes are left out, the largest first, each with a line that says
    so; `UserError` when even then the rest is too large."""
    drawn = {id(f): figure_json(f) for f in page.walk() if isinstance(f, Figure)}
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
        listed = "".join(f"<dt>{escaped(k)}</dt><dd>{escaped(v)}</dd>" for k, v in facts.items())
        library = _library() if len(self.left_out) < len(self.drawn) else ""
        scripts = (
            f'<script type="application/json" id="template">{template_json()}</script><script>{library}</script>'
            f"<script>{asset('dashboard', 'document.js')}</script>"
            if library
            else ""
        )
        return html_page(
            " · ".join(filter(None, (page.title, page.run))),
            f"<header><p>{escaped(page.title)}</p><h1>{escaped(page.question)}</h1><dl>{listed}</dl></header>"
            f"<main>{self.items(page.items)}</main>"
            f"<footer>{escaped(self.t('export.footer', program=program, made=made))}</footer>"
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
            f"<div><span>{escaped(self.evidence(e.name))}</span><b>{escaped(written(e, e.value))}</b>"
            f"<span>{escaped(self.limits(e))}</span></div>"
            for e in [e for e in f.evidence if e.value is not None][:NUMBERS]
        )
        named = [f"{self.evidence(e.name)}: {e.text}" for e in f.evidence if e.value is None and e.text]
        lines = [f"<div class=numbers>{numbers}</div>" if numbers else "", paragraph(" · ".join(named), "caption")]
        if f.follows:
            id, _, subject = f.follows.partition(" ")
            lines.insert(0, paragraph(self.t("card.follows", id=id, subject=subject), "caption"))
        lines.append(paragraph(f"{self.t('card.cause')}: {f.cause}" if f.cause else "", "caption"))
        if f.fix is not None and (f.fix.text or f.fix.key):
            lines.append(paragraph(": ".join(filter(None, (self.t("card.fix"), f.fix.text))), "caption"))
            if f.fix.key:
                lines.append(
                    f"<pre>- {escaped(f.fix.key)}: {escaped(f.fix.old)}\n+ {escaped(f.fix.key)}: {escaped(f.fix.new)}</pre>"
                )
        if f.whatif:
            lines.append(f"<p class=caption>{escaped(self.t('card.try'))}: <code>{escaped(' '.join(f.whatif))}</code></p>")
        return (
            f'<section class=card style="--c:{COLOURS[f.severity]}">'
            f"<span class=badge>{escaped(self.t(f'severity.{f.severity}'))}</span> "
            f"<b>{escaped(f.subject)}</b><span class=id>{escaped(f.id)}</span><p>{inline(f.verdict)}</p>"
            f"{''.join(lines)}</section>"
        )

    def evidence(self, name: str) -> str:
        return self.known.get(f"evidence.{name}", name.replace("_", " "))

    def limits(self, e: Evidence) -> str:
        parts = [self.t("card.threshold", value=written(e, e.threshold))] if e.threshold is not None else []
        return " · ".join(parts + ([self.t("card.n", n=f"{e.n:,}")] if e.n is not None else []))

    def figure(self, f: Figure) -> str:
        caption = paragraph(f.caption, "caption")
        if f.points:
            caption += paragraph(self.t("export.points"), "caption")
        if id(f) in self.left_out:
            size, limit = f"{len(self.drawn[id(f)]) / 1e6:.1f}", f"{self.limit / 1e6:.1f}"
            said = escaped(self.t("export.too_large", size=size, limit=limit))
            body = f'<p class=note style="--c:{COLOURS["error"]}">{said}</p>'
        else:
            body = (
                f'<div class=plot id="{escaped(f.key)}" role=img aria-label="{escaped(f.title)}"></div>'
                f'<script type="application/json">{self.drawn[id(f)]}</script>'
            )
        return f"<figure><figcaption><h3>{inline(f.title)}</h3>{caption}</figcaption>{body}</figure>"

    def table(self, table: Table) -> str:
        head = (f"<h3>{inline(table.title)}</h3>" if table.title else "") + paragraph(table.caption, "caption")
        if table.customers:
            body = (
                f'<p class=note style="--c:{COLOURS["unknown"]}">{escaped(self.t("export.customers", n=len(table.rows)))}</p>'
            )
            return f"<div class=table><div class=head>{head}</div>{body}</div>"
        rows, columns = table.rows.iloc[:ROWS], list(table.rows.columns)
        numeric = {c for c in columns if pd.api.types.is_numeric_dtype(table.rows[c]) and not _bool(table.rows[c])}
        names = "".join(
            f"<th{' class=n' if c in numeric else ''}>{escaped(c)}"
            + (f"<small>{escaped(table.units[str(c)])}</small>" if str(c) in table.units else "")
            + "</th>"
            for c in columns
        )
        body = "".join(
            f"<tr>{''.join(_cell(v, table.formats.get(str(c)), c in numeric) for c, v in zip(columns, row, strict=True))}</tr>"
            for row in rows.itertuples(index=False, name=None)
        )
        kind, rest = " class=wide" if len(columns) >= WIDE else "", ""
        if len(table.rows) > ROWS:
            rest = paragraph(self.t("export.cut", shown=ROWS, total=f"{len(table.rows):,}"), "caption")
        return (
            f"<div class=table><div class=head>{head}</div>"
            f"<table{kind}><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>{rest}</div>"
        )


def _row(item: Item) -> str:
    """What stands side by side with its like."""
    if isinstance(item, Number):
        return "numbers"
    return "figures" if isinstance(item, Figure) and not item.wide else ""


def _text(item: Text) -> str:
    if item.kind == "heading":
        return f"<h2>{inline(item.text)}</h2>"
    if item.kind == "code":
        return f"<pre>{escaped(item.text)}</pre>"
    body = "".join(blocks(item.text))
    if item.kind == "text":
        return body
    if item.kind == "caption":
        return f"<div class=caption>{body}</div>"
    colour = {"success": "ok", "info": "unknown"}.get(item.kind, item.kind)
    return f'<div class=note style="--c:{COLOURS[colour]}">{body}</div>'


def _number(item: Number) -> str:
    delta = f"<i>{escaped(item.delta)}</i>" if item.delta else ""
    about = f"<span>{escaped(item.about)}</span>" if item.about and item.delta else ""
    return f"<div><span>{inline(item.label)}</span><b>{inline(item.value)}</b>{delta}{about}</div>"


def _bool(column: Any) -> bool:
    return bool(pd.api.types.is_bool_dtype(column))


def _cell(value: Any, config: Any, numeric: bool) -> str:
    if not numeric:
        missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
        if missing or isinstance(value, bool | np.bool_):
            return f"<td>{'–' if missing else '✓' if value else ''}</td>"
        long, words = any(len(word) > LONG for word in str(value).split()), len(str(value)) > WORDS
        text = escaped(value).replace("_", "_<wbr>")
        return f"<td{' class=long' if long else ' class=words' if words else ''}>{text}</td>"
    kind = (config or {}).get("type_config") or {}
    text = formatted(value, kind.get("format"))
    share = float(value) if kind.get("type") == "progress" and not pd.isna(value) else None
    if share is None:
        return f"<td class=n>{escaped(text)}</td>"
    return f'<td class=n>{escaped(text)}<div class=bar style="--w:{100 * min(max(share, 0.0), 1.0):.1f}%"></div></td>'


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
    from plotly.offline import get_plotlyjs  # late: plotly's script is some megabytes

    return str(get_plotlyjs()).replace("</script", "<\\/script")
