"""Plotly figures in the app's theme and language, and tables that can be taken away as CSV."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analysis.figures.style import GREY
from dashboard.i18n import t
from dashboard.i18n.sentences import label

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "toImageButtonOptions": {"format": "png", "scale": 2},
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


def _localised(text: Any) -> Any:
    """A figure's label in the session's language: the catalogue maps the English text of `analysis.figures`."""
    return label(text) if isinstance(text, str) else text


def localise(figure: Any) -> Any:
    """Titles, axis titles, legend names, colour bars and annotations of a figure, in place."""
    layout = figure.layout
    if layout.title.text:
        layout.title.text = _localised(layout.title.text)
    for name in layout:
        if str(name).startswith(("xaxis", "yaxis")) and layout[name].title.text:
            layout[name].title.text = _localised(layout[name].title.text)
    for note in layout.annotations:
        note.text = _localised(note.text)
    for trace in figure.data:
        if trace.name:
            trace.name = _localised(trace.name)
        bar = getattr(trace, "colorbar", None)
        if bar is not None and bar.title.text:
            bar.title.text = _localised(bar.title.text)
    return figure


def _visible(shape: Any) -> None:
    """Reference lines are drawn in a grey that both modes show."""
    if shape.line.color is None:
        shape.line.color = GREY


def palette() -> list[str]:
    """The theme's categorical colours for the reader's light or dark mode."""
    mode = "dark" if st.context.theme.type == "dark" else "light"
    colours = st.get_option(f"theme.{mode}.chartCategoricalColors") or st.get_option("theme.chartCategoricalColors")
    return list(colours or [])


def show(figure: Any, key: str, *, title: str, caption: str = "") -> None:
    """A titled figure in a card; the picture is saved as PNG from its own menu."""
    with st.container(border=True, key=f"figure-{key}", gap="small"):
        st.markdown(f"**{title}**")
        if caption:
            st.caption(caption)
        figure.update_layout(title_text=None, margin={"l": 8, "r": 8, "t": 16, "b": 8}, colorway=palette() or None)
        figure.for_each_shape(_visible)
        st.plotly_chart(
            localise(figure),
            key=key,
            config={**CONFIG, "toImageButtonOptions": {"format": "png", "scale": 2, "filename": key}},
            alt=title,
        )


def table(rows: pd.DataFrame, key: str, *, title: str = "", caption: str = "", **options: Any) -> None:
    """A table with a CSV download beside its title."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap="small"):
        if title:
            st.markdown(f"**{title}**", width="stretch")
        elif caption:
            st.caption(caption, width="stretch")
        st.download_button(
            t("table.csv"),
            rows.to_csv(index=False).encode(),
            f"{key}.csv",
            "text/csv",
            key=f"csv-{key}",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
        )
    if title and caption:
        st.caption(caption)
    st.dataframe(rows, hide_index=True, key=f"table-{key}", placeholder="–", **options)
