"""From a mark or a row that stands for a customer to that customer's reasons: whoever is picked on a page is who the page of
reasons opens with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import state, ui
from dashboard.frame import start_with
from dashboard.i18n import t

PAGE = "why_recommended"
WHO, START = "picked", "picked_start"
"""Session keys: the customers to choose among, and what the page of reasons starts with."""
SHOWN = 300
"""So many are taken along, the first of those picked."""


def rows(figure: Any, event: Mapping[str, Any]) -> list[int]:
    """The numbers (`ids` of the traces) of the marks that are selected, each once, in the order of the figure."""
    found = set()
    for point in (event.get("selection") or {}).get("points") or ():
        curve, index = point.get("curve_number"), point.get("point_index", point.get("point_number"))
        if curve is None or index is None or not 0 <= curve < len(figure.data):
            continue
        ids = getattr(figure.data[curve], "ids", None)
        if ids is not None and 0 <= index < len(ids):
            found.add(int(ids[index]))
    return sorted(found)


def under(key: str, customers: Sequence[str], task: str = "") -> None:
    """Below what was picked from: how to pick, or how to go on."""
    found = tuple(dict.fromkeys(customers))
    if not found:
        ui.caption(t("picked.how"))
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        said = t("picked.one") if len(found) == 1 else t("picked.many", n=f"{len(found):,}")
        ui.button(said, key=f"picked-{key}", icon=":material/person_search:", on_click=open_reasons, args=(found, task))
        if len(found) > SHOWN:
            ui.caption(t("picked.cut", n=f"{SHOWN:,}"))


def open_reasons(customers: Sequence[str], task: str = "") -> None:
    """Open the page of reasons on the first of them, the others in its list (a callback)."""
    chosen = tuple(customers[:SHOWN])
    st.session_state[WHO] = chosen
    st.session_state[START] = {"customer": chosen[0], **({"why_task": task} if task else {})}
    state.go_to(PAGE)


def begin() -> None:
    """On the page of reasons, before its widgets: what was picked elsewhere is chosen here."""
    for key, value in st.session_state.pop(START, {}).items():
        start_with(key, value)


def chosen() -> tuple[str, ...]:
    """Who was picked, until the reader lets them go."""
    found: tuple[str, ...] = st.session_state.get(WHO, ())
    if found:
        said = t("picked.only_one") if len(found) == 1 else t("picked.only", n=f"{len(found):,}")
        ui.button(said, key="picked-clear", icon=":material/close:", on_click=_clear, help=t("picked.clear"))
    return found


def _clear() -> None:
    st.session_state.pop(WHO, None)
