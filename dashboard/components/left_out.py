"""Rows of a source that cannot be read: which they are, and to leave them out by a click, which the map keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import access, ui
from dashboard.components.figure import table
from dashboard.i18n import t
from ple_model.data.importers.row_numbers import named, with_rows
from ple_model.data.importers.source_map import SourceMap, TableMap
from ple_model.data.importers.write_map import save_map
from ple_model.errors import UserError

TABLE = "transactions"
ERROR = "left_out_error"
CHOSEN_ONE_BY_ONE = 30
"""Faulty rows that can be chosen from one by one; of more all are left out, or none."""


def left_out(found: dict[str, Any], mapping: SourceMap, path: Path) -> None:
    """What a preview says cannot be read, and the rows that the map leaves out already."""
    if said := st.session_state.pop(ERROR, None):
        ui.error(said, icon=":material/error:")
    if found["faults"]:
        _faults(found["faults"])
        _offer(found["faults"], mapping, path)
    _already(mapping, path)


def _faults(faults: list[dict[str, Any]]) -> None:
    shown = pd.DataFrame(faults)
    shown["value"] = shown["value"].replace("", t("import.is_missing"))
    shown.columns = [t(f"import.fault_{c}") for c in shown.columns]
    table(
        shown, "faults", title=t("import.faults", n=len(shown)), caption=t("import.faults_help"), customers=True,
        height="content" if len(shown) <= 8 else 320,
        column_config={t("import.fault_row"): st.column_config.NumberColumn(format="localized", width="small")},
    )  # fmt: skip


def _offer(faults: list[dict[str, Any]], mapping: SourceMap, path: Path) -> None:
    rows = list(dict.fromkeys((str(f["file"]), int(f["row"])) for f in faults))
    one_file, chosen = len({file for file, _ in rows}) == 1, rows
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if 1 < len(rows) <= CHOSEN_ONE_BY_ONE:
            chosen = ui.multiselect(
                t("import.leave_out"), rows, rows, key=f"leave-out-{path.stat().st_mtime_ns}", help=t("import.leave_out_help"),
                format_func=lambda r: f"{r[1]:,}" if one_file else f"{r[0]}: {r[1]:,}",
            )  # fmt: skip
        ui.button(
            t("import.leave_out_start", n=f"{len(chosen):,}"), key="leave-out-all", icon=":material/playlist_remove:",
            disabled=not chosen, help=t("import.leave_out_help"), on_click=_keep, args=(mapping, path, tuple(chosen)),
        )  # fmt: skip


def _already(mapping: SourceMap, path: Path) -> None:
    rows = mapping.tables.get(TABLE, TableMap()).leave_out
    if not rows:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        ui.caption(t("import.left_out", n=f"{sum(map(len, rows.values())):,}", rows=named(rows)))
        ui.button(
            t("import.take_back"), key="take-back", icon=":material/undo:", type="tertiary", on_click=_keep,
            args=(mapping, path, None),
        )  # fmt: skip


def _keep(mapping: SourceMap, path: Path, rows: tuple[tuple[str, int], ...] | None) -> None:
    """Write it into the map (a callback): these rows too, or none any more."""
    one = mapping.tables.get(TABLE, TableMap())
    wanted = {} if rows is None else with_rows(one.leave_out, rows)
    try:
        access.require()
        save_map(replace(mapping, tables={**mapping.tables, TABLE: replace(one, leave_out=wanted)}), path)
    except (UserError, OSError) as e:
        st.session_state[ERROR] = str(e)
