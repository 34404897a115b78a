"""The experts' map on a page: drawn by a process that the reader starts and can stop, then kept and coloured at will."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis import embedding
from analysis.figures import embedding as figures
from analysis.vectors import sampled
from dashboard import background, running, ui
from dashboard.components.figure import show
from dashboard.frame import Frame
from dashboard.i18n import t

SEED = 0
DRAWN = 5000
"""Points in the browser, the first of a shuffled order."""


def section(frame: Frame) -> None:
    """The map if it was drawn before, else how to get it."""
    found = embedding.load(frame.store, SEED)
    if found is not None:
        _map(frame, *found)
        return
    task = background.drawing(frame.store.path, SEED)
    with st.container(border=True, key="figure-experts-map"):
        ui.markdown(f"**{t('map.title')}**")
        ui.caption(t("map.none"))
        if task is None or not task.alive:
            if task is not None and task.error:
                ui.error(task.error, icon=":material/error:")
            ui.button(t("map.draw"), icon=":material/scatter_plot:", on_click=background.draw, args=(frame.store.path, SEED))
            return
        _progress(task)


@st.fragment(run_every=1.0)
def _progress(task: running.Drawing) -> None:
    if not task.alive:
        st.rerun()
    done = embedding.STAGES.index(task.stage) if task.stage in embedding.STAGES else 0
    ui.progress((done + 1) / (len(embedding.STAGES) + 1), text=t(f"map.stage_{embedding.STAGES[done]}"))
    ui.button(t("job.stop"), icon=":material/stop:", key="map-stop", on_click=task.end)


def _map(frame: Frame, row: np.ndarray, xy: np.ndarray) -> None:
    columns = frame.store.filter_columns
    colour = ui.selectbox(t("map.colour"), columns, key="map_colour", bind="query-params", width=320)
    inside = sampled(frame.store, list(dict.fromkeys((colour, "customer_id"))), frame.filters)
    where = {int(r): i for i, r in enumerate(row)}
    at = np.array([where.get(int(frame.store.vectors["row"][i]), -1) for i in inside.index], dtype=int)
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(at >= 0))[:DRAWN]
    values = inside.columns[colour][order]
    show(
        figures.points(xy[at[order]], values.astype(int) if values.dtype.kind == "b" else values, colour),
        "experts-map",
        title=t("map.title"),
        caption=t("map.help", n=f"{len(order):,}", colour=colour, seed=SEED),
        points=True,
        wide=True,
        customers=[str(c) for c in inside.columns["customer_id"][order]],
    )
