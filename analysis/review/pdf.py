"""The report for review as a PDF of four A4 pages, without a browser (ReportLab, BSD licence); its font is embedded.

ReportLab was chosen over two others: WeasyPrint needs Pango, which pip does not bring; fpdf2 is under the LGPL. Each page is
set as large as it fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from io import BytesIO
from typing import Any

from analysis.results.review import ReviewBlock, ReviewReport
from analysis.review.fonts import registered
from ple_model.errors import UserError

MARGIN_MM = 14.0
SIZES = (9.0, 8.7, 8.4, 8.1, 7.8, 7.5, 7.2, 6.9, 6.6, 6.3, 6.0)
"""Sizes in points, the largest that fits is taken; below the last a page runs on."""
UNPRINTED = str.maketrans({"\N{MINUS SIGN}": "\N{EN DASH}"})
"""Signs that the font lacks."""
COLOURS = {"ok": "#146c2e", "unknown": "#5f6368", "withheld": "#b3261e"}
NARROW, WIDER = 0.115, 0.13
"""Widths of a column of numbers, as shares of the page: beside four and more, and beside fewer."""
QUIET, LINE = "#555555", "#bbbbbb"


def to_pdf(report: ReviewReport) -> bytes:
    """The file. The same report gives the same bytes. `UserError` where the library or the font is not installed."""
    try:
        from reportlab.platypus import PageBreak  # late: the PDF library
    except ModuleNotFoundError as e:
        raise UserError("a PDF needs the library ReportLab, which is not installed: pip install 'ple-scope[pdf]'") from e
    parts: list[Any] = []
    for page in range(1 + len(report.pages)):
        size = next((s for s in SIZES if _fits(report, page, s)), SIZES[-1])
        parts += [*([PageBreak()] if page else []), *_PdfWriter(report, size).page(page)]
    return _built(report, parts)


def _fits(report: ReviewReport, page: int, size: float) -> bool:
    """Whether this page is one at this size."""
    width, height = _frame()
    left = height
    for part in _PdfWriter(report, size).page(page):
        _, used = part.wrap(width, height)
        left -= used + part.getSpaceBefore() + part.getSpaceAfter()
    return left >= 0


def _frame() -> tuple[float, float]:
    """Width and height in points of what a page holds: A4 less margins, the footer and the frame's own padding."""
    from reportlab.lib.pagesizes import A4  # late: the PDF library
    from reportlab.lib.units import mm  # late: the PDF library

    return A4[0] - 2 * MARGIN_MM * mm, A4[1] - (2 * MARGIN_MM + 6) * mm


def _built(report: ReviewReport, parts: list[Any]) -> bytes:
    from reportlab.lib.pagesizes import A4  # late: the PDF library
    from reportlab.lib.units import mm  # late: the PDF library
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate  # late: the PDF library

    out, margin = BytesIO(), MARGIN_MM * mm
    regular, _ = registered()

    def foot(canvas: Any, document: Any) -> None:
        canvas.setFont(regular, 6.5)
        canvas.setFillColor(QUIET)
        canvas.drawString(margin, margin - 4 * mm, report.footer)
        canvas.drawRightString(A4[0] - margin, margin - 4 * mm, f"{report.customer} · {document.page}")

    document = BaseDocTemplate(
        out, pagesize=A4, title=report.title, subject=report.answer, author="ple-scope", lang=report.language, invariant=1
    )
    width, height = _frame()
    frame = Frame(margin, margin + 2 * mm, width, height + 4 * mm, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate(frames=[frame], onPage=foot)])
    document.build(parts)
    return out.getvalue()


class _PdfWriter:
    """A report's blocks as ReportLab's flowables at one size."""

    def __init__(self, report: ReviewReport, size: float) -> None:
        from reportlab.lib.styles import ParagraphStyle  # late: the PDF library

        self.report, self.size = report, size
        regular, bold = registered()
        base = {"fontName": regular, "fontSize": size, "leading": 1.33 * size}
        self.text = ParagraphStyle("text", **base)
        self.strong = ParagraphStyle("strong", **{**base, "fontName": bold})
        self.right = ParagraphStyle("right", **{**base, "alignment": 2})
        self.strong_right = ParagraphStyle("strong_right", **{**base, "fontName": bold, "alignment": 2})
        self.quiet = ParagraphStyle("quiet", **{**base, "textColor": QUIET, "fontSize": 0.92 * size, "leading": 1.25 * size})
        self.heading = ParagraphStyle(
            "heading", **{**base, "fontName": bold, "fontSize": 1.1 * size, "spaceBefore": 0.7 * size, "spaceAfter": 0.2 * size}
        )
        self.title = ParagraphStyle("title", **{**base, "fontSize": 1.15 * size, "leading": 1.5 * size, "textColor": QUIET})
        self.answer = ParagraphStyle("answer", **{**base, "fontName": bold, "fontSize": 1.75 * size, "leading": 2.3 * size})

    def page(self, page: int) -> list[Any]:
        """What stands on one of the pages, 0 the first."""
        r = self.report
        if page == 0:
            return [*self._head(), *(part for block in r.first for part in self._block(block))]
        title, blocks = r.pages[page - 1]
        return [self._p(title, self.answer), *(part for block in blocks for part in self._block(block))]

    def _head(self) -> list[Any]:
        r = self.report
        head = [self._p(r.made_up, self.strong)] if r.made_up else []
        head.append(self._p(r.title, self.title))
        if r.act:
            style = [("BOX", (0, 0), (-1, -1), 1.2, COLOURS["withheld"]), ("BACKGROUND", (0, 0), (-1, -1), "#fbeae9")]
            head.append(self._grid([[self._p(r.act, self.strong)]], [1.0], style, pad=0.5, above=0.4))
        head += [self._p(r.answer, self.answer), self._p(r.meaning, self.text), self._p(r.against, self.quiet)]
        return [*head, self._badge()] if r.verdict else head

    def _p(self, text: str, style: Any) -> Any:
        from reportlab.platypus import Paragraph  # late: the PDF library

        return Paragraph(escape(text.translate(UNPRINTED), quote=False), style)

    def _badge(self) -> Any:
        colour = COLOURS[self.report.level]
        style = [("LINEBEFORE", (0, 0), (0, 0), 3, colour), ("BACKGROUND", (0, 0), (-1, -1), "#f3f3f3")]
        return self._grid([[self._p(self.report.verdict, self.text)]], [1.0], style, pad=0.35, above=0.5)

    def _block(self, block: ReviewBlock) -> Iterator[Any]:
        if block.heading:
            yield self._p(block.heading, self.heading)
        if block.internal:
            yield self._grid([[self._p(block.internal, self.strong)]], [1.0], [("BOX", (0, 0), (-1, -1), 0.6, QUIET)], pad=0.3)
        if block.lead:
            yield self._p(block.lead, self.quiet)
        if block.kind == "lines":
            yield from (self._p(text, self.text) for (text,) in block.rows)
        elif block.kind == "facts":
            rows = [[self._p(name, self.quiet), self._p(text, self.text)] for name, text in block.rows]
            yield self._grid(rows, [0.23, 0.77], [])
        elif block.kind == "table":
            yield self._table(block)
        else:
            yield self._form(block)
        if block.note:
            yield self._p(block.note, self.quiet)

    def _table(self, block: ReviewBlock) -> Any:
        """What stands under a row has the width of all columns."""
        columns, first = len(block.head), len(block.rows) - block.bold
        rows: list[list[Any]] = [[self._p(h, self._style(i, block, bold=True)) for i, h in enumerate(block.head)]]
        style: list[Any] = []
        for k, row in enumerate(block.rows):
            at = len(rows)
            if k in block.heads:
                rows.append([self._p(row[0], self.strong), *([""] * (columns - 1))])
                style += [("SPAN", (0, at), (-1, at)), ("BACKGROUND", (0, at), (-1, at), "#f3f3f3")]
            else:
                rows.append([self._p(cell, self._style(i, block, bold=k >= first)) for i, cell in enumerate(row)])
            if k < len(block.under) and block.under[k]:
                rows.append([self._p(block.under[k], self.quiet), *([""] * (columns - 1))])
                style += [("SPAN", (0, at + 1), (-1, at + 1)), ("TOPPADDING", (0, at + 1), (-1, at + 1), 0)]
            style.append(("LINEBELOW", (0, len(rows) - 1), (-1, len(rows) - 1), 0.4, LINE))
        number = NARROW if columns > 3 else WIDER
        shares = [1 - number * (columns - 1), *([number] * (columns - 1))] if block.numbers else [0.5, 0.2, 0.3]
        return self._grid(rows, shares, [("LINEBELOW", (0, 0), (-1, 0), 0.4, LINE), *style])

    def _style(self, column: int, block: ReviewBlock, *, bold: bool) -> Any:
        if column and block.numbers:
            return self.strong_right if bold else self.right
        return self.strong if bold else self.text

    def _form(self, block: ReviewBlock) -> Any:
        """A line a field with room to write beside its name."""
        rows = [[self._p(name, self.quiet), ""] for (name,) in block.rows]
        heights = [(6.5 if i in block.tall else 2.5) * self.size for i in range(len(rows))]
        style: list[Any] = [("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE), ("VALIGN", (0, 0), (-1, -1), "MIDDLE")]
        for i, (name,) in enumerate(block.rows):
            if "□" in name:
                style.append(("SPAN", (0, i), (1, i)))
            if i in block.tall:
                style.append(("VALIGN", (0, i), (0, i), "TOP"))
        return self._grid(rows, [0.36, 0.64], style, heights=heights)

    def _grid(
        self, rows: list[list[Any]], shares: list[float], style: list[Any], *, pad: float = 0.14, above: float = 0.0,
        heights: list[float] | None = None,
    ) -> Any:  # fmt: skip
        from reportlab.platypus import Table, TableStyle  # late: the PDF library

        width = _frame()[0]
        common = [
            ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0.4 * self.size),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0.4 * self.size), ("TOPPADDING", (0, 0), (-1, -1), pad * self.size),
            ("BOTTOMPADDING", (0, 0), (-1, -1), pad * self.size),
        ]  # fmt: skip
        return Table(
            rows, [width * s for s in shares], heights, style=TableStyle([*common, *style]), spaceBefore=above * self.size
        )
