"""The report for review as one HTML file that opens offline, without scripts."""

from __future__ import annotations

import html

from analysis.html_page import asset, html_page
from analysis.results.review import ReviewBlock, ReviewReport

WIDE_FIELD = 3
"""The field of the form that takes a line of its own: the notes."""


def to_html(report: ReviewReport) -> str:
    """The whole file."""
    r = report
    body = "".join(
        (
            f"<h1>{_e(r.title)}</h1><p class=answer>{_e(r.answer)}</p><p class=quiet>{_e(r.against)}</p>",
            f'<p class="badge {r.level}">{_e(r.verdict)}</p>',
            *map(block_html, r.first),
            f"<section class=second><h1>{_e(r.second_title)}</h1>",
            *map(block_html, r.second),
            f"</section><footer>{_e(r.footer)}</footer>",
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
    return f"{heading}{inside}{note}"


def _facts(block: ReviewBlock) -> str:
    rows = "".join(f"<tr><td>{_e(name)}</td><td>{_e(text)}</td></tr>" for name, text in block.rows)
    return f"<table class=facts>{rows}</table>"


def _table(block: ReviewBlock) -> str:
    first = len(block.rows) - block.bold
    head = "".join(f"<th{_number(i, block)}>{_e(h)}</th>" for i, h in enumerate(block.head))
    rows = "".join(
        f"<tr{' class=sum' if k >= first else ''}>"
        + "".join(f"<td{_number(i, block)}>{_e(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for k, row in enumerate(block.rows)
    )
    return f"<table class=rows><tr>{head}</tr>{rows}</table>"


def _number(column: int, block: ReviewBlock) -> str:
    """Columns of numbers stand right: those beside the first in a table with sums or values."""
    return " class=n" if column and block.numbers and column not in block.words else ""


def _lines(block: ReviewBlock) -> str:
    return "".join(f"<p>{_e(text)}</p>" for (text,) in block.rows)


def _form(block: ReviewBlock) -> str:
    fields = "".join(f"<div{' class=wide' if i == WIDE_FIELD else ''}>{_e(name)}</div>" for i, (name,) in enumerate(block.rows))
    return f"<div class=form>{fields}</div>"
