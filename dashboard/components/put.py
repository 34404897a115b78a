"""Streamlit's text elements for pages: the same names and arguments, and what they show is kept for the saved page too."""

from __future__ import annotations

import json as text_of
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from dashboard.harmless import harmless
from dashboard.page import Kind, Number, Text, current, record

CODE_OR_DOLLAR = re.compile(r"(`[^`]*`)|\$")


def literal(body: str) -> str:
    """Text of a page whose dollars are dollars: between two of them Streamlit would set a formula."""
    return CODE_OR_DOLLAR.sub(lambda m: m[1] or r"\$", body)


def _text(kind: Kind, body: object) -> None:
    record(Text(kind, str(body)))


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Tooltips and the like are Markdown too."""
    return {k: harmless(v) if isinstance(v, str) else v for k, v in options.items()}


def subheader(body: str, **options: Any) -> None:
    body = harmless(body)
    st.subheader(body, **_options(options))
    _text("heading", body)


def markdown(body: str, **options: Any) -> None:
    body = harmless(body)
    st.markdown(literal(body), **_options(options))
    _text("text", body)


def caption(body: str, **options: Any) -> None:
    body = harmless(body)
    st.caption(literal(body), **_options(options))
    _text("caption", body)


def code(body: str, **options: Any) -> None:
    st.code(body, **options)
    _text("code", body)


def json(body: Any, **options: Any) -> None:
    st.json(body, **options)
    _text("code", text_of.dumps(body, ensure_ascii=False, indent=1))


def success(body: str, **options: Any) -> None:
    body = harmless(body)
    st.success(literal(body), **_options(options))
    _text("success", body)


def info(body: str, **options: Any) -> None:
    body = harmless(body)
    st.info(literal(body), **_options(options))
    _text("info", body)


def warning(body: str, **options: Any) -> None:
    body = harmless(body)
    st.warning(literal(body), **_options(options))
    _text("warning", body)


def error(body: str, **options: Any) -> None:
    body = harmless(body)
    st.error(literal(body), **_options(options))
    _text("error", body)


def metric(label: str, value: Any, delta: Any = None, **options: Any) -> None:
    label, options = harmless(label), _options(options)
    value, delta = (harmless(v) if isinstance(v, str) else v for v in (value, delta))
    amount, change = (literal(v) if isinstance(v, str) else v for v in (value, delta))
    st.metric(literal(label), amount, change, **options)
    about = options.get("delta_description") or options.get("help") or ""
    record(Number(label, str(value), "" if delta is None else str(delta), str(about)))


def saved_only(body: str, kind: Kind = "caption") -> None:
    """Only in the saved page."""
    _text(kind, body)


def chosen(label: str, value: object) -> None:
    """Only in the saved page: what a widget was set to, where nothing else says it."""
    saved_only(f"{label}: **{value}**")


@contextmanager
def expander(label: str, **options: Any) -> Iterator[None]:
    """Folded on the page and in the saved one."""
    page, label = current(), harmless(label)
    with st.expander(label, **options):
        if page is None:
            yield
        else:
            with page.fold(label):
                yield
