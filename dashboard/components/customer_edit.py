"""One customer with other values: a few columns in their own units, and what the model says then. What is tried lives in the
URL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.naming import said_name
from analysis.results.explanation import Explanation
from analysis.results.whatif import CustomerWhatIf, TaskMove
from analysis.wording import quantity, title
from dashboard import state, ui
from dashboard.components import cards, put, whatif
from dashboard.components.figure import table
from dashboard.frame import Frame
from dashboard.i18n import language, maybe, t
from dashboard.i18n.sentences import label
from ple_model.edits import exact
from ple_model.errors import UserError
from ple_model.money import is_money
from ple_model.numerals import Language, number
from ple_model.schema import FeatureSchema

if TYPE_CHECKING:
    from analysis.explain.customer_edit import ColumnNow

KEY = "edit"
"""In the URL."""
MOST = 16
"""At most this many columns at a time."""
SHOWN = 6
"""Tasks that are listed."""
WHOLE = ("count", "days", "flag")


def _key(name: str) -> str:
    return f"to:{name}"


def _chosen_key() -> str:
    """One widget a language: a browser holds what is chosen by its label."""
    return f"{KEY}:{language()}"


def _language() -> Language:
    return "ko" if language() == "ko" else "en"


def start(values: Mapping[str, float]) -> None:
    """Try these values (a callback), at the precision that the model reads."""
    for name, value in ((n, float(f"{v:.7g}")) for n, v in values.items()):
        if _key(name) not in st.session_state:  # a value given before its widget is drawn does not reach the URL by itself
            st.query_params[_key(name)] = exact(value)
        st.session_state[_key(name)] = value
    st.session_state[_chosen_key()] = list(values)


def clear() -> None:
    """Back to the customer's own values (a callback)."""
    for name in st.session_state.get(_chosen_key()) or ():
        st.session_state.pop(_key(name), None)
    st.session_state[_chosen_key()] = []


def panel(frame: Frame, e: Explanation) -> CustomerWhatIf | None:
    """Pick columns and give them values; what the model says then, once there are some."""
    with st.container(border=True):
        ui.markdown(f"**{t('edit.title')}**")
        ui.caption(t("edit.help"))
        names = _columns(e, frame.run.context().schema)
        try:
            now = state.customer_columns(frame.run.path, e.customer_id, tuple(names), frame.data)
            edits = {c.column.name: value for c in now if (value := _row(c)) is not None}
            if not edits:
                ui.caption(t("edit.none"))
                return None
            ui.button(t("edit.clear"), icon=":material/undo:", type="tertiary", on_click=clear)
            items = tuple(f"feature.{name}={exact(value)}" for name, value in edits.items())
            return state.customer_what_if(frame.run.path, e.customer_id, e.task, e.target, items, frame.data)
        except UserError as error:
            ui.error(str(error), icon=cards.ICONS["error"])  # may name the customer: on the screen alone
            return None


def _columns(e: Explanation, schema: FeatureSchema) -> list[str]:
    """The columns to change; those that matter for this customer are offered first."""
    first = [f.name for f in e.features]
    options = [*first, *(n for n in schema.names if n not in set(first))]

    def said(name: str) -> str:
        return f"{name} · {schema.column(name).sentence(language()).rstrip('.')}"

    if _chosen_key() not in st.session_state:
        asked = [n for n in st.query_params.get(KEY, "").split(",") if n in schema.index]
        st.session_state[_chosen_key()] = asked[:MOST] or first[:1]
    names = ui.multiselect(
        t("edit.columns"), options, key=_chosen_key(), format_func=said, max_selections=MOST, placeholder=t("edit.search"),
        label_visibility="collapsed",
    )  # fmt: skip
    # not bound: the URL would hold the labels, in the reader's language
    st.query_params[KEY] = ",".join(names)
    return names


def _row(c: ColumnNow) -> float | None:
    """One column: what it is, where it stands, and the field for its new value."""
    left, right = st.columns([3, 2], gap="small", vertical_alignment="bottom")
    unit, lang = c.column.unit, _language()
    with left:
        ui.markdown(f"{c.column.sentence(language()).rstrip('.')} `{c.column.name}`")
        if c.value is None:
            part = title(c.column.part, lang)
            ui.caption(f":orange[{cards.ICONS['unknown']}] {t('edit.absent', part=part)}")
        else:
            ui.caption(put.literal(_standing(c, quantity(c.value, unit, lang))))
    with right:
        value = ui.number_input(
            t("edit.value", unit=maybe(f"edit.unit.{unit}", unit)), value=None, key=_key(c.column.name), bind="query-params",
            step=_step(c), format="%g", placeholder="" if c.value is None else _plain(c.value),
            disabled=c.value is None,
        )  # fmt: skip
    return None if c.value is None or value is None else float(value)


def _plain(value: float) -> str:
    """At the precision that matters, never as a power of ten."""
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"


def _standing(c: ColumnNow, now: str) -> str:
    if c.constant:
        return t("edit.constant", value=now)
    if math.isnan(c.percentile):
        return t("edit.now", value=now)
    unit = c.column.unit
    low, high = (quantity(v, unit, _language()) if unit == "share" or is_money(unit) else number(v) for v in (c.low, c.high))
    who = t("edit.trained" if c.trained else "edit.sampled", n=f"{c.n:,}")
    span = t("edit.range" if c.whole else "edit.range_sample", low=low, high=high)
    return t("edit.stands", value=now, share=f"{c.percentile:.0%}", who=who, range=span)


def _step(c: ColumnNow) -> float:
    """What a press on plus adds: one where things are counted, else a hundredth of the training range, rounded."""
    span = c.high - c.low
    if c.column.unit in WHOLE or not span > 0:
        return 1.0
    return float(10.0 ** math.floor(math.log10(span / 20)))


def result(e: Explanation, found: CustomerWhatIf) -> None:
    """Before and after of the explained task, and the tasks that move most."""
    difference = found.after - found.before
    delta = (
        f"{difference * 100:+.2f} {t('edit.points')}"
        if e.score_unit == "probability"
        else e.shown(difference, _language(), signed=True)
    )
    what = "; ".join(label(part) for part in found.intervention.split("; "))
    with st.container(border=True):
        put.markdown(f"**{t('edit.done', what=what)}**")
        left, right = st.columns([2, 3], gap="medium")
        with left:
            put.metric(t("edit.before"), e.shown(found.before, _language()), border=True)
            # off: whether more of it is good depends on the task
            put.metric(t("edit.after"), e.shown(found.after, _language()), delta, border=True, delta_color="off")
            whatif.warn(found.notes)
        with right:
            moved = [m for m in found.tasks if m.distance > 0][:SHOWN]
            table(
                pd.DataFrame([_move(m) for m in moved]),
                "customer-edit",
                title=t("edit.tasks"),
                caption=t("edit.tasks_help"),
                height="content",
                column_config={t("edit.moved"): st.column_config.NumberColumn(format="%.2f")},
            )


def _move(m: TaskMove) -> dict[str, object]:
    before, after = _answer(m, m.before, m.label_before), _answer(m, m.after, m.label_after)
    return {t("edit.task"): m.task, t("edit.before"): before, t("edit.after"): after, t("edit.moved"): m.distance}


def _answer(m: TaskMove, value: float, label: str) -> str:
    if m.kind == "regression":
        return quantity(value, m.unit, _language())
    return f"{said_name(label, _language())} {value:.1%}".strip()
