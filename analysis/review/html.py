"""The report for review as one HTML file that opens offline, without scripts."""

from __future__ import annotations

import html

from analysis.html_page import asset, html_page
from analysis.results.review import ReviewBlock, ReviewReport


def to_html(report: ReviewReport) -> str:
    """The whole file."""
    r = report
    body = "".join(
        (
            f"<p class=made-up>{_e(r.made_up)}</p>" if r.made_up else "",
            f"<h1>{_e(r.title)}</h1>",
            f'<p class="act" role="alert">{_e(r.act)}</p>' if r.act else "",
            f"<p class=answer>{_e(r.answer)}</p><p>{_e(r.meaning)}</p><p class=quiet>{_e(r.against)}</p>",
            f'<p class="badge {r.level}">{_e(r.verdict)}</p>' if r.verdict else "",
            *map(block_html, r.first),
            *(f"<section class=page><h1>{_e(t)}</h1>{''.join(map(block_html, blocks))}</section>" for t, blocks in r.pages),
            f"<footer>{_e(r.footer)}</footer>",
        )
    )
    return html_page(f"{r.customer}: {r.answer}", body, asset("analysis", "review.css"), r.language)


def _e(text: str) -> str:
    return html.escape(text)


def block_html(block: ReviewBlock, level: int = 2) -> str:
    """One heading of this level, where the block has one, with what stands under it."""
    inside = {"facts": _facts, "table": _table, "lines": _lines, "form": _form}[block.kind](block)
    note = f"<p class=quiet>{_e(block.note)}</p>" if block.note else ""
    heading = f"<h{level}>{_e(block.heading)}</h{level}>" if block.heading else ""
    lead = f"<p class=lead>{_e(block.lead)}</p>" if block.lead else ""
    internal = f"<p class=internal>{_e(block.internal)}</p>" if block.internal else ""
    return f"{heading}{internal}{lead}{inside}{note}"


def _facts(block: ReviewBlock) -> str:
    rows = "".join(f"<tr><td>{_e(name)}</td><td>{_e(text)}</td></tr>" for name, text in block.rows)
    return f"<table class=facts>{rows}</table>"


def _table(block: ReviewBlock) -> str:
    head = "".join(f"<th{_number(i, block)}>{_e(h)}</th>" for i, h in enumerate(block.head))
    kind = "rows" if block.numbers else "rows words"
    return f"<table class='{kind}'><tr>{head}</tr>{''.join(_row(k, row, block) for k, row in enumerate(block.rows))}</table>"


def _row(k: int, row: tuple[str, ...], block: ReviewBlock) -> str:
    if k in block.heads:
        return f"<tr class=head><th colspan={len(row)} scope=colgroup>{_e(row[0])}</th></tr>"
    style = " class=sum" if k >= len(block.rows) - block.bold else ""
    small = block.under[k] if k < len(block.under) else ""
    below = f"<div class=under>{_e(small)}</div>" if small else ""
    cells = "".join(f"<td{_number(i, block)}>{_e(cell)}{'' if i else below}</td>" for i, cell in enumerate(row))
    return f"<tr{style}>{cells}</tr>"


def _number(column: int, block: ReviewBlock) -> str:
    """Columns of numbers stand right: those beside the first in a table with sums or values."""
    return " class=n" if column and block.numbers and column not in block.words else ""


def _lines(block: ReviewBlock) -> str:
    return "".join(f"<p>{_e(text)}</p>" for (text,) in block.rows)


def _form(block: ReviewBlock) -> str:
    """A line a field: its name, and beside it the room to write."""
    rows = "".join(
        f"<tr{' class=tall' if i in block.tall else ''}><td>{_e(name)}</td><td></td></tr>"
        if "□" not in name
        else f"<tr><td colspan=2>{_e(name)}</td></tr>"
        for i, (name,) in enumerate(block.rows)
    )
    return f"<table class=form>{rows}</table>"
