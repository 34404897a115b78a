"""Which customer: by id, from a list of one's own, by what is recommended, by score or uncertainty."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import streamlit as st

from analysis.naming import said_name
from dashboard import state, ui
from dashboard.components import picked
from dashboard.components.linked import begin_choice, end_choice
from dashboard.frame import Frame, start_with
from dashboard.i18n import language, t
from ple_model.errors import UserError

LISTED = 300
SAMPLED, EVERY = 20_000, 2**31
"""Rows that customers are drawn from; a list is looked for among all."""
ORDERS = ("file", "score", "uncertainty")
ANY = "any"


def chosen(frame: Frame, task: str) -> str | None:
    """The customer, by a row of widgets that all but the list live in the URL."""
    recommended = _recommended(frame, task)
    ui.selectbox(
        t("why.order"), ORDERS, key="order", format_func=lambda o: t(f"why.order_{o}"), width=160, help=t("why.order_help")
    )
    order = end_choice("order", ORDERS[0])
    wanted = _list() or picked.chosen()
    every = customers(frame, task, order, recommended, wanted)
    options = every[:LISTED]
    if "customer" not in st.session_state and "customer" not in st.query_params and options:
        start_with("customer", first(frame, options))
    asked = st.session_state.get("customer") or st.query_params.get("customer")
    shown = options if asked in options or not asked else [asked, *options]
    customer: str | None = ui.selectbox(t("why.customer"), shown, index=None, key="customer", bind="query-params", width=180,
                            accept_new_options=True, help=t("why.customer_help"))  # fmt: skip
    ui.button(t("why.random"), icon=":material/casino:", on_click=_draw, args=(options,), disabled=not options)
    if len(every) > len(options):
        ui.caption(t("why.cut", shown=f"{len(options):,}", n=f"{len(every):,}"))
    return customer


def first(frame: Frame, options: list[str]) -> str:
    """Whom the page opens on: the first one who is known well enough that the answer is more than a fallback, if any is."""
    rows = frame.store.rows(("row", "customer_id", "segment"), frame.filters, SAMPLED)
    known = np.isin(rows["row"].astype(np.int64), state.latest_rows(frame.store)) & (rows["segment"] == "warm_start")
    well = set(rows["customer_id"][known].astype(str))
    return next((c for c in options if c in well), options[0])


def other(frame: Frame, task: str, customer: str | None) -> str | None:
    """Another customer to set beside; None for nobody."""
    options = [c for c in customers(frame, task, "file", None, ())[:LISTED] if c != customer]
    asked = st.session_state.get("beside") or st.query_params.get("beside")
    shown = options if asked in options or not asked else [asked, *options]
    found: str | None = ui.selectbox(
        t("why.beside"), shown, index=None, key="beside", bind="query-params", width=200, accept_new_options=True,
        help=t("why.beside_help"), placeholder=t("why.beside_none"),
    )  # fmt: skip
    return found


def customers(frame: Frame, task: str, order: str, recommended: int | None, wanted: tuple[str, ...]) -> list[str]:
    """The chosen customers: as stored, by score, or the least certain first; of a list those of it alone. Who is chosen by
    their latest row, the one that is explained. Ids of the list that the analysis does not know are kept where nothing else
    chooses: they may be in the whole dataset, where no filter can be held against them."""
    have = frame.store.columns
    by = {"score": f"p:{task}", "uncertainty": f"u:{task}"}.get(order)
    names = ["row", "customer_id", *(c for c in (by, f"c:{task}") if c is not None and c in have)]
    rows = frame.store.rows(names, frame.filters, EVERY if wanted else SAMPLED)
    keep = np.isin(rows["row"].astype(np.int64), state.latest_rows(frame.store))
    if recommended is not None and f"c:{task}" in rows:
        keep &= rows[f"c:{task}"].astype(float) == recommended
    if wanted:
        keep &= np.isin(rows["customer_id"].astype(str), wanted)
    order_by = np.argsort(-rows[by].astype(float), kind="stable") if by in rows else np.arange(len(keep))
    found = [str(i) for i in rows["customer_id"][order_by[keep[order_by]]]]
    free = recommended is None and not frame.filters
    return list(dict.fromkeys([*found, *(wanted if free else ())]))


def _recommended(frame: Frame, task: str) -> int | None:
    """The class that customers are picked by, for a task that recommends one of several; None for any."""
    names = class_names(frame, task)
    if not names:
        return None
    options = [ANY, *map(str, range(len(names)))]
    begin_choice("recommended", options, ANY, t("why.recommended"))

    def said(option: str) -> str:
        return t("why.any") if option == ANY else said_name(names[int(option)], "ko" if language() == "ko" else "en")

    ui.selectbox(t("why.recommended"), options, format_func=said, key="recommended", width=160, help=t("why.recommended_help"))
    found = end_choice("recommended", ANY)
    return None if found == ANY else int(found)


def class_names(frame: Frame, task: str) -> tuple[str, ...]:
    """Of a task that answers with one of several, as the run knows them; empty for others."""
    kinds: dict[str, Any] = frame.statistics.facts.kinds
    if kinds.get(task) != "multiclass":
        return ()
    return tuple(frame.run.context().class_names.get(task) or frame.run.config.tasks[task].classes)


def _list() -> tuple[str, ...]:
    """Ids from a file of the reader's own: they stay in this session."""
    with ui.popover(t("why.list"), icon=":material/upload_file:"):
        kinds = ["txt", "csv", "tsv", "parquet"]
        given = ui.file_uploader(t("why.list_file"), type=kinds, key="why_list", help=t("why.list_help"))
        if given is None:
            return ()
        try:
            found = state.listed_ids(given.name, given.getvalue())
        except UserError as e:
            ui.error(str(e), icon=":material/error:")  # may quote the list
            return ()
        ui.caption(t("why.listed", n=f"{len(found):,}"))
        return found


def _draw(options: list[str]) -> None:
    st.session_state["customer"] = random.choice(options)
