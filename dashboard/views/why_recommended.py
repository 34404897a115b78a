"""Why recommended: why this, for this customer, and how far can the answer be trusted?"""

from __future__ import annotations

import random

import numpy as np
import streamlit as st

from analysis.explain.lookup import Undefined, default_task
from dashboard import state, ui
from dashboard.components import explanation, put
from dashboard.components.linked import require
from dashboard.frame import Frame, start_with
from dashboard.i18n import language, t
from dashboard.view import View
from ple_model.errors import UserError

LISTED = 300
ORDERS = ("file", "score", "uncertainty")


def _customers(frame: Frame, task: str, order: str) -> list[str]:
    """Up to `LISTED` of the chosen customers: as stored, by score, or the least certain first."""
    column = {"score": f"p:{task}", "uncertainty": f"u:{task}"}.get(order)
    columns = ["customer_id"] + ([column] if column in frame.store.columns else [])
    rows = frame.store.rows([c for c in columns if c], frame.filters)
    ids = rows["customer_id"]
    if len(columns) > 1:
        ids = ids[np.argsort(-rows[columns[1]].astype(float), kind="stable")]
    return list(dict.fromkeys(str(i) for i in ids))[:LISTED]


def _draw(options: list[str]) -> None:
    st.session_state["customer"] = random.choice(options)


def render(frame: Frame) -> None:
    facts = frame.statistics.facts
    default = facts.tasks.index(default_task(frame.run))
    require("why_task", facts.tasks, t("why.task"))
    require("order", ORDERS, t("why.order"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        task = ui.selectbox(t("why.task"), facts.tasks, index=default, key="why_task", bind="query-params", width=200)
        order = ui.selectbox(t("why.order"), ORDERS, key="order", bind="query-params", width=140, help=t("why.order_help"))
        options = _customers(frame, task, order)
        if "customer" not in st.session_state and "customer" not in st.query_params and options:
            start_with("customer", options[0])
        asked = st.session_state.get("customer") or st.query_params.get("customer")
        shown = options if asked in options or not asked else [asked, *options]
        customer = ui.selectbox(t("why.customer"), shown, index=None, key="customer", bind="query-params", width=200,
                                accept_new_options=True, help=t("why.customer_help"))  # fmt: skip
        ui.button(t("why.random"), icon=":material/casino:", on_click=_draw, args=(options,), disabled=not options)
    if not customer:
        put.info(t("why.choose"))
        return
    try:
        with ui.spinner(t("why.working"), show_time=True):
            found = state.explanation(frame.run.path, customer, task, frame.data)
    except Undefined as e:
        condition = e.condition.ko if language() == "ko" else e.condition.en
        put.info(t("why.undefined", condition=condition), icon=":material/block:")
        return
    except UserError as e:
        put.error(str(e), icon=":material/error:")
        return
    explanation.headline(found)
    if found.unskilled:
        explanation.withheld(frame, found)
        return
    explanation.reasons(found)
    explanation.alternatives(frame, found)
    explanation.evidence(found)


VIEW = View("why_recommended", "understand", 2, ":material/person_search:", "analysis", render)
