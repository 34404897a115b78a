"""Who is recommended it, group by group: rates, what came of them, and skill, by segment and by what may not be a reason; and
what carries the recommendation."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from analysis.groups import COUNTED, RAW, UNKNOWN, groupings
from analysis.naming import said_name
from dashboard import state, ui
from dashboard.components import carried, put
from dashboard.components.figure import table
from dashboard.components.find_customer import class_names
from dashboard.components.linked import begin_choice, end_choice
from dashboard.frame import Frame
from dashboard.i18n import language, maybe, t
from ple_model.numerals import Language, statistic


def section(frame: Frame, task: str) -> None:
    """One table of groups, with how far they are apart."""
    kind = frame.statistics.facts.kinds[task]
    if kind not in COUNTED:
        put.info(t("groups.not_counted"))
        return
    by = groupings(frame.store)
    names = class_names(frame, task)
    begin_choice("by", by, by[0], t("groups.by"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        ui.selectbox(t("groups.by"), by, format_func=_titled, key="by", width=200)
        column = end_choice("by", by[0])
        target = _target(frame, task, names)
    if frame.run.context().own is not None:
        put.caption(t("groups.own"))
    found = state.group_rates(frame.store, task, kind, target, column, frame.filters)
    if not found.rates.groups:
        put.info(t("groups.none"))
        return
    counted = "groups.counted" if target is not None else "groups.above"
    put.caption(t(counted, n=f"{found.rows:,}", learned=f"{found.learned:,}"))
    with st.container(horizontal=True, gap="small"):
        r = found.rates
        for name, value in (("difference", r.difference), ("ratio", r.ratio), ("hits", r.hit_difference)):
            told = statistic(value) if name == "ratio" else t("groups.points", n=f"{100 * value:.1f}")
            shown = "–" if math.isnan(value) else told
            put.metric(t(f"groups.{name}"), shown, border=True, help=t(f"groups.{name}_help"))
    rows = []
    for g in found.rates.groups:
        skill = found.skill.get(g.group)
        rows.append(
            {
                t("groups.group"): _group(g.group),
                t("groups.customers"): g.n,
                t("groups.rate"): g.rate.value,
                t("groups.low"): g.rate.low,
                t("groups.high"): g.rate.high,
                t("groups.outcome"): g.outcome,
                t("groups.hit"): g.hit,
                t("groups.skill"): None if skill is None else skill.skill.value,
                t("groups.skill_range"): "–" if skill is None else f"{skill.skill.low:.3f} … {skill.skill.high:.3f}",
            }
        )
    number = st.column_config.NumberColumn
    formats = {t(f"groups.{n}"): number(format="percent") for n in ("rate", "low", "high", "outcome", "hit")}
    formats |= {t("groups.skill"): number(format="%.3f", help=t("groups.skill_help"))}
    shown_rows = pd.DataFrame(rows)
    table(shown_rows, "groups", title=t("groups.title"), caption=t("groups.help"), height="content", column_config=formats)
    carried.section(frame, task, target)


def _target(frame: Frame, task: str, names: tuple[str, ...]) -> int | None:
    """The class that is counted; the one most often recommended unless another is chosen."""
    if not names:
        return None
    rows = frame.store.rows([f"c:{task}"], frame.filters)[f"c:{task}"].astype(float)
    known = rows[rows >= 0].astype(int)
    default = int(pd.Series(known).mode()[0]) if len(known) else 0
    options = [str(i) for i in range(len(names))]
    begin_choice("counted", options, str(default), t("groups.counted_class"))
    ui.selectbox(
        t("groups.counted_class"),
        options,
        format_func=lambda o: said_name(names[int(o)], _language()),
        key="counted",
        width=200,
    )
    return int(end_choice("counted", str(default)))


def _group(name: str) -> str:
    """A group by its name in the reader's language; customers of whom the fact is not known are a group of their own."""
    return t("groups.unknown") if name == UNKNOWN else maybe(f"segment_name.{name}", said_name(name, _language()))


def _titled(column: str) -> str:
    name = column.removeprefix(RAW)
    return maybe(f"groups.column.{name}", name.replace("_", " "))


def _language() -> Language:
    return "ko" if language() == "ko" else "en"
