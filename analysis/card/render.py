"""A card as one HTML file that opens offline, in the style of the report for review, and as Markdown without any preamble that
a hub would ask for.

Names out of data and run folders are text in both: escaped in HTML, without links, images, tags or table bars in Markdown.
"""

from __future__ import annotations

import html
import re

from analysis.harmless import harmless
from analysis.html_page import asset, html_page
from analysis.results.card import CardSection, ModelCard
from analysis.results.review import ReviewBlock
from analysis.review.html import block_html

_MARKS = re.compile(r"[\\`*|\[\]<>~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#+=-](?=[\s#=-]|$)")
"""What Markdown would read as a mark: an underscore within a word is none, a dash only one that begins a list or a line."""
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
"""A number that begins a line and would begin a list (CommonMark 0.31, 5.2)."""


def to_html(card: ModelCard) -> str:
    """The whole file."""
    body = "".join(
        (
            f"<h1>{html.escape(card.title)}</h1>",
            f'<p class="badge {card.level}">{html.escape(card.answer)}</p>',
            *map(_section, card.sections),
            f"<footer>{html.escape(card.footer)}</footer>",
        )
    )
    style = asset("analysis", "review.css") + asset("analysis", "card.css")
    return html_page(card.title, f"<main class=card>{body}</main>", style, card.language)


def _section(section: CardSection) -> str:
    blocks = "".join(block_html(b, 3) for b in section.blocks)
    return f"<section id={section.name}><h2>{html.escape(section.heading)}</h2>{blocks}</section>"


def to_markdown(card: ModelCard) -> str:
    """Headings, lists and tables alone."""
    lines = [f"# {text(card.title)}", "", f"**{text(card.answer)}**", ""]
    for section in card.sections:
        lines += [f"## {text(section.heading)}", ""]
        for block in section.blocks:
            lines += [*([f"### {text(block.heading)}", ""] if block.heading else []), *_block(block), ""]
            lines += [text(block.note), ""] if block.note else []
    return "\n".join([*lines, "---", "", text(card.footer), ""])


def _block(block: ReviewBlock) -> list[str]:
    if block.kind == "facts":
        return [f"- **{text(name)}:** {text(value)}" for name, value in block.rows]
    if block.kind == "lines":
        return [f"- {text(line)}" for (line,) in block.rows]
    bars = ["---:" if i and block.numbers and i not in block.words else "---" for i in range(len(block.head))]
    return [_row(block.head), f"|{'|'.join(bars)}|", *map(_row, block.rows)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(text, cells))} |"


def text(foreign: str) -> str:
    """Words of any origin as one line of plain Markdown text."""
    line = harmless(" ".join(foreign.split()))
    return _NUMBERED.sub(r"\1\\\2", _MARKS.sub(r"\\\g<0>", line))
