"""Why recommended: why this, for this customer, and how far can the answer be trusted?"""

from __future__ import annotations

import streamlit as st

from analysis.explain.lookup import Undefined, default_task
from analysis.results.explanation import Explanation
from dashboard import state, ui
from dashboard.components import explanation, find_customer, groups, picked, plain, put, report
from dashboard.components.linked import begin_choice, end_choice, require
from dashboard.frame import Frame
from dashboard.i18n import language, t
from dashboard.view import View
from ple_model.errors import UserError

READERS = ("full", "plain", "groups")
"""For an analyst, for a business reviewer, and all customers by group."""


def _asks() -> str:
    """Of one customer, of two side by side, or of groups."""
    reader, beside = (st.session_state.get(k) or st.query_params.get(k) for k in ("reader", "beside"))
    return "question_groups" if reader == "groups" else "question_two" if reader == "plain" and beside else "question"


def _explained(frame: Frame, customer: str, task: str) -> Explanation | None:
    """None, once the page says why, where there is nothing to explain."""
    try:
        with ui.spinner(t("why.working"), show_time=True):
            return state.explanation(frame.run.path, customer, task, frame.data)
    except Undefined as e:
        condition = e.condition.ko if language() == "ko" else e.condition.en
        put.info(t("why.undefined", condition=condition), icon=":material/block:")
    except UserError as e:
        said = t("export.no_customer", customer=report.mask_of(frame)(customer))
        put.error(str(e), icon=":material/error:", saved=said)  # the sentence names the id, or others like it
    return None


def render(frame: Frame) -> None:
    tasks = frame.statistics.facts.tasks
    picked.begin()
    require("why_task", tasks, t("why.task"))
    begin_choice("order", find_customer.ORDERS, find_customer.ORDERS[0], t("why.order"))
    begin_choice("reader", READERS, READERS[0], t("why.reader"))
    ui.segmented_control(
        t("why.reader"), READERS, format_func=lambda r: t(f"why.reader_{r}"), key="reader", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    reader = end_choice("reader", READERS[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        default = tasks.index(default_task(frame.run))
        task = ui.selectbox(t("why.task"), tasks, index=default, key="why_task", bind="query-params", width=140)
        customer = None if reader == "groups" else find_customer.chosen(frame, task)
        other = find_customer.other(frame, task, customer) if reader == "plain" else None
    if reader == "groups":
        groups.section(frame, task)
        return
    if not customer:
        put.info(t("why.choose"))
        return
    found = _explained(frame, customer, task)
    if found is None:
        return
    if reader == "plain":
        second = _explained(frame, other, task) if other else None
        plain.page(frame, found) if second is None else plain.beside(frame, found, second)
        return
    explanation.headline(frame, found)
    if found.unskilled:
        explanation.withheld(frame, found)
        return
    explanation.reasons(found)
    explanation.alternatives(frame, found)
    explanation.evidence(frame, found)


VIEW = View("why_recommended", "understand", 2, ":material/person_search:", "analysis", render, _asks)
