"""The configuration of the training form: a preset, YAML laid upon it, the fields, free lines; and what it differs by."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import background, state, ui
from dashboard.chosen_config import chosen, differences, of_preset, problem
from dashboard.i18n import t
from ple_model.config import Config, load_config
from ple_model.errors import UserError

ROWS_IN_FULL = 10
"""Differences that are shown in full height."""


def overrides_of(preset: str) -> list[str]:
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


FIELDS: dict[str, tuple[str, type[int] | type[float], float, float]] = {
    "training.phase1_epochs": ("train_phase1", int, 1, 1000),
    "training.phase2_epochs": ("train_phase2", int, 0, 1000),
    "training.learning_rate": ("train_lr", float, 1e-6, 1.0),
    "training.seed": ("train_seed", int, 0, 2**31 - 1),
}
"""Keys that have a field of their own in the form: its session key, what it holds, the least and the most that it takes."""


def lifted(overrides: list[str]) -> list[str]:
    """Settings that a field shows go into that field; the others are returned."""
    left = []
    for item in overrides:
        key, _, value = item.partition("=")
        try:
            field, kind, least, most = FIELDS[key.strip()]
            if not least <= (found := kind(value)) <= most:  # NaN is neither
                raise ValueError(f"{found} is not between {least} and {most}")
            st.session_state[field] = found
        except (KeyError, ValueError):
            left.append(item)
    return left


def follow_preset() -> None:
    """Fields show the chosen preset's own values."""
    base = load_config(st.session_state.get("train_preset") or "small").training
    st.session_state["train_phase1"] = base.phase1_epochs
    st.session_state["train_phase2"] = base.phase2_epochs
    st.session_state["train_lr"] = base.learning_rate
    st.session_state["train_seed"] = base.seed
    st.session_state.pop("train_yaml", None)


@ui.dialog(" ", width="large")
def yaml_dialog(preset: str) -> None:
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
        differs(preset, chosen(preset, text, ()), "dialog")
    left, right = st.columns(2)
    with left:
        used = ui.button(
            t("train.yaml_use"), type="primary", width="stretch", disabled=bool(wrong), key="yaml-use", on_click=use_yaml,
            args=(preset, text),
        )  # fmt: skip
    with right:
        reset = ui.button(t("train.yaml_reset"), width="stretch", key="yaml-reset", on_click=follow_preset)
    if used or reset:
        st.rerun()  # which closes the dialog


def _as_shown(preset: str) -> Config:
    """The preset with the form's settings; without the free lines where these are wrong, which is said below them."""
    try:
        return chosen(preset, "", overrides_of(preset))
    except UserError:
        return of_preset(preset)


def use_yaml(preset: str, text: str) -> None:
    """Take an edited configuration (a callback); its file is written at once, so that the command that is shown runs."""
    st.session_state["train_yaml"] = text
    background.jobs().keep_yaml(text)
    _show_fields(preset, text)


def _show_fields(preset: str, yaml: str) -> None:
    """The fields show what a YAML says, so that none of them overrides it unseen."""
    base = chosen(preset, yaml, ()).training
    st.session_state["train_phase1"], st.session_state["train_phase2"] = base.phase1_epochs, base.phase2_epochs
    st.session_state["train_lr"], st.session_state["train_seed"] = base.learning_rate, base.seed


def differs(preset: str, here: Config, where: str) -> None:
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
