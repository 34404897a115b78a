"""The sidebar's training form and the live progress of the jobs it starts.

The form writes nothing but a command line: what the page starts is what a person could type, and the preview shows it.
"""

from __future__ import annotations

import re
import shlex
import statistics
import time
from argparse import ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import background, data_job_card, reach, state, ui
from dashboard.guarded import guarded
from dashboard.i18n import t
from dashboard.i18n.sentences import say
from dashboard.job_status import STATUS_COLOURS, STATUS_ICONS
from dashboard.jobs import Job, Training, progress
from dashboard.units import duration
from ple_model.arguments import folder_in
from ple_model.config import PRESETS, config_from_dict, load_config, merge, preset_dict
from ple_model.errors import UserError
from ple_model.safe_text import read_object
from ple_model.yaml_text import parse_yaml

RECENT_S = 3600.0
"""Ended jobs stay in the sidebar this long."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def open_with(overrides: list[str]) -> None:
    """Open the form with these `key=value` settings in it (a callback of "train with this")."""
    lines = [line for line in str(st.session_state.get("train_set", "")).splitlines() if line.strip()]
    keys = {item.partition("=")[0] for item in overrides}
    kept = [line for line in lines if line.partition("=")[0].strip() not in keys]
    st.session_state["train_set"] = "\n".join([*kept, *overrides])
    st.session_state["train_open"] = True


def datasets() -> list[str]:
    """Dataset folders near the runs: in or beside the folders of runs, in `data` beside them, and the runs' own samples."""
    found: dict[str, None] = {}
    for folder in state.folders():
        for place in (folder.parent / "data", folder.parent / "datasets", folder.parent, folder):
            for path in sorted(place.glob("*/dataset.json")) if place.is_dir() else []:
                found[str(path.parent)] = None
    samples = [str(e.path / "sample") for e in state.entries() if (e.path / "sample" / "dataset.json").exists()]
    return [*found, *samples]


def estimate(preset: str) -> tuple[float, float, int] | None:
    """(samples a second, peak MB, runs it rests on) of earlier runs of this preset here, or None."""
    speeds: list[float] = []
    memory: list[float] = []
    for entry in state.entries():
        if entry.manifest is None or entry.manifest.preset != preset:
            continue
        epochs = [line for line in progress(entry.path) if line.get("event") == "epoch" and line.get("samples_per_s")]
        if epochs:
            speeds.append(statistics.median(float(e["samples_per_s"]) for e in epochs))
            memory.append(max(float(e.get("rss_mb") or 0) for e in epochs))
    return (statistics.median(speeds), max(memory), len(speeds)) if speeds else None


def _rows(dataset: str) -> int | None:
    try:
        return int(read_object(Path(dataset) / "dataset.json")["splits"]["train"])
    except (OSError, UserError, KeyError, TypeError, ValueError):
        return None


def _overrides(preset: str) -> list[str]:
    """`key=value` of the fields that differ from the preset, then the free lines."""
    base = load_config(preset)
    fields: dict[str, tuple[Any, Any]] = {
        "training.phase1_epochs": (st.session_state.get("train_phase1"), base.training.phase1_epochs),
        "training.phase2_epochs": (st.session_state.get("train_phase2"), base.training.phase2_epochs),
        "training.learning_rate": (st.session_state.get("train_lr"), base.training.learning_rate),
        "training.seed": (st.session_state.get("train_seed"), base.training.seed),
    }
    out = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, (value, default) in fields.items()
        if value is not None and value != default
    ]
    return out + [line.strip() for line in str(st.session_state.get("train_set", "")).splitlines() if line.strip()]


def _follow_preset() -> None:
    """Fields show the chosen preset's own values."""
    base = load_config(st.session_state.get("train_preset") or "small").training
    st.session_state["train_phase1"] = base.phase1_epochs
    st.session_state["train_phase2"] = base.phase2_epochs
    st.session_state["train_lr"] = base.learning_rate
    st.session_state["train_seed"] = base.seed
    st.session_state.pop("train_yaml", None)


@ui.dialog(" ", width="large")
def _yaml_dialog(preset: str) -> None:
    ui.subheader(t("train.yaml_title", preset=preset))
    ui.caption(t("train.yaml_help"))
    start = st.session_state.get("train_yaml") or load_config(preset, overrides=_overrides(preset)).to_yaml()
    text = ui.text_area(t("train.yaml_title", preset=preset), start, height=460, label_visibility="collapsed")
    left, right = st.columns(2)
    with left:
        use = ui.button(t("train.yaml_use"), type="primary", width="stretch")
    with right:
        reset = ui.button(t("train.yaml_reset"), width="stretch")
    if use:
        try:
            raw = parse_yaml(text, "YAML")
            if not isinstance(raw, dict):
                raise UserError(t("train.yaml_mapping"))
            config_from_dict(merge(preset_dict(preset), raw))
        except UserError as e:
            ui.error(str(e), icon=":material/error:")
        else:
            st.session_state["train_yaml"] = text
            st.rerun()
    if reset:
        st.session_state.pop("train_yaml", None)
        st.rerun()


def _form() -> None:
    if "train_preset" not in st.session_state:
        st.session_state["train_preset"] = "small"
        _follow_preset()
    preset = ui.selectbox(t("train.preset"), PRESETS, key="train_preset", on_change=_follow_preset, help=t("train.preset_help"))
    known = datasets()
    dataset = ui.selectbox(
        t("train.data"),
        known,
        index=0 if known else None,
        key="train_data",
        accept_new_options=True,
        format_func=short,
        help=t("train.data_help"),
        placeholder=t("train.data_none"),
    )
    ui.button(
        t("datasets.open"), icon=":material/add:", key="make-dataset", type="tertiary", on_click=state.go_to, args=("datasets",)
    )
    if dataset and _is_dataset(dataset):
        reach.brief(Path(dataset))
    st.session_state.setdefault("train_name", time.strftime("run-%m%d-%H%M"))
    name = ui.text_input(t("train.name"), key="train_name", help=t("train.name_help"))
    left, right = st.columns(2)
    with left:
        ui.number_input(t("train.phase1"), 1, 1000, key="train_phase1", help=t("train.phase1_help"))
        ui.number_input(t("train.lr"), 1e-6, 1.0, format="%.5f", step=1e-4, key="train_lr", help=t("train.lr_help"))
    with right:
        ui.number_input(t("train.phase2"), 0, 1000, key="train_phase2", help=t("train.phase2_help"))
        ui.number_input(t("train.seed"), 0, 2**31 - 1, key="train_seed", help=t("train.seed_help"))
    ui.text_area(t("train.set"), key="train_set", height=80, placeholder="cgc.entropy_lambda=0.02", help=t("train.set_help"))
    if ui.button(
        t("train.yaml_edited") if st.session_state.get("train_yaml") else t("train.yaml"),
        icon=":material/edit_note:",
        width="stretch",
    ):
        _yaml_dialog(preset)
    problem, training = _check(preset, dataset, name)
    if training is None:
        ui.caption(problem or "")
    else:
        ui.caption(t("train.preview"))
        st.code(_shell(background.jobs().command(training)), language="bash", wrap_lines=True)
        _show_estimate(preset, dataset)
    if ui.button(t("train.start"), type="primary", icon=":material/play_arrow:", width="stretch", disabled=training is None):
        assert training is not None  # the button is disabled without one
        _start(training)


def short(path: str) -> str:
    """A dataset as selectors call it."""
    p = Path(path)
    return f"{p.parent.name} / {p.name}" if p.name == "sample" else p.name or path


def _check(preset: str, dataset: str | None, name: str) -> tuple[str, Training | None]:
    """(what is missing or wrong; the training, or None where something is)."""
    if not dataset:
        return t("train.need_data"), None
    if not _is_dataset(dataset):
        return t("train.not_dataset", path=dataset), None
    if re.fullmatch(NAME, name or "") is None:
        return t("train.bad_name"), None
    run = state.folders()[-1].absolute() / name
    if run.exists():
        return t("train.exists", name=name), None
    try:
        overrides = _overrides(preset)
        load_config(preset, overrides=overrides)
        return "", Training(
            Path(dataset).absolute(), run, preset, tuple(overrides), config=st.session_state.get("train_yaml") or ""
        )
    except UserError as e:
        return str(e), None


def _is_dataset(typed: str) -> bool:
    try:
        return (folder_in(typed) / "dataset.json").exists()
    except (ArgumentTypeError, OSError):  # text that is no path: a null byte, 5,000 characters
        return False


def _reason(job: Job) -> str:
    """Why a training failed, in the words of the run, else of the last line it wrote."""
    with suppress(UserError, OSError):
        said = read_object(job.run / "manifest.json")
        if said.get("status") == "failed" and isinstance(said.get("reason"), str):
            return say(str(said["reason"])[:500])
    lines = [line.strip() for line in background.jobs().log_tail(job.id, 3000).splitlines() if line.strip()]
    return say(lines[-1][:500]) if lines else ""


def _shell(words: tuple[str, ...]) -> str:
    """The command as a person types it."""
    return "ple " + shlex.join(w for w in words[3:] if w not in ("--device", "auto"))


def _show_estimate(preset: str, dataset: str | None) -> None:
    known, rows = estimate(preset), _rows(dataset or "")
    if known is None or rows is None:
        ui.caption(t("train.no_estimate"))
        return
    speed, memory, runs = known
    epochs = int(st.session_state["train_phase1"]) + int(st.session_state["train_phase2"])
    ui.caption(
        t("train.estimate", time=duration(rows * epochs / speed), memory=f"{memory / 1024:.1f}", runs=runs, rows=f"{rows:,}")
    )


def _start(training: Training) -> None:
    try:
        background.jobs().start(training)
    except (UserError, OSError) as e:
        ui.error(str(e), icon=":material/error:")
        return
    st.session_state.pop("train_name", None)
    st.rerun()


def _resume(job: Job) -> None:
    """Go on with a run (a callback)."""
    try:
        background.jobs().resume(job.id)
    except (UserError, OSError) as e:
        st.session_state["job_error"] = str(e)


def _job_card(job: Job) -> None:
    lines = progress(job.run) if job.run.exists() else []
    epochs = [line for line in lines if line.get("event") == "epoch"]
    latest = next((line for line in reversed(lines) if line.get("event") in ("epoch", "step")), None)
    with st.container(border=True, gap="xsmall", key=f"job-{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            ui.markdown(f"**{job.label}**")
            ui.badge(t(f"job.{job.status}"), icon=STATUS_ICONS[job.status], color=STATUS_COLOURS[job.status])
        if job.active:
            _live(job, epochs, latest, fitting=bool(lines) and lines[-1].get("event") == "fit")
            ui.button(
                t("job.stop"),
                icon=":material/stop:",
                key=f"stop-{job.id}",
                on_click=background.jobs().stop,
                args=(job.id,),
                disabled=job.stop,
                width="stretch",
            )
        else:
            if epochs:
                ui.caption(_epoch_line(epochs[-1]))
            if job.status == "failed" and (reason := _reason(job)):
                ui.error(t("job.why"))
                st.text(reason)  # plain: the words may come from a file
            with st.container(horizontal=True, gap="xsmall"):
                if job.status in ("stopped", "lost", "failed") and (job.run / "state").is_dir():
                    ui.button(t("job.resume"), icon=":material/resume:", key=f"resume-{job.id}", on_click=_resume, args=(job,))
                if (job.run / "manifest.json").exists():
                    ui.button(
                        t("job.open"), icon=":material/open_in_new:", key=f"open-{job.id}", on_click=_open, args=(job.run.name,)
                    )
        with ui.expander(t("job.log")):
            st.code(background.jobs().log_tail(job.id, 3000) or t("job.log_empty"), language=None, height=180)


def _open(name: str) -> None:
    state.refresh_entries()
    st.session_state["run"] = name
    if st.session_state.get(state.ALONE):  # the page at hand shows no run
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


def _live(job: Job, epochs: list[dict[str, Any]], latest: dict[str, Any] | None, *, fitting: bool = False) -> None:
    if job.status == "queued":
        ui.caption(t("job.waiting"))
        return
    eta = latest.get("eta_s") if latest else None
    elapsed = time.time() - (job.started or job.created)
    share = 0.0 if eta is None else elapsed / max(elapsed + float(eta), 1.0)
    text = (
        t("job.fitting" if fitting else "job.starting")
        if latest is None
        else t("job.eta", eta=duration(float(eta)))
        if eta is not None
        else t("job.running_no_eta")
    )
    ui.progress(min(share, 1.0), text=text)
    if epochs:
        ui.caption(_epoch_line(epochs[-1]))
        series = [v for e in epochs if (v := (e.get("valid") or {}).get("mean_ratio")) is not None]
        if len(series) > 1:
            st.vega_lite_chart(_spark(series), height=90, alt=t("job.chart_alt"))
    if latest and latest.get("samples_per_s"):
        ui.caption(t("job.speed", n=f"{float(latest['samples_per_s']):,.0f}"))


def _jobs_panel() -> None:
    """The jobs, as a fragment: it runs again by itself, outside of the script's own guard."""
    with guarded():
        _jobs()


def _jobs() -> None:
    error = st.session_state.pop("job_error", None)
    if error:
        ui.error(error, icon=":material/error:")
    jobs = [j for j in background.jobs().jobs() if j.active or time.time() - (j.ended or 0) < RECENT_S]
    makings = [j for j in background.data_jobs().jobs() if j.active]
    before, now = st.session_state.get("active_jobs"), [j.id for j in [*jobs, *makings] if j.active]
    st.session_state["active_jobs"] = now
    if before is not None and set(before) != set(now):
        # One has ended: its run belongs into the pickers. One was resumed, by a button of this fragment, which alone ran again:
        # whether it runs by itself is for the whole script to say.
        state.refresh_entries()
        st.rerun()
    for making in makings[:2]:
        data_job_card.card(making, "side")
    for job in jobs[:4]:
        _job_card(job)


def sidebar() -> None:
    """The form and the jobs; live while something trains."""
    with ui.expander(t("train.title"), icon=":material/model_training:", key="train_open", on_change="rerun") as panel:
        if panel.open:
            _form()
    try:
        busy = any(j.active for j in [*background.jobs().jobs(), *background.data_jobs().jobs()])
    except UserError as e:  # the list of jobs is no reason to show no runs
        ui.error(str(e), icon=":material/error:")
        return
    st.fragment(_jobs_panel, run_every="2s" if busy else None)()
