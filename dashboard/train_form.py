"""The sidebar's training form.

The form writes nothing but a command line: what the page starts is what a person could type, and the preview shows it.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import streamlit as st

from dashboard import access, background, dataset_folders, job_panel, reach, state, ui
from dashboard.chosen_config import chosen
from dashboard.dataset_folders import is_dataset, place_of, short
from dashboard.i18n import t
from dashboard.jobs import Training
from dashboard.places import NAME, allowed
from dashboard.train_config import differs, follow_preset, lifted, overrides_of, use_yaml, yaml_dialog
from dashboard.train_estimate import measure, show_estimate
from dashboard.train_start import chosen_encoder, chosen_parent, encoder, take_over, weights
from ple_model.commands_model import MODES
from ple_model.config import PRESETS
from ple_model.errors import UserError


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
    follow_preset()
    if yaml:
        use_yaml(preset, yaml)
    st.session_state["train_set"] = "\n".join(lifted(overrides))
    st.session_state["train_weights"] = "new"
    st.session_state["train_data"] = str(dataset)
    st.session_state["train_open"] = True


def _form() -> None:
    if "train_preset" not in st.session_state:
        st.session_state["train_preset"] = "small"
        follow_preset()
    st.session_state.setdefault("train_from", None)
    names = [e.name for e in state.entries() if e.error is None]
    if names:
        ui.selectbox(
            t("train.from"), names, key="train_from", index=None, on_change=take_over, help=t("train.from_help"),
            placeholder=t("train.from_none"),
        )  # fmt: skip
        weights()
    encoder()
    preset = ui.selectbox(t("train.preset"), PRESETS, key="train_preset", on_change=follow_preset, help=t("train.preset_help"))
    known = dataset_folders.datasets()
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
    if place is not None and is_dataset(str(place)):
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
        yaml_dialog(preset)
    wrong, training = _check(preset, dataset, name)
    if training is None:
        ui.caption(wrong or "")
    else:
        with ui.expander(t("train.diff")):
            differs(preset, chosen(preset, training.config, training.settings), "form")
        ui.caption(t("train.preview"))
        st.code(_shell(background.jobs().command(training)), language="bash", wrap_lines=True)
        show_estimate(preset, dataset)
        measure(training)
    if ui.button(t("train.start"), type="primary", icon=":material/play_arrow:", width="stretch", disabled=training is None):
        assert training is not None  # the button is disabled without one
        _start(training)


def _check(preset: str, dataset: str | None, name: str) -> tuple[str, Training | None]:
    """(what is missing or wrong; the training, or None where something is)."""
    if not dataset:
        return t("train.need_data"), None
    place = place_of(dataset)
    if place is None:
        return t("train.outside", path=dataset, folders=", ".join(map(str, allowed()))), None
    if not is_dataset(str(place)):
        return t("train.not_dataset", path=dataset), None
    if NAME.fullmatch(name or "") is None:
        return t("train.bad_name"), None
    run = state.folders()[-1].absolute() / name
    if run.exists():
        return t("train.exists", name=name), None
    try:
        overrides = overrides_of(preset)
        yaml = st.session_state.get("train_yaml") or ""
        chosen(preset, yaml, overrides)
        parent = chosen_parent()
        return "", Training(
            place, run, preset, tuple(overrides), config=yaml, parent=parent,
            phase_2=parent is not None and st.session_state.get("train_weights") == "phase_2",
            encoder=chosen_encoder(), encoder_mode=st.session_state.get("train_encoder_mode") or MODES[0],
        )  # fmt: skip
    except UserError as e:
        return str(e), None


def _shell(words: tuple[str, ...]) -> str:
    """The command as a person types it."""
    return "ple " + shlex.join(w for w in words[3:] if w not in ("--device", "auto"))


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
    st.fragment(job_panel.panel, run_every="2s" if busy else None)()
