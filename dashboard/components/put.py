"""Streamlit's text elements for pages: the same names and arguments, and what they show is kept for the saved page too."""

from __future__ import annotations

import json as text_of
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from analysis.harmless import harmless
from dashboard import ui
from dashboard.page import Kind, Number, Text, current, record

CODE_OR_SIGN = re.compile(r"(`[^`]*`)|[$~]")


def literal(body: str) -> str:
    """Text of a page whose dollars and tildes are such: between two of them Streamlit would set a formula, or strike it out."""
    return CODE_OR_SIGN.sub(lambda m: m[1] or f"\\{m[0]}", body)


def _text(kind: Kind, body: object) -> None:
    record(Text(kind, str(body)))


def subheader(body: str, **options: Any) -> None:
    body = harmless(body)
    ui.subheader(body, **options)
    _text("heading", body)


def markdown(body: str, **options: Any) -> None:
    body = harmless(body)
    ui.markdown(literal(body), **options)
    _text("text", body)


def caption(body: str, **options: Any) -> None:
    body = harmless(body)
    ui.caption(literal(body), **options)
    _text("caption", body)


def code(body: str, **options: Any) -> None:
    st.code(body, **options)
    _text("code", body)


def json(body: Any, **options: Any) -> None:
    st.json(body, **options)
    _text("code", text_of.dumps(body, ensure_ascii=False, indent=1))


def success(body: str, **options: Any) -> None:
    body = harmless(body)
    ui.success(literal(body), **options)
    _text("success", body)


def info(body: str, *, saved: str | None = None, **options: Any) -> None:
    """`saved`: what the saved page says instead, where the screen names a customer."""
    body = harmless(body)
    ui.info(literal(body), **options)
    _text("info", body if saved is None else harmless(saved))


def warning(body: str, **options: Any) -> None:
    body = harmless(body)
    ui.warning(literal(body), **options)
    _text("warning", body)


def error(body: str, *, saved: str | None = None, **options: Any) -> None:
    """`saved`: as in `info`."""
    body = harmless(body)
    ui.error(literal(body), **options)
    _text("error", body if saved is None else harmless(saved))


def metric(label: str, value: Any, delta: Any = None, **options: Any) -> None:
    label = harmless(label)
    value, delta = (harmless(v) if isinstance(v, str) else v for v in (value, delta))
    amount, change = (literal(v) if isinstance(v, str) else v for v in (value, delta))
    ui.metric(literal(label), amount, change, **options)
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
    with ui.expander(label, **options):
        if page is None:
            yield
        else:
            with page.fold(label):
                yield
