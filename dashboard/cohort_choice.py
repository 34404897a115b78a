"""The choice of customers in the toolbar: segments, clusters and a column's values, kept in the URL, and said in words."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis import AnalysisStore, CohortFilter
from analysis.stats.base import MIN_ROWS
from dashboard import ui
from dashboard.components import put
from dashboard.components.linked import require
from dashboard.i18n import t
from ple_model.errors import UserError

NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "BIGINT", "HUGEINT")


def cohort_filter(store: AnalysisStore) -> tuple[CohortFilter, ...]:
    """The cohort widgets, in a popover; the filters they stand for."""
    filters: list[CohortFilter] = []
    with ui.popover(t("frame.cohort"), icon=":material/group:", help=t("frame.cohort_help")):
        for column, key in (("segment", "segment"), ("cluster", "cluster")):
            if column in store.columns:
                keep_in_url(key)
                options = sorted((v for v, _ in store.distinct(column)), key=lambda v: (isinstance(v, str), v))
                require(key, options, t(f"frame.{column}"))
                chosen = ui.multiselect(t(f"frame.{column}"), options, key=key, bind="query-params", format_func=str)
                if chosen:
                    filters.append(CohortFilter(column, "in", tuple(chosen)))
        columns = [c for c in store.filter_columns if c not in ("segment", "cluster")]
        require("column", columns, t("frame.column"))
        keep_in_url("column")
        other = ui.selectbox(
            t("frame.column"), columns, index=None, key="column", bind="query-params", placeholder=t("frame.column_none")
        )
        if other is not None:
            filters += _column_filter(store, other)
        ui.button(t("frame.clear"), on_click=clear_cohort, width="stretch", disabled=not filters)
    ui.badge(cohort_words(store, filters), color="blue" if filters else "gray")
    return tuple(filters)


def keep_in_url(key: str) -> None:
    """Write a bound value back to the URL after a change of page: the browser does so only for widgets it has drawn, and the
    inside of a closed popover is not."""
    if key in st.session_state:
        st.session_state[key] = st.session_state[key]


def cohort_words(store: AnalysisStore, filters: Sequence[CohortFilter]) -> str:
    """How many rows, and of how many customers: with several cut-offs a customer has several rows."""
    customers = f"{store.customers(filters):,}"
    if not filters:
        return t("frame.cohort_all", n=f"{store.n:,}", customers=customers)
    return t("frame.cohort_some", n=f"{store.count(filters):,}", total=f"{store.n:,}", customers=customers)


def _column_filter(store: AnalysisStore, column: str) -> list[CohortFilter]:
    kind = store.columns[column].upper()
    if any(kind.startswith(k) or kind.endswith("INT") or kind.endswith("INTEGER") for k in NUMBERS):
        edges, _ = store.histogram(column, bins=1)
        low, high = float(edges[0]), float(edges[-1])
        if not low < high:
            return []
        keep_in_url(f"range:{column}")
        chosen = ui.slider(t("frame.range"), low, high, (low, high), key=f"range:{column}", bind="query-params")
        return [CohortFilter(column, "between", chosen)] if chosen != (low, high) else []
    keep_in_url(f"value:{column}")
    values = [v for v, _ in store.distinct(column)]
    picked = ui.multiselect(t("frame.values"), values, key=f"value:{column}", bind="query-params", format_func=str)
    return [CohortFilter(column, "in", tuple(picked))] if picked else []


def clear_cohort() -> None:
    """All customers again (a callback)."""
    for key in ("segment", "cluster"):
        st.session_state[key] = []
    st.session_state["column"] = None


def cohort_note(store: AnalysisStore, filters: Sequence[CohortFilter]) -> None:
    """Stops the page where nobody is chosen or the choice cannot be counted; says so where too few are."""
    try:
        n = store.count(filters)
    except UserError as e:
        ui.error(str(e), icon=":material/error:")
        st.stop()
    if filters and n == 0:
        ui.warning(t("frame.cohort_empty"), icon=":material/filter_alt_off:")
        ui.button(t("frame.clear"), key="clear-empty", on_click=clear_cohort)
        st.stop()
    if n < MIN_ROWS:
        put.info(t("guard.few_rows", n=n, minimum=MIN_ROWS), icon=":material/help:")
