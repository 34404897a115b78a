"""Streamlit's elements, and the one door to them: whatever an element would read as Markdown has passed `harmless` before.

Pages call `ui.button`, `ui.caption` and so on with Streamlit's own names and arguments, and place them with `with column:`.
Only what lays out (`st.columns`, `st.container`) and what shows text as it is (`st.code`, `st.json`, `st.text`) is called
directly; a test over the syntax trees keeps it so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis.harmless import harmless, harmless_figure
from analysis.html_page import asset
from dashboard.i18n import language

if TYPE_CHECKING:  # the types of Streamlit's own
    from streamlit import (
        Page,
        badge,
        button,
        caption,
        checkbox,
        data_editor,
        dialog,
        download_button,
        error,
        expander,
        file_uploader,
        info,
        markdown,
        metric,
        multiselect,
        number_input,
        plotly_chart,
        popover,
        progress,
        segmented_control,
        selectbox,
        slider,
        spinner,
        subheader,
        success,
        text_area,
        text_input,
        title,
        toggle,
        warning,
    )

    dataframe, table = st.dataframe, st.table

WORDS = frozenset({"label", "body", "help", "text", "caption", "delta", "delta_description", "placeholder", "title"})
"""Arguments that an element reads as Markdown, or shows as they are. What is typed into a field (`value`) stays as it is."""
MORE: dict[str, frozenset[str]] = {"metric": frozenset({"value"})}
OPTIONS_ARE_MARKDOWN = frozenset({"segmented_control"})
CHOSEN_BY_LABEL = frozenset({"multiselect", "selectbox"})
"""The browser sends the option's label: in another language than it was chosen in, no option has that label any more."""


def _keep(key: str | None) -> None:
    """What was chosen stays chosen, and what was open open, when the language changes: it is set anew, before the labels are
    others."""
    if key is None:
        return
    spoken = f"{key}: language"
    if st.session_state.get(spoken, language()) != language() and key in st.session_state:
        st.session_state[key] = st.session_state[key]
    st.session_state[spoken] = language()


def _option(format_func: Callable[[Any], str] | None) -> Callable[[Any], str]:
    return lambda option: harmless(str(option if format_func is None else format_func(option)))


def _columns(config: Any) -> Any:
    """A table's heads and tooltips."""
    if not isinstance(config, dict):
        return config
    return {
        column: {k: harmless(v) if k in WORDS and isinstance(v, str) else v for k, v in one.items()}
        if isinstance(one, dict)
        else harmless(one)
        if isinstance(one, str)
        else one
        for column, one in config.items()
    }


def _cells(rows: Any) -> Any:
    """A static table reads Markdown in its cells and heads."""

    def plain(value: Any) -> Any:
        return harmless(value) if isinstance(value, str) else value

    out = rows.map(plain)
    out.columns, out.index = out.columns.map(plain), out.index.map(plain)
    return out


def _door(name: str) -> Callable[..., Any]:
    element = getattr(st, name)
    order = list(inspect.signature(element).parameters)
    words = WORDS | MORE.get(name, frozenset())

    def plain(argument: str, value: Any) -> Any:
        if argument in words and isinstance(value, str):
            return harmless(value)
        if argument == "column_config":
            return _columns(value)
        if name == "plotly_chart" and argument == "figure_or_data":
            return harmless_figure(value)
        return _cells(value) if name == "table" and argument == "data" else value

    @wraps(element)
    def through(*given: Any, **options: Any) -> Any:
        given = tuple(plain(argument, value) for argument, value in zip(order, given, strict=False))
        options = {argument: plain(argument, value) for argument, value in options.items()}
        if (name in CHOSEN_BY_LABEL and options.get("format_func") is not None) or name == "expander":
            _keep(options.get("key"))
        if name in OPTIONS_ARE_MARKDOWN:
            options["format_func"] = _option(options.get("format_func"))
        return getattr(st, name)(*given, **options)

    return through


if not TYPE_CHECKING:
    badge, button, caption, dataframe = map(_door, ("badge", "button", "caption", "dataframe"))
    dialog, download_button, error, expander = map(_door, ("dialog", "download_button", "error", "expander"))
    info, markdown, metric, multiselect = map(_door, ("info", "markdown", "metric", "multiselect"))
    number_input, plotly_chart, popover, progress = map(_door, ("number_input", "plotly_chart", "popover", "progress"))
    segmented_control, selectbox, slider, spinner = map(_door, ("segmented_control", "selectbox", "slider", "spinner"))
    subheader, success, table, text_area = map(_door, ("subheader", "success", "table", "text_area"))
    text_input, title, toggle, warning = map(_door, ("text_input", "title", "toggle", "warning"))
    checkbox, data_editor, file_uploader = map(_door, ("checkbox", "data_editor", "file_uploader"))
    Page = _door("Page")


def print_style() -> None:
    """On paper the page has neither menu nor widgets, and its blocks break between lines."""
    st.html(f"<style>{asset('dashboard', 'print.css')}</style>")


__all__ = [
    "Page", "badge", "button", "caption", "checkbox", "data_editor", "dataframe", "dialog", "download_button", "error",
    "expander", "file_uploader", "info", "markdown", "metric", "multiselect", "number_input", "plotly_chart", "popover",
    "print_style", "progress", "segmented_control", "selectbox", "slider", "spinner", "subheader", "success", "table",
    "text_area", "text_input", "title", "toggle", "warning",
]  # fmt: skip
