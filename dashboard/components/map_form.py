"""The map of a source as a table to correct: which of its columns is which of ours, how values are written, which is which
category. What is corrected is written to the map's file at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import access, places, ui
from dashboard.i18n import language, maybe, t
from dashboard.i18n.sentences import say
from ple_model.data.importers.source_map import IMPORTABLE, OPEN, SourceMap, TableMap, load_map
from ple_model.data.importers.write_map import map_text, save_map, write_map
from ple_model.errors import UserError
from ple_model.staging import staged_file

TABLE = "transactions"
NONE = "–"
THOUSANDS = ("", ",", ".", " ", "'")


def map_form(source: Path, path: Path, mapping: SourceMap, looks: dict[str, str], read: dict[str, dict[str, Any]]) -> None:
    """Draw the map; `looks`: the source's columns, `read`: what a preview says of ours."""
    table = mapping.tables.get(TABLE, TableMap())
    edited = _writing(_columns(table, looks, read, path), path)
    edited = _words(edited, path)
    if edited != table:
        _save(replace(mapping, tables={**mapping.tables, TABLE: edited}), path)
    _yaml(source, mapping, path)


def _mark(path: Path) -> str:
    """Changes with the file, so that the widgets show what it holds, and with the language, so that they say it in it."""
    return f"{path.stat().st_mtime_ns}-{language()}"


def _columns(table: TableMap, looks: dict[str, str], read: dict[str, dict[str, Any]], path: Path) -> TableMap:
    sources = list(looks)
    rows = []
    for column in IMPORTABLE[TABLE].columns:
        originals = table.columns.get(column.name, (column.name,) if column.name in looks else ())
        found = read.get(column.name)
        rows.append(
            {
                "ours": column.name,
                "means": maybe(f"import.column.{column.name}", column.name) + (" *" if column.required or column.key else ""),
                "first": originals[0] if originals else NONE,
                "second": originals[1] if len(originals) > 1 else NONE,
                "looks": say(looks.get(originals[0], "")) if originals else "",
                "filled": found["filled"] if found else None,
                "empty": found["empty"] if found else None,
                "lost": found["lost"] if found else None,
            }
        )
    config: dict[str, Any] = {
        "ours": st.column_config.TextColumn(t("import.ours"), disabled=True, width=90),
        "means": st.column_config.TextColumn(t("import.means"), disabled=True, width=140),
        "first": st.column_config.SelectboxColumn(t("import.theirs"), options=[NONE, OPEN, *sources], required=True, width=115),
        "second": st.column_config.SelectboxColumn(t("import.joined"), options=[NONE, *sources], required=True, width=90),
        "looks": st.column_config.TextColumn(t("import.looks"), disabled=True, width=240),
        "filled": st.column_config.NumberColumn(t("import.filled"), disabled=True, format="localized", width=55),
        "empty": st.column_config.NumberColumn(t("import.empty"), disabled=True, format="localized", width=50),
        "lost": st.column_config.NumberColumn(t("import.lost"), disabled=True, format="localized", width=65),
    }
    ui.markdown(f"**{t('import.columns')}**")
    ui.caption(t("import.columns_help"))
    shown = pd.DataFrame(rows)
    out = ui.data_editor(
        shown, hide_index=True, key=f"map-{_mark(path)}", column_config=config, height="content", placeholder="–"
    )
    columns = {}
    for before, row in zip(rows, out.to_dict("records"), strict=True):
        name = str(row["ours"])
        if (row["first"], row["second"]) == (before["first"], before["second"]):
            if name in table.columns:  # as it stands, more than two joined columns included
                columns[name] = table.columns[name]
        elif row["first"] not in (NONE, None):
            columns[name] = (str(row["first"]), *([str(row["second"])] if row["second"] not in (NONE, None) else []))
    extra = {c: o for c, o in table.columns.items() if c not in {r["ours"] for r in rows}}
    return replace(table, columns={**columns, **extra})


def _writing(table: TableMap, path: Path) -> TableMap:
    """How dates and numbers are written."""
    mark = _mark(path)
    one, two, three, four = st.columns([3, 2, 2, 3], vertical_alignment="bottom")
    with one:
        date = ui.text_input(
            t("import.date_format"), table.formats.get("ts", ""), key=f"format-{mark}", placeholder="2024-07-01",
            help=t("import.date_format_help"),
        )  # fmt: skip
    with two:
        marks = [OPEN, *THOUSANDS] if table.thousands == OPEN else list(THOUSANDS)
        thousands = ui.selectbox(
            t("import.thousands"), marks, marks.index(table.thousands), key=f"thousands-{mark}", format_func=_sign
        )
    with three:
        points = [OPEN, ".", ","] if table.decimal == OPEN else [".", ","]
        decimal = ui.selectbox(t("import.decimal"), points, points.index(table.decimal), key=f"decimal-{mark}")
    with four:
        signs = ["positive", "negative", *([OPEN] if table.spending == OPEN else [])]
        spending = ui.selectbox(
            t("import.spending"), signs, signs.index(table.spending), key=f"spending-{mark}",
            format_func=lambda s: maybe(f"import.sign.{s}", s), help=t("import.spending_help"),
        )  # fmt: skip
    drop = ui.checkbox(t("import.drop"), table.drop_incomplete, key=f"drop-{mark}", help=t("import.drop_help"))
    formats = {c: f for c, f in table.formats.items() if c != "ts"} | ({"ts": date} if date else {})
    return replace(table, formats=formats, thousands=thousands, decimal=decimal, spending=spending, drop_incomplete=bool(drop))


def _sign(mark: str) -> str:
    return {"": t("import.no_mark"), " ": t("import.blank_mark")}.get(mark, mark)


def _words(table: TableMap, path: Path) -> TableMap:
    """Which of the source's words is which of ours, and which rows count."""
    mark = _mark(path)
    values = {}
    for column, pairs in table.values.items():
        allowed = next((c.allowed for c in IMPORTABLE[TABLE].columns if c.name == column), ())
        with ui.expander(t("import.values", column=column, n=len(pairs)), expanded=OPEN in pairs.values()):
            chosen = _pairs({k: NONE if v is None else v for k, v in pairs.items()}, [NONE, *allowed], f"v-{column}-{mark}")
            values[column] = {k: None if v == NONE else v for k, v in chosen.items()}
    rows = {}
    for column, rule in table.rows.items():
        with ui.expander(t("import.rows", column=column, n=len(rule)), expanded=OPEN in rule.values()):
            rows[column] = _pairs(dict(rule), ["keep", "drop"], f"r-{column}-{mark}")
    return replace(table, values=values, rows=rows)


def _pairs(pairs: dict[str, str], options: list[str], key: str) -> dict[str, str]:
    shown = pd.DataFrame({"word": list(pairs), "ours": list(pairs.values())})
    choices = [*options, *(v for v in dict.fromkeys(pairs.values()) if v not in options)]
    out = ui.data_editor(
        shown, hide_index=True, key=key,
        column_config={
            "word": st.column_config.TextColumn(t("import.word"), disabled=True),
            "ours": st.column_config.SelectboxColumn(t("import.word_means"), options=choices, required=True),
        },
    )  # fmt: skip
    return {str(r["word"]): str(r["ours"]) for r in out.to_dict("records")}


def _save(mapping: SourceMap, path: Path) -> None:
    try:
        access.require()
        save_map(mapping, path)
    except (UserError, OSError) as e:
        ui.error(str(e), icon=":material/error:")
    else:
        st.rerun()


def _yaml(source: Path, mapping: SourceMap, path: Path) -> None:
    """The whole map, for what the table does not show."""
    with ui.expander(t("import.yaml"), icon=":material/edit_note:"):
        text = ui.text_area(
            t("import.yaml"), map_text(mapping), height=340, key=f"yaml-{_mark(path)}", label_visibility="collapsed"
        )
        if ui.button(t("train.yaml_use"), key="map-yaml-use"):
            try:
                access.require()
                with staged_file(path) as temporary:
                    write_map(temporary, text)
                    if (named := places.named_outside(load_map(temporary), source)) is not None:
                        raise UserError(t("import.outside", path=named))
            except (UserError, OSError) as e:
                ui.error(str(e).replace(f".{path.name}", path.name), icon=":material/error:")
            else:
                st.rerun()
