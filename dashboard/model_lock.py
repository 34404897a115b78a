"""One lock a run, shared by all sessions of the server, around every use of the run's model."""

from __future__ import annotations

import threading
from pathlib import Path

import streamlit as st


@st.cache_resource(show_spinner=False)
def _locks() -> dict[str, threading.Lock]:
    return {}


def model_lock(path: Path) -> threading.Lock:
    """Held around every use of a run's model: interventions on a model shared by two sessions give wrong numbers."""
    return _locks().setdefault(str(path), threading.Lock())
