"""The map of customers as an encoder sees them: worked out by a process that the reader starts and can stop, then kept."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.figures import embedding as figures
from analysis.results.sequences import LearnedMap
from analysis.sequences.learned import STAGES
from dashboard import background, ui
from dashboard.components import put
from dashboard.components.figure import show
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.running import Drawing, Wanted
from dashboard.server import read_only

DRAWN = 5000
"""Points in the browser."""


def offer(wanted: Wanted) -> None:
    """How to get the map, and how far it is."""
    task = background.encoding(wanted)
    with st.container(border=True, key="figure-sequence-map"):
        ui.markdown(f"**{t('sequences.map')}**")
        ui.caption(t("sequences.map_none"))
        if task is None or not task.alive:
            if task is not None and task.error:
                ui.error(task.error, icon=":material/error:")
            if read_only():
                ui.caption(t("sequences.map_read_only"))
                return
            ui.button(t("sequences.map_draw"), icon=":material/scatter_plot:", on_click=background.encode, args=(wanted,))
            return
        _progress(task)


@st.fragment(run_every=1.0)
def _progress(task: Drawing) -> None:
    if not task.alive:
        st.rerun()
    done = STAGES.index(task.stage) if task.stage in STAGES else 0
    ui.progress((done + 1) / (len(STAGES) + 1), text=t(f"sequences.stage_{STAGES[done]}"))
    ui.button(t("job.stop"), icon=":material/stop:", key="sequence-map-stop", on_click=task.end)


def section(frame: Frame, learned: LearnedMap) -> None:
    """The map, coloured at will; the chosen customers alone."""
    columns = frame.store.filter_columns
    require("seq_colour", columns, t("map.colour"))
    first = columns.index("segment") if "segment" in columns else 0
    colour = ui.selectbox(t("map.colour"), columns, index=first, key="seq_colour", bind="query-params", width=320)
    rows = frame.store.rows(list(dict.fromkeys(("row", "customer_id", colour))), frame.filters)
    at = {int(r): i for i, r in enumerate(learned.row)}
    found = np.array([at.get(int(r), -1) for r in rows["row"]], dtype=int)
    mine = np.flatnonzero(found >= 0)[:DRAWN]
    if not len(mine):
        put.info(t("guard.no_rows"))
        return
    values = rows[colour][mine]
    show(
        figures.points(learned.xy[found[mine]], values.astype(int) if values.dtype.kind == "b" else values, colour),
        "sequence-map",
        title=t("sequences.map"),
        caption=t("sequences.map_help", n=f"{len(mine):,}", colour=colour),
        points=True,
        wide=True,
        customers=[str(c) for c in rows["customer_id"][mine]],
    )
