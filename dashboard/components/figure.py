"""Plotly figures in the app's theme and language, and tables that can be taken away as CSV."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from analysis.figures.style import GREY
from dashboard import ui
from dashboard.components import picked
from dashboard.components.put import literal
from dashboard.i18n import t
from dashboard.i18n.sentences import label
from dashboard.page import Figure, Table, current, record

FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.,]*%?$)")
"""How a cell begins that is no plain number and that a spreadsheet would calculate."""
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
    if layout.coloraxis.colorbar.title.text:
        layout.coloraxis.colorbar.title.text = _localised(layout.coloraxis.colorbar.title.text)
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


def show(
    figure: Any, key: str, *, title: str, caption: str = "", points: bool = False, wide: bool = False, saved: str = "",
    customers: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """A titled figure in a card; the picture is saved as PNG from its own menu.

    For the saved page: `points`: its marks are single customers; `wide`: it takes the full width, as on the page; `saved`: its
    title there, where the one on the screen names a customer. `customers`: whom each mark stands for, by the number among the
    `ids` of its trace; those that are picked lead to their reasons.
    """
    with st.container(border=True, key=f"figure-{key}", gap="small"):
        ui.markdown(f"**{title}**")
        if caption:
            ui.caption(caption)
        figure.update_layout(title_text=None, margin={"l": 8, "r": 8, "t": 16, "b": 8}, colorway=palette() or None)
        figure.for_each_shape(_visible)
        config = {**CONFIG, "toImageButtonOptions": {"format": "png", "scale": 2, "filename": key}}
        if customers is None:
            ui.plotly_chart(localise(figure), key=key, config=config, alt=title)
        else:
            config["modeBarButtonsToRemove"] = ["autoScale2d"]
            figure.update_layout(dragmode="select")  # a drag draws a box; to move the picture is a button
            event = ui.plotly_chart(localise(figure), key=key, config=config, alt=title, on_select="rerun")
            picked.under(key, [customers[i] for i in picked.rows(figure, event)])
    record(Figure(key, figure, saved or title, caption, points, wide))


def csv(rows: pd.DataFrame, formats: Mapping[str, Any] | None = None, units: Mapping[str, str] | None = None) -> bytes:
    """The table as CSV that Excel opens with every script intact. Headers carry the unit: what the page shows in percent is a
    share of 1 in the file."""
    named = {str(c): _unit(str(c), formats or {}, units or {}) for c in rows.columns}
    heads = {c: f"{c} [{unit}]" for c, unit in named.items() if unit}
    return rows.rename(columns=heads).map(_no_formula).to_csv(index=False).encode("utf-8-sig")


def _no_formula(value: Any) -> Any:
    """A name out of the data that a spreadsheet would run as a formula is kept as text by the mark that spreadsheets know."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def _unit(column: str, formats: Mapping[str, Any], units: Mapping[str, str]) -> str:
    shares = ((formats.get(column) or {}).get("type_config") or {}).get("format") == "percent"
    return units.get(column) or (t("table.share") if shares else "")


def _broken(text: str) -> str:
    """Lines of a cell as Streamlit sets them: each on its own."""
    return text.replace("\n", "  \n")


def table(
    rows: pd.DataFrame,
    key: str,
    *,
    title: str = "",
    caption: str = "",
    units: Mapping[str, str] | None = None,
    customers: bool | Sequence[str] = False,
    task: str = "",
    static: bool = False,
    saved: pd.DataFrame | None = None,
    **options: Any,
) -> None:
    """A table with a CSV download beside its title.

    `units`: by column, for the file. `customers`: its rows are single customers, so a saved page leaves it out; given by id,
    those that are picked lead to their reasons, for `task` where one is given. `static`: all rows in full, the first column as
    the heads of the rows. `saved`: what a saved page shows instead, where a column names customers.
    """
    page, formats = current(), options.get("column_config") or {}
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap="small"):
        if title:
            ui.markdown(f"**{title}**", width="stretch")
        elif caption:
            ui.caption(literal(caption), width="stretch")
        ui.download_button(
            t("table.csv"),
            csv(rows, formats, units),
            f"{page.run}-{key}.csv" if page and page.run else f"{key}.csv",
            "text/csv",
            key=f"csv-{key}",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
        )
    if title and caption:
        ui.caption(literal(caption))
    if static:
        ui.table(rows.map(lambda cell: _broken(literal(cell)) if isinstance(cell, str) else cell).set_index(rows.columns[0]))
    elif not isinstance(customers, bool):
        # the browser keeps which rows are picked by the key: of other customers it would be others
        whose = zlib.crc32("\n".join(customers).encode())
        options |= {"on_select": "rerun", "selection_mode": "multi-row"}
        event = ui.dataframe(rows, hide_index=True, key=f"table-{key}-{whose:08x}", placeholder="–", **options)
        picked.under(key, [customers[i] for i in event["selection"]["rows"] if i < len(customers)], task)
    else:
        ui.dataframe(rows, hide_index=True, key=f"table-{key}", placeholder="–", **options)
    record(Table(key, rows if saved is None else saved, title, caption, formats, units or {}, customers is not False))
