"""Which reasons carry a recommendation, for whom: counted over a draw of customers by a process that the reader starts and can
stop, kept in the server's memory."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.cohort import to_url
from analysis.explain.carried import DRAWN, DRAWS
from analysis.fingerprint import data_mark, files_mark
from analysis.results.carried import CarriedReasons
from dashboard import background, ui
from dashboard.components import put
from dashboard.components.figure import table
from dashboard.components.linked import begin_choice, end_choice
from dashboard.frame import Frame
from dashboard.i18n import language, t
from dashboard.running import CarriedCounting, CarriedWanted
from ple_model.numerals import Language, share

ROW_PIXELS, HEAD_PIXELS, SEEN = 78, 38, 8
"""Three lines of text a row (in lower rows none is wrapped); of a longer table so many rows are seen at once."""


def section(frame: Frame, task: str, target: int | None) -> None:
    """What was counted, else how to have it counted. `target`: the class; None: whose number lies above the mean."""
    ui.subheader(t("carried.title"))
    sizes = [str(n) for n in DRAWS]
    begin_choice("drawn", sizes, str(DRAWN), t("carried.drawn"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        ui.selectbox(t("carried.drawn"), sizes, key="drawn", width=200, help=t("carried.drawn_help"))
        wanted = _wanted(frame, task, target, int(end_choice("drawn", str(DRAWN))))
        known, other = background.counting(wanted), background.another_counting(wanted)
        found = None if known is None else known.result
        if found is None and (known is None or not known.alive):
            ui.button(
                t("carried.count"), key="carried-count", icon=":material/play_arrow:", disabled=other is not None,
                on_click=background.count_reasons, args=(wanted,),
            )  # fmt: skip
    if found is not None:
        _found(found)
        return
    ui.caption(t("carried.help"))
    if known is not None and not known.alive and known.error:
        ui.error(t("carried.failed", reason=known.error), icon=":material/error:")
    running = known if known is not None and known.alive else other
    if running is not None:
        _progress(running, running is other)


def _wanted(frame: Frame, task: str, target: int | None, n: int) -> CarriedWanted:
    mark = files_mark(frame.run.path) + data_mark(frame.data) + frame.store.mark
    return CarriedWanted(frame.run.path, frame.data, frame.store.path, task, target, to_url(frame.filters), n, mark)


@st.fragment(run_every=1.0)
def _progress(task: CarriedCounting, other: bool) -> None:
    if not task.alive:
        st.rerun()
    with st.container(border=True):
        said = t("carried.other") if other else t("carried.starting")
        if task.total:
            said = t("carried.other_done" if other else "carried.done", n=task.done, of=task.total)
        ui.progress(task.done / task.total if task.total else 0.0, text=said)
        ui.button(t("job.stop"), icon=":material/stop:", key="carried-stop", on_click=task.end)


def _found(found: CarriedReasons) -> None:
    spoken: Language = "ko" if language() == "ko" else "en"
    put.saved_only(t("carried.title"), "heading")
    put.markdown(f"**{found.group_said(spoken)}**")
    if found.unskilled:
        put.warning(found.unskilled_said(spoken), icon=":material/block:")
        return
    put.markdown(found.drawn_said(spoken))
    for said in filter(None, (found.without_said(spoken), found.unsaid_said(spoken))):
        put.caption(said)
    if not found.reasons:
        return
    _reasons(found, spoken)
    _cases(found, spoken)


def _reasons(found: CarriedReasons, spoken: Language) -> None:
    points = found.score_unit == "probability"
    effect = t("carried.effect_points" if points else "carried.effect")
    rows = pd.DataFrame(
        [
            {
                t("carried.reason"): r.said(spoken),
                t("carried.customers"): r.count,
                t("carried.share"): r.count / found.told,
                t("groups.skill_range"): f"{share(r.low)} … {share(r.high)}",
                effect: 100 * r.effect if points else found.effect_said(r.effect, spoken),
                t("carried.usual"): r.way(spoken),
                t("carried.examples"): ", ".join(r.examples),
            }
            for r in found.reasons
        ]
    )
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    columns = {
        t("carried.reason"): text(width=165),
        t("carried.customers"): number(width=80),
        t("carried.share"): number(format="percent", width=65),
        t("groups.skill_range"): text(width=95),
        effect: number(format="%+.1f", width=100) if points else text(width=100),
        t("carried.usual"): text(width=195),
        t("carried.examples"): text(width=100),
    }
    table(
        rows, "carried", title=t("carried.reasons"), caption=t("carried.reasons_help", n=f"{found.told:,}"),
        height="content" if len(rows) <= SEEN else HEAD_PIXELS + SEEN * ROW_PIXELS, column_config=columns,
        row_height=ROW_PIXELS, saved=rows.drop(columns=t("carried.examples")),
    )  # fmt: skip


def _cases(found: CarriedReasons, spoken: Language) -> None:
    rows = pd.DataFrame(
        [
            {
                t("why.customer"): c.customer_id,
                t("carried.prediction"): found.shown(c.prediction, spoken),
                t("carried.first"): c.facts[spoken == "ko"],
                t("carried.its_effect"): found.effect_said(c.effect, spoken),
            }
            for c in found.cases
        ]
    )
    text = st.column_config.TextColumn
    columns = {
        t("why.customer"): text(width=110), t("carried.prediction"): text(width=90), t("carried.first"): text(width=620),
        t("carried.its_effect"): text(width=110),
    }  # fmt: skip
    table(
        rows, "carried-cases", title=t("carried.cases"), caption=t("carried.cases_help"), height="content",
        column_config=columns, row_height=ROW_PIXELS, customers=[c.customer_id for c in found.cases], task=found.task,
    )  # fmt: skip
