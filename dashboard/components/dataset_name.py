"""The name of a new dataset: where it goes, and why a name cannot be taken."""

from __future__ import annotations

import re
import time
from pathlib import Path

import streamlit as st

from dashboard import places, ui
from dashboard.i18n import t


def new_name(prefix: str, key: str) -> tuple[str, str]:
    """(the name, why it cannot be taken; empty where it can). `prefix` is proposed as it is; taken, with the hour."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", prefix).strip("-._")[:40] or "data"
    free = not refused(plain)
    st.session_state.setdefault(key, plain if free else time.strftime(f"{plain}-%m%d-%H%M"))
    name = ui.text_input(t("datasets.name"), key=key, help=t("datasets.name_help", folder=str(places.data_folder())))
    why = refused(name or "")
    if why:
        ui.caption(f":red[{why}]")
    return name or "", why


def refused(name: str) -> str:
    """Why a dataset cannot have this name; empty where it can."""
    if places.NAME.fullmatch(name) is None:
        return t("train.bad_name")
    if places.dataset_at(name).exists():
        return t("datasets.exists", name=name)
    return ""


def events_of(name: str) -> Path:
    """Where the event tables of a new dataset go."""
    return places.data_folder() / f"{name}-events"
