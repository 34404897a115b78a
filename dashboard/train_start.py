"""What the training form starts from: the settings of a run, its weights too, an encoder."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import dataset_folders, state, ui
from dashboard.i18n import t
from dashboard.train_config import follow_preset, use_yaml
from ple_model.commands_model import MODES
from ple_model.config import PRESETS
from ple_model.errors import UserError

WEIGHTS = ("new", "all", "phase_2")


def start_from(name: str) -> None:
    """Take over the settings of a run (a callback): its preset, its configuration, its dataset where that is at hand."""
    entry = next((e for e in state.entries() if e.name == name and e.error is None and e.manifest is not None), None)
    if entry is None or entry.manifest is None:
        return
    run = state.run(entry.path)
    preset = entry.manifest.preset if entry.manifest.preset in PRESETS else "small"
    st.session_state["train_preset"], st.session_state["train_set"] = preset, ""
    follow_preset()
    use_yaml(preset, run.config.to_yaml())
    mark = entry.manifest.data.fingerprint
    same = (d for d in dataset_folders.datasets() if getattr(state.dataset_manifest(Path(d)), "fingerprint", None) == mark)
    if (found := next(same, None)) is not None:
        st.session_state["train_data"] = found


def take_over() -> None:
    if name := st.session_state.get("train_from"):
        start_from(name)
        st.session_state["train_parent"] = name
        st.session_state["train_weights"] = "new"
    st.session_state["train_from"] = None


def chosen_parent() -> Path | None:
    """The run whose weights are taken over; None where the training starts anew."""
    if st.session_state.get("train_weights", "new") == "new":
        return None
    name = st.session_state.get("train_parent")
    found = next((e.path.absolute() for e in state.entries() if e.name == name and e.error is None), None)
    if found is None:
        raise UserError(t("train.weights_gone", run=name))
    return found


def weights() -> None:
    """Of a run that was taken over: its settings alone, its weights too, or its weights with the second phase alone."""
    name = st.session_state.get("train_parent")
    if name not in {e.name for e in state.entries() if e.error is None}:
        return
    st.session_state.setdefault("train_weights", "new")
    ui.selectbox(
        t("train.weights", run=name), WEIGHTS, key="train_weights", format_func=lambda w: t(f"train.weights_{w}"),
        help=t("train.weights_help"),
    )  # fmt: skip


def encoder() -> None:
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


def chosen_encoder() -> Path | None:
    name = st.session_state.get("train_encoder")
    return None if name is None else state.encoders()[name].absolute() if name in state.encoders() else None
