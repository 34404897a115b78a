"""The sidebar's training form and the live progress of the jobs it starts.

The form writes nothing but a command line: what the page starts is what a person could type, and the preview shows it.
"""

from __future__ import annotations

import re
import shlex
import statistics
import time
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import access, background, data_job_card, job_card, places, reach, state, ui
from dashboard.chosen_config import chosen, differences, of_preset, problem
from dashboard.components.answer import answer
from dashboard.guarded import guarded
from dashboard.i18n import t
from dashboard.jobs import Training, progress
from dashboard.units import duration
from ple_model.arguments import folder_in
from ple_model.commands_model import MODES
from ple_model.config import PRESETS, Config, load_config
from ple_model.errors import UserError
from ple_model.run import RunEntry
from ple_model.safe_text import read_object

RECENT_S = 3600.0
"""Ended jobs stay in the sidebar this long."""
WEIGHTS = ("new", "all", "phase_2")
ROWS_IN_FULL = 10
"""Differences that are shown in full height."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def open_with(overrides: list[str]) -> None:
    """Open the form with these `key=value` settings in it (a callback of "train with this")."""
    lines = [line for line in str(st.session_state.get("train_set", "")).splitlines() if line.strip()]
    keys = {item.partition("=")[0] for item in overrides}
    kept = [line for line in lines if line.partition("=")[0].strip() not in keys]
    st.session_state["train_set"] = "\n".join([*kept, *overrides])
    st.session_state["train_open"] = True


def fill(preset: str, overrides: list[str], dataset: Path, yaml: str = "") -> None:
    """Open the form with a whole configuration (a callback): preset, YAML laid upon it, `key=value` settings, dataset."""
    st.session_state["train_preset"], st.session_state["train_set"] = preset, ""
    _follow_preset()
    if yaml:
        _use_yaml(preset, yaml)
    st.session_state["train_set"] = "\n".join(overrides)
    st.session_state["train_weights"] = "new"
    st.session_state["train_data"] = str(dataset)
    st.session_state["train_open"] = True


def datasets() -> list[str]:
    """Dataset folders near the runs: in or beside the folders of runs, in `data` beside them, and the runs' own samples."""
    found: dict[str, None] = {}
    for folder in state.folders():
        for place in (folder.parent / "data", folder.parent / "datasets", folder.parent, folder):
            found |= _below(place)
    for place in places.allowed():
        found |= _below(place)
    samples = [str(e.path / "sample") for e in state.entries() if _has_sample(e)]
    return [*found, *samples]


def _has_sample(entry: RunEntry) -> bool:
    return not state.is_trial(entry) and (entry.path / "sample" / "dataset.json").exists()


def _below(place: Path) -> dict[str, None]:
    return {str(path.parent): None for path in sorted(place.glob("*/dataset.json"))} if place.is_dir() else {}


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
    """`key=value` of the fields that differ from the preset and the YAML laid on it, then the free lines."""
    try:
        base = chosen(preset, st.session_state.get("train_yaml") or "", ())
    except UserError:  # said where it is checked
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
    start = st.session_state.get("train_yaml") or _as_shown(preset).to_yaml()
    text = ui.text_area(
        t("train.yaml_title", preset=preset), start, height=400, label_visibility="collapsed", key=f"yaml-{preset}"
    )
    wrong = problem(preset, text)
    if wrong:
        ui.error(wrong, icon=":material/error:")
    else:
        _differs(preset, chosen(preset, text, ()), "dialog")
    left, right = st.columns(2)
    with left:
        used = ui.button(
            t("train.yaml_use"), type="primary", width="stretch", disabled=bool(wrong), key="yaml-use", on_click=_use_yaml,
            args=(preset, text),
        )  # fmt: skip
    with right:
        reset = ui.button(t("train.yaml_reset"), width="stretch", key="yaml-reset", on_click=_follow_preset)
    if used or reset:
        st.rerun()  # which closes the dialog


def _as_shown(preset: str) -> Config:
    """The preset with the form's settings; without the free lines where these are wrong, which is said below them."""
    try:
        return chosen(preset, "", _overrides(preset))
    except UserError:
        return of_preset(preset)


def _use_yaml(preset: str, text: str) -> None:
    """Take an edited configuration (a callback); its file is written at once, so that the command that is shown runs."""
    st.session_state["train_yaml"] = text
    background.jobs().keep_yaml(text)
    _show_fields(preset, text)


def _show_fields(preset: str, yaml: str) -> None:
    """The fields show what a YAML says, so that none of them overrides it unseen."""
    base = chosen(preset, yaml, ()).training
    st.session_state["train_phase1"], st.session_state["train_phase2"] = base.phase1_epochs, base.phase2_epochs
    st.session_state["train_lr"], st.session_state["train_seed"] = base.learning_rate, base.seed


def _differs(preset: str, here: Config, where: str) -> None:
    """What is other than in the preset, or than in a run that is chosen."""
    runs = {e.name: e.path for e in state.entries() if e.error is None}
    against = ui.selectbox(
        t("train.diff_against"), list(runs), index=None, key=f"diff-{where}", placeholder=t("train.diff_preset", preset=preset)
    )
    there = of_preset(preset) if against is None or against not in runs else state.run(runs[against]).config
    found = differences(here, there, against or preset)
    if found.empty:
        ui.caption(t("train.diff_none", name=against or preset))
    else:
        ui.dataframe(found, hide_index=True, height="content" if len(found) <= ROWS_IN_FULL else 300)


def start_from(name: str) -> None:
    """Take over the settings of a run (a callback): its preset, its configuration, its dataset where that is at hand."""
    entry = next((e for e in state.entries() if e.name == name and e.error is None and e.manifest is not None), None)
    if entry is None or entry.manifest is None:
        return
    run = state.run(entry.path)
    preset = entry.manifest.preset if entry.manifest.preset in PRESETS else "small"
    st.session_state["train_preset"], st.session_state["train_set"] = preset, ""
    _follow_preset()
    _use_yaml(preset, run.config.to_yaml())
    mark = entry.manifest.data.fingerprint
    same = (d for d in datasets() if getattr(state.dataset_manifest(Path(d)), "fingerprint", None) == mark)
    if (found := next(same, None)) is not None:
        st.session_state["train_data"] = found


def _take_over() -> None:
    if name := st.session_state.get("train_from"):
        start_from(name)
        st.session_state["train_parent"] = name
        st.session_state["train_weights"] = "new"
    st.session_state["train_from"] = None


def _parent() -> Path | None:
    """The run whose weights are taken over; None where the training starts anew."""
    if st.session_state.get("train_weights", "new") == "new":
        return None
    name = st.session_state.get("train_parent")
    found = next((e.path.absolute() for e in state.entries() if e.name == name and e.error is None), None)
    if found is None:
        raise UserError(t("train.weights_gone", run=name))
    return found


def _weights() -> None:
    """Of a run that was taken over: its settings alone, its weights too, or its weights with the second phase alone."""
    name = st.session_state.get("train_parent")
    if name not in {e.name for e in state.entries() if e.error is None}:
        return
    st.session_state.setdefault("train_weights", "new")
    ui.selectbox(
        t("train.weights", run=name), WEIGHTS, key="train_weights", format_func=lambda w: t(f"train.weights_{w}"),
        help=t("train.weights_help"),
    )  # fmt: skip


def _encoder() -> None:
    """A pre-trained encoder for the temporal expert, where one is at hand, and what becomes of its weights. Beside another
    run's weights there is none: they hold the expert already."""
    known = state.encoders()
    if not known or st.session_state.get("train_weights", "new") != "new":
        st.session_state["train_encoder"] = None
        return
    chosen = ui.selectbox(
        t("train.encoder"), list(known), index=None, key="train_encoder", help=t("train.encoder_help"),
        placeholder=t("train.encoder_none"),
    )  # fmt: skip
    if chosen is not None:
        ui.selectbox(
            t("train.encoder_mode"), MODES, key="train_encoder_mode", help=t("train.encoder_mode_help"),
            format_func=lambda m: t(f"train.encoder_{m}"),
        )  # fmt: skip


def _chosen_encoder() -> Path | None:
    name = st.session_state.get("train_encoder")
    return None if name is None else state.encoders()[name].absolute() if name in state.encoders() else None


def _form() -> None:
    if "train_preset" not in st.session_state:
        st.session_state["train_preset"] = "small"
        _follow_preset()
    st.session_state.setdefault("train_from", None)
    names = [e.name for e in state.entries() if e.error is None]
    if names:
        ui.selectbox(
            t("train.from"), names, key="train_from", index=None, on_change=_take_over, help=t("train.from_help"),
            placeholder=t("train.from_none"),
        )  # fmt: skip
        _weights()
    _encoder()
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
    place = place_of(dataset) if dataset else None
    if place is not None and _is_dataset(str(place)):
        reach.brief(place)
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
    wrong, training = _check(preset, dataset, name)
    if training is None:
        ui.caption(wrong or "")
    else:
        with ui.expander(t("train.diff")):
            _differs(preset, chosen(preset, training.config, training.settings), "form")
        ui.caption(t("train.preview"))
        st.code(_shell(background.jobs().command(training)), language="bash", wrap_lines=True)
        _show_estimate(preset, dataset)
        _measure(training)
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
    place = place_of(dataset)
    if place is None:
        return t("train.outside", path=dataset, folders=", ".join(map(str, places.allowed()))), None
    if not _is_dataset(str(place)):
        return t("train.not_dataset", path=dataset), None
    if re.fullmatch(NAME, name or "") is None:
        return t("train.bad_name"), None
    run = state.folders()[-1].absolute() / name
    if run.exists():
        return t("train.exists", name=name), None
    try:
        overrides = _overrides(preset)
        yaml = st.session_state.get("train_yaml") or ""
        chosen(preset, yaml, overrides)
        parent = _parent()
        return "", Training(
            place, run, preset, tuple(overrides), config=yaml, parent=parent,
            phase_2=parent is not None and st.session_state.get("train_weights") == "phase_2",
            encoder=_chosen_encoder(), encoder_mode=st.session_state.get("train_encoder_mode") or MODES[0],
        )  # fmt: skip
    except UserError as e:
        return str(e), None


def place_of(typed: str) -> Path | None:
    """Where a dataset is that is listed, or lies in an allowed folder; a typed path is no way to any other."""
    if typed in datasets():
        return Path(typed).absolute()
    try:
        return places.inside(typed)
    except UserError:
        return None


def _is_dataset(typed: str) -> bool:
    try:
        return (folder_in(typed) / "dataset.json").exists()
    except (ArgumentTypeError, OSError):  # text that is no path: a null byte, 5,000 characters
        return False


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


def _measure(training: Training) -> None:
    """A few real steps of this very configuration, in a process of its own: what the whole will take."""
    store = background.jobs()
    command = store.command(replace(training, parent=None, phase_2=False, encoder=None))
    words = ("estimate", *command[4:5], *command[6:])
    mark = training.config + repr(training.settings) + places.mark_of(training.dataset)
    asked = st.session_state.get("train_measured") == (words, mark)
    if not asked:
        ui.button(
            t("train.measure"), icon=":material/timer:", key="measure-steps", width="stretch", help=t("train.measure_help"),
            on_click=_ask_to_measure, args=(words, mark),
        )  # fmt: skip
        return
    found = answer(words, mark, t("train.measuring"), "estimate")
    if found is None:
        return
    epochs = found["epochs"]
    ui.caption(
        t(
            "train.measured",
            time=duration(float(found["seconds"])),
            memory=f"{float(found['rss_mb']) / 1024:.1f}",
            steps=found["timed"],
            epochs=f"{epochs[0]} + {epochs[1]}",
            parameters=f"{found['parameters']:,}",
        )
    )


def _ask_to_measure(words: tuple[str, ...], mark: str) -> None:
    """Start it (a callback)."""
    st.session_state["train_measured"] = (words, mark)


def _start(training: Training) -> None:
    try:
        access.require()
        job = background.jobs().start(training)
        if shown := st.session_state.get("run"):
            background.jobs().note_parent(job.id, str(shown))
    except (UserError, OSError) as e:
        ui.error(str(e), icon=":material/error:")
        return
    st.session_state.pop("train_name", None)
    st.rerun()


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
        for job in jobs:
            if job.id in before and job.status == "finished" and job.run.exists():
                background.measurement(job.run)
        st.rerun()
    for making in makings[:2]:
        data_job_card.card(making, "side")
    for job in jobs[:4]:
        job_card.card(job)


def _closed(why: str) -> None:
    with st.container(border=True, gap="xsmall"):
        ui.caption(f":material/lock: {t(f'access.{why}')}")
        if why == "login":
            ui.button(t("access.log_in"), key="log-in", on_click=st.login, width="stretch")
        elif why == "not_trainer":
            ui.button(t("access.log_out"), key="log-out", on_click=st.logout, width="stretch")


def sidebar() -> None:
    """The form and the jobs; live while something trains. In an app where nothing can be changed, why."""
    if why := access.why_not():
        _closed(why)
        return
    with ui.expander(t("train.title"), icon=":material/model_training:", key="train_open", on_change="rerun") as panel:
        if panel.open:
            _form()
    try:
        busy = any(j.active for j in [*background.jobs().jobs(), *background.data_jobs().jobs()])
    except UserError as e:  # the list of jobs is no reason to show no runs
        ui.error(str(e), icon=":material/error:")
        return
    st.fragment(_jobs_panel, run_every="2s" if busy else None)()
