"""From event tables to a dataset: what is wrong with them, cut-offs, labels by task before anything is built, the build."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import places, reach, ui
from dashboard.components.answer import answer
from dashboard.components.bank_form import costs, start
from dashboard.components.dataset_name import new_name
from dashboard.components.figure import table
from dashboard.data_jobs import MAX_CUTOFFS, Making, Step
from dashboard.i18n import language, t
from dashboard.i18n.sentences import say
from ple_model.tasks import TASKS

KEY = "events_folder"


def build_form() -> None:
    known = {places.short(p): p for p in places.event_folders()}
    if not known:
        ui.info(t("build.no_events"), icon=":material/table_rows:")
        return
    if st.session_state.get(KEY) not in known:
        st.session_state[KEY] = next(iter(known))
    chosen = ui.selectbox(t("build.events"), list(known), key=KEY, help=t("build.events_help"))
    events = known[chosen]
    mark = places.mark_of(events)
    checked = answer(("validate", str(events)), mark, t("build.checking"), "validate")
    if checked is None:
        return
    _faults(checked)
    if not checked["ok"]:
        return
    proposed = answer(("labels", str(events)), mark, t("build.counting"), "labels")
    if proposed is None:
        return
    cutoffs, horizon, wrong = _cutoffs(events, proposed)
    counted = None
    if not wrong:
        counted = _count(events, mark, cutoffs, horizon)
    _start(events, cutoffs, horizon, counted)


def _faults(checked: dict[str, Any]) -> None:
    ui.markdown(t("build.tables", tables=", ".join(f"{k} ({n:,})" for k, n in checked["tables"].items())))
    rows = [
        {
            t("build.severity"): t(f"severity.{f['severity']}"),
            t("build.place"): f["table"] if f["column"] is None else f"{f['table']}.{f['column']}",
            t("build.fault"): say(f["message"]),
            t("import.rows_with"): f["rows"],
            t("build.example"): f["example"],
            t("build.handling"): say(f["handling"]),
        }
        for f in checked["faults"]
    ]
    if rows:
        table(
            pd.DataFrame(rows), "event-faults", title=t("build.faults", n=len(rows)), height="content",
            column_config={t("import.rows_with"): st.column_config.NumberColumn(format="localized")},
        )  # fmt: skip


def _cutoffs(events: Path, proposed: dict[str, Any]) -> tuple[tuple[str, ...], int, bool]:
    """(the cut-offs, days of labels, whether something typed is no date)."""
    ui.caption(t("build.span", first=proposed["first"] or "–", last=proposed["last"] or "–"))
    usual = list(dict.fromkeys(proposed["cutoffs"]))
    left, right = st.columns([3, 1], gap="medium")
    with left:
        chosen = ui.multiselect(
            t("build.cutoffs"), sorted({*usual, *proposed["suggested"]}), usual, key=f"cutoffs-{places.short(events)}",
            accept_new_options=True, help=t("build.cutoffs_help"), max_selections=MAX_CUTOFFS,
        )  # fmt: skip
    with right:
        horizon = ui.number_input(
            t("build.horizon"), 1, 20_000, int(proposed["horizon_days"]), key=f"horizon-{places.short(events)}",
            help=t("build.horizon_help"),
        )  # fmt: skip
    bad = [c for c in chosen if not _is_day(c)]
    if bad:
        ui.caption(f":red[{t('build.no_date', value=bad[0])}]")
    elif not chosen:
        ui.caption(f":red[{t('build.no_cutoff')}]")
    return tuple(sorted(chosen)), int(horizon), bool(bad or not chosen)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _count(events: Path, mark: str, cutoffs: tuple[str, ...], horizon: int) -> dict[str, Any] | None:
    words = tuple(word for c in cutoffs for word in ("--cutoff", c))
    asked = ("labels", str(events), *words, "--horizon-days", str(horizon))
    counted = answer(asked, mark, t("build.counting"), "count")
    if counted is None:
        return None
    rows = [
        {
            t("overview.task"): task,
            t("datasets.what"): TASKS[task].title_ko if language() == "ko" and TASKS[task].title_ko else TASKS[task].title,
            **{t(f"split_rows.{s}"): n[s] for s in ("train", "validation", "test")},
        }
        for task, n in counted["tasks"].items()
    ]
    split = counted["rows"]
    said = {k: f"{split[k]:,}" for k in ("train", "validation", "test")}
    table(
        pd.DataFrame(rows), "counts", title=t("build.counts"), caption=t("build.counts_help", **said), height="content",
        column_config=reach.counted(),
    )  # fmt: skip
    silent = [task for task, n in counted["tasks"].items() if not n["train"]]
    if silent:
        ui.caption(t("build.silent", tasks=", ".join(f"`{x}`" for x in silent)))
    for note in counted["notes"]:
        ui.caption(f":orange[:material/info:] {say(note)}")
    return counted


def _start(events: Path, cutoffs: tuple[str, ...], horizon: int, counted: dict[str, Any] | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(border=True):
        field = f"build_name-{places.short(events)}"
        name, wrong = new_name(events.name.removesuffix("-events"), field)
        measured = ui.checkbox(
            t("datasets.with_baselines"), True, key="build_baselines", help=t("datasets.with_baselines_help")
        )
    steps: tuple[Step, ...] = ("build", "baselines") if measured else ("build",)
    making = None
    if counted is not None:
        with right, st.container(border=True, gap="xsmall"):
            ui.markdown(f"**{t('datasets.costs')}**")
            costs(steps, sum(counted["rows"].values()))
        if not wrong and counted["rows"]["train"]:
            making = Making(steps, dataset=places.dataset_at(name), events=events, cutoffs=cutoffs, horizon_days=horizon)
        elif not counted["rows"]["train"]:
            ui.caption(f":red[{t('build.no_training')}]")
    start(making, "build", field)
