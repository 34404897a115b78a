"""One lock a run, shared by all sessions of the server, around every use of the run's model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st


@st.cache_resource(show_spinner=False)
def _locks() -> dict[str, threading.Lock]:
    return {}


@contextmanager
def model_lock(path: Path) -> Iterator[None]:
    """Held around every use of a run's model: interventions on a model shared by two sessions give wrong numbers."""
    import torch  # late: a page that asks no model does not need it

    torch.set_flush_denormal(True)  # of this thread
    with _locks().setdefault(str(path), threading.Lock()):
        yield
