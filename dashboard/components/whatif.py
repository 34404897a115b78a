"""The what-if panel: one intervention, before and after by task. What is tried lives in the URL."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from analysis import TaskEffect, WhatIfResult
from analysis.checks.finding import Finding
from analysis.results.whatif import Note
from dashboard import state, ui
from dashboard.components import learned, put
from dashboard.components.cards import ICONS
from dashboard.components.figure import table
from dashboard.frame import Frame
from dashboard.i18n import language, maybe, t
from dashboard.i18n.sentences import label
from ple_model.errors import UserError
from ple_model.numerals import statistic

KEY = "try"


def choose(*arguments: str) -> None:
    """Try this intervention (a callback)."""
    st.session_state[KEY] = shlex.join(arguments)


def try_finding(finding: Finding) -> None:
    """Try what the finding suggests (a callback)."""
    choose(*finding.whatif)


def active() -> bool:
    """Is there something to try, from a click or from the URL?"""
    return bool(st.session_state.get(KEY) or (KEY not in st.session_state and st.query_params.get(KEY)))


def top(frame: Frame) -> None:
    """The panel right below the verdicts once something is being tried, so that the answer to a click is in sight."""
    if active():
        panel(frame, "")


def bottom(frame: Frame, hint: str) -> None:
    """The panel at the end of the page while nothing is being tried."""
    if not active():
        panel(frame, hint)


def panel(frame: Frame, hint: str) -> None:
    """The changes, and the result once there are some. `hint` is an example in the placeholder."""
    drawn = put if active() else ui  # a saved page has no use for a panel in which nothing was tried
    drawn.subheader(t("whatif.title"), anchor="what-if")
    drawn.caption(t("whatif.help"))
    text = ui.text_input(
        t("whatif.arguments"),
        key=KEY,
        bind="query-params",
        placeholder=hint,
        icon=":material/science:",
        label_visibility="collapsed",
    )
    if not text:
        return
    try:
        with ui.spinner(t("whatif.running"), show_time=True):
            result = state.what_if(frame.run.path, tuple(shlex.split(text)), frame.data)
    except (UserError, ValueError) as e:
        put.error(str(e), icon=":material/error:")
        return
    _show(frame, result)


def warn(notes: Sequence[Note]) -> None:
    """What to know of a change itself, in one box."""
    said = [n.ko if language() == "ko" else n.en for n in notes]
    if said:
        put.warning(said[0] if len(said) == 1 else "\n".join(f"- {s}" for s in said), icon=ICONS["warning"])


def _show(frame: Frame, result: WhatIfResult) -> None:
    what = "; ".join(label(part) for part in result.intervention.split("; "))
    put.markdown(t("whatif.done", what=what, n=f"{result.n:,}", seconds=f"{result.seconds:.1f}"))
    warn(result.notes)
    silent = learned.unlearned(frame.run)
    ranked = learned.last(frame.run, sorted(result.tasks, key=_size, reverse=True), lambda e: e.task)
    measured = [e for e in ranked if e.difference is not None and e.task not in silent]
    for column, effect in zip(st.columns(3, gap="small"), measured[:3], strict=False):
        with column:
            _metric(effect)
    learned.note(frame.run)
    rows = [_row(e) | {t("whatif.task"): learned.name(frame.run, e.task)} for e in ranked]
    table(pd.DataFrame(rows), "whatif", title=t("whatif.by_task"), caption=t("whatif.by_task_help"))


def _size(effect: TaskEffect) -> float:
    d = effect.difference
    return -1.0 if d is None or math.isnan(d.value) else abs(d.value)


def _metric(effect: TaskEffect) -> None:
    d, after = effect.difference, effect.after
    if d is None or after is None:
        return
    inside = d.low <= 0 <= d.high
    put.metric(
        f"{effect.task} · {maybe(f'metric.{effect.metric}', effect.metric)}",
        statistic(after.value),
        f"{d.value:+.4f}",
        border=True,
        delta_color="off" if inside else "inverse" if effect.metric in ("mae", "rmse", "ece") else "normal",
        delta_description=t("whatif.interval", low=f"{d.low:+.4f}", high=f"{d.high:+.4f}"),
    )


def _row(e: TaskEffect) -> dict[str, object]:
    d = e.difference
    return {
        t("whatif.task"): e.task,
        t("whatif.metric"): maybe(f"metric.{e.metric}", e.metric) if e.metric else "–",
        t("whatif.before"): e.before.value if e.before else None,
        t("whatif.after"): e.after.value if e.after else None,
        t("whatif.difference"): d.value if d else None,
        t("whatif.range"): f"[{d.low:+.4f}, {d.high:+.4f}]" if d and not math.isnan(d.low) else "–",
        t("whatif.change"): e.mean_change,
        t("whatif.unit"): label(e.change_unit),
        t("whatif.flips"): None if math.isnan(e.flip_share) else e.flips,
        t("whatif.n"): e.n,
    }
