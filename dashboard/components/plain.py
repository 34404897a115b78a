"""One explanation for a business reviewer: the report's own texts on one screen, with nothing of the model's machinery."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.results.explanation import Explanation
from analysis.results.review import ReviewBlock, ReviewReport
from analysis.review.about import run_facts
from analysis.review.content import review
from dashboard import ui
from dashboard.components import cards, put, report
from dashboard.components.figure import table
from dashboard.frame import Frame
from dashboard.i18n import language, t


def page(frame: Frame, e: Explanation) -> None:
    """What was answered and why on the left, how sure and on what it rests on the right, the report below."""
    ui.print_style()
    made = _report(frame, e)
    put.chosen(t("why.customer"), report.mask_of(frame)(e.customer_id))
    _answer(made)
    left, right = st.columns([3, 2], gap="small")
    with left:
        for key in ("reasons", "subjects", "change"):
            if (found := made.find(key)) is not None:
                _block(found, key)
    with right:
        _block(made.block("decision"), "decision")
        _block(made.block("limits"), "limits")
    with put.expander(made.block("data").heading, icon=":material/policy:"):
        _facts(made.block("data"))
        _facts(made.block("technical"))
    report.downloads(frame, e)


def beside(frame: Frame, one: Explanation, other: Explanation) -> None:
    """Two customers side by side: the same blocks in the same places."""
    ui.print_style()
    columns = st.columns(2, gap="small")
    for i, (column, e) in enumerate(zip(columns, (one, other), strict=True)):
        with column:
            made = _report(frame, e)
            ui.subheader(e.customer_id)
            put.saved_only(report.mask_of(frame)(e.customer_id), "heading")
            _answer(made)
            for key in ("decision", "reasons", "limits", "subjects", "change"):
                if (found := made.find(key)) is not None:
                    _block(found, f"{key}-{i}")
            report.downloads(frame, e, f"report-{i}")


def _report(frame: Frame, e: Explanation) -> ReviewReport:
    return review(e, run_facts(frame.run), "ko" if language() == "ko" else "en")


def _answer(made: ReviewReport) -> None:
    if made.made_up:
        put.caption(made.made_up)
    if made.act:
        put.error(f"**{made.act}**", icon=cards.ICONS["error"])
    put.markdown(f"## {made.answer}")
    put.markdown(made.meaning)
    put.caption(made.against)
    if made.verdict:
        withheld = made.level == "withheld"
        (put.error if withheld else put.info)(made.verdict, icon=cards.ICONS["error" if withheld else "unknown"])


def _block(block: ReviewBlock, key: str) -> None:
    with st.container(border=True):
        if block.internal:
            put.warning(f"**{block.internal}**", icon=cards.ICONS["warning"])
        if block.kind == "table":
            small = [*block.under, *[""] * (len(block.rows) - len(block.under))]
            texts = [(f"{row[0]}\n{u}" if u else row[0], *row[1:]) for row, u in zip(block.rows, small, strict=True)]
            rows = pd.DataFrame([dict(zip(block.head, row, strict=True)) for row in texts])
            table(rows, f"plain-{key}", title=block.heading, static=True, caption=block.lead)
        else:
            put.markdown(f"**{block.heading}**")
            if block.kind == "facts":
                if key.startswith("decision"):  # the customer's id stays on the screen
                    ui.markdown(_fact(*block.rows[0]))
                _facts(replace(block, rows=block.rows[1:]) if key.startswith("decision") else block)
            else:
                for (text,) in block.rows:
                    put.markdown(text)
        if block.note:
            put.caption(block.note)


def _facts(block: ReviewBlock) -> None:
    for name, text in block.rows:
        put.markdown(_fact(name, text))


def _fact(name: str, text: str) -> str:
    """A question has its own mark at the end and takes no colon."""
    return f"{t('report.fact_asked' if name.endswith('?') else 'report.fact', name=name)} {text}"
