"""One training in the sidebar: how far it is, what it shows of itself, how it ended and what can be done."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pandas as pd
import streamlit as st

from analysis.notices import notices
from analysis.stats.training import measure
from dashboard import access, background, job_pause, state, ui
from dashboard.components.notices import in_words
from dashboard.i18n import maybe, t
from dashboard.i18n.sentences import say
from dashboard.job_end import end_of, signal_name
from dashboard.jobs import Job, progress
from dashboard.units import duration
from ple_model.errors import UserError
from ple_model.safe_text import read_object

READ_BYTES = 2 << 20
"""The last bytes of a progress file that are read for what has happened so far: a hundred epochs of the largest preset."""
SHOWN = 3
"""Notices that are shown without a click."""


def last_words(job: Job) -> str:
    """Why a training failed, as the run says it, else the last line it wrote; in English, as it is stored."""
    with suppress(UserError, OSError):
        said = read_object(job.run / "manifest.json")
        if said.get("status") == "failed" and isinstance(said.get("reason"), str):
            return str(said["reason"])[:500]
    lines = [line.strip() for line in background.jobs().log_tail(job.id, 3000).splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def resume(job: Job) -> None:
    """Go on with a run (a callback)."""
    try:
        access.require()
        background.jobs().resume(job.id)
    except (UserError, OSError) as e:
        st.session_state["job_error"] = str(e)


def card(job: Job) -> None:
    """Draw a training."""
    lines = progress(job.run, READ_BYTES) if job.run.exists() else []
    epochs = [line for line in lines if line.get("event") == "epoch"]
    state = job_pause.state_of(background.jobs(), job)
    with st.container(border=True, gap="xsmall", key=f"job-{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            ui.markdown(f"**{job.label}**")
            job_pause.mark(state)
        if job.active:
            _live(job, lines, epochs, state)
            job_pause.buttons(background.jobs(), job, state, "job", t("job.stop_help"))
        else:
            if epochs:
                ui.caption(_epoch_line(epochs[-1]))
            if job.status in ("failed", "lost"):
                _why(job)
            _buttons(job)
        _noticed(job, lines)
        if epochs:
            _tasks(job, epochs[-1])
        with ui.expander(t("job.log")):
            st.code(background.jobs().log_tail(job.id, 3000) or t("job.log_empty"), language=None, height=180)


def _why(job: Job) -> None:
    """What ended it, what it said last, what can be done."""
    reason = last_words(job)
    end = end_of(job, reason)
    ui.error(t(f"job.end_{end}", signal=signal_name(job.returncode) or "SIGKILL"), icon=":material/error:")
    if reason and end != "interrupted":
        st.text(say(reason))  # plain: the words may come from a file


def _buttons(job: Job) -> None:
    pressed = False
    with st.container(horizontal=True, gap="xsmall"):
        if job.status in ("stopped", "lost", "failed") and (job.run / "state").is_dir():
            ui.button(t("job.resume"), icon=":material/resume:", key=f"resume-{job.id}", on_click=resume, args=(job,))
        if (job.run / "manifest.json").exists():
            pressed = ui.button(
                t("job.open"), icon=":material/open_in_new:", key=f"open-{job.id}", on_click=_open, args=(job.run.name,)
            )
            parent = background.jobs().parent(job.id)
            if job.status == "finished" and parent in {e.name for e in state.entries() if e.error is None}:
                pressed |= ui.button(
                    t("job.compare", parent=parent), icon=":material/compare_arrows:", key=f"compare-{job.id}",
                    on_click=_open, args=(job.run.name, parent),
                )  # fmt: skip
    if pressed:
        st.rerun()  # the card is drawn in a fragment, which alone would run again: the page shows the run now


def _noticed(job: Job, lines: list[dict[str, Any]]) -> None:
    """Gates that gave themselves to one expert, experts that nobody uses, at the epoch it happens."""
    with suppress(UserError, OSError):
        experts = read_object(job.run / "manifest.json").get("experts")
        said = in_words(notices(measure(lines), experts if isinstance(experts, list) else []))
        for text in said[:SHOWN]:
            ui.caption(f":orange[:material/notifications:] {text}")
        if len(said) > SHOWN:
            with ui.expander(t("job.noticed_more", n=len(said) - SHOWN)):
                for text in said[SHOWN:]:
                    ui.caption(text)


def _tasks(job: Job, line: dict[str, Any]) -> None:
    """By task what the last epoch reached: loss by a constant predictor's, and the skill that is."""
    valid = line.get("valid") or {}
    losses, ratios = valid.get("tasks") or {}, valid.get("ratio") or {}
    if not ratios:
        return
    names = {"task": t("overview.task"), "loss": t("job.task_loss"), "skill": t("job.task_skill")}
    rows = [{"task": k, "loss": losses.get(k), "skill": None if r is None else 1 - r} for k, r in ratios.items()]
    shown = pd.DataFrame(rows).sort_values("skill", ascending=False).rename(columns=names)
    columns = {names[k]: st.column_config.NumberColumn(format="%.3f", width="small") for k in ("loss", "skill")}
    with ui.expander(t("job.tasks", epoch=line.get("epoch", 0))):
        ui.caption(t("job.tasks_help"))
        ui.dataframe(shown, hide_index=True, column_config=columns, placeholder="–", height="content")


def _open(name: str, parent: str | None = None) -> None:
    state.refresh_entries()
    st.session_state["run"] = name
    if parent is not None:
        st.session_state["compare"] = parent
    if parent is not None or st.session_state.get(state.ALONE):  # the page at hand shows no run
        state.go_to("overview")


def _epoch_line(line: dict[str, Any]) -> str:
    ratio = (line.get("valid") or {}).get("mean_ratio")
    return t("job.epoch", epoch=line.get("epoch", 0), ratio="–" if ratio is None else f"{ratio:.3f}")


def _spark(series: list[float]) -> dict[str, Any]:
    """A small line by epoch; its scale is the series' own, or the first epochs would flatten the rest."""
    axis = {"title": None, "grid": False, "tickCount": 3, "domain": False, "ticks": False}
    return {
        "data": {"values": [{"epoch": i + 1, "loss": v} for i, v in enumerate(series)]},
        "mark": {"type": "line"},
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative", "axis": {**axis, "format": "d"}},
            "y": {"field": "loss", "type": "quantitative", "scale": {"zero": False}, "axis": {**axis, "format": ".2f"}},
        },
    }


def _live(job: Job, lines: list[dict[str, Any]], epochs: list[dict[str, Any]], state: str) -> None:
    if job.status == "queued":
        ui.caption(job_pause.waiting(background.stores()))
        return
    latest = next((line for line in reversed(lines) if line.get("event") in STAGES), None)
    share, text = _how_far(job, latest, *held(lines))
    if state == "paused":
        stood: dict[str, Any] = next((line for line in reversed(lines) if line.get("event") == "paused"), {})
        text = t("job.paused_at", epoch=stood.get("epoch", len(epochs) + 1))
    ui.progress(min(max(share, 0.0), 1.0), text=text)
    if epochs:
        ui.caption(_epoch_line(epochs[-1]))
        series = [v for e in epochs if (v := (e.get("valid") or {}).get("mean_ratio")) is not None]
        if len(series) > 1:
            st.vega_lite_chart(_spark(series), height=90, alt=t("job.chart_alt"))
    if state == "running" and latest and latest.get("samples_per_s"):
        ui.caption(t("job.speed", n=f"{float(latest['samples_per_s']):,.0f}"))


STAGES = ("fit", "step", "epoch", "baselines", "ending")


def held(lines: list[dict[str, Any]]) -> tuple[float, float | None]:
    """(seconds that this process stood still, since when it does now)."""
    seconds, since = 0.0, None
    for line in lines:
        event, at = line.get("event"), float(line.get("time") or 0.0)
        if event == "paused":
            since = at
        elif event == "continued" and since is not None:
            seconds, since = seconds + at - since, None
        elif event == "resumed":  # another process
            seconds, since = 0.0, None
    return seconds, since


def _how_far(job: Job, latest: dict[str, Any] | None, still: float, since: float | None) -> tuple[float, str]:
    """(share that is done, in words what it does and how long it still takes)."""
    if latest is None:
        return 0.0, t("job.starting")
    now, event = since or time.time(), latest["event"]
    if event == "fit":
        share = float(latest.get("share") or 0.0)
        return share, t("job.fitting", share=f"{share:.0%}")
    words = {
        "baselines": lambda: t("job.baselines", share=f"{float(latest.get('share') or 0.0):.0%}"),
        "ending": lambda: t("job.ending", what=maybe(f"job.ending_{latest.get('what')}", str(latest.get("what")))),
    }.get(event, lambda: t("job.running_no_eta"))()
    eta = latest.get("eta_s")
    if eta is None:
        return 0.0, words
    left = max(float(eta) - max(now - float(latest.get("time") or now), 0.0), 0.0)  # the line may be old
    elapsed = now - (job.started or job.created) - still
    return elapsed / max(elapsed + left, 1.0), f"{words} · {t('job.eta', eta=duration(left))}"
