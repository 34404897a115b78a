"""The server's application: the dashboard's script behind the guard of its requests. Started by `streamlit run`.

What the first page needs is imported while the browser opens, and not when it asks.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime import exists

from dashboard.guard_requests import GuardRequests
from dashboard.server import ADDRESS_VARIABLE

PATIENCE = 60.0  # seconds that the server may take to start; then the first reader's page imports what it needs itself


def _warm() -> None:
    """Import the script and its pages, and hash the sources that measure: the most of what the first page waits for. Caches are
    declared by these imports, and want the server's runtime to be there."""
    started = time.monotonic()
    while not exists():
        if time.monotonic() - started > PATIENCE:
            return
        time.sleep(0.02)
    importlib.import_module("dashboard.app")
    importlib.import_module("dashboard.view").views()
    importlib.import_module("analysis.fingerprint").code_digest()


threading.Thread(target=_warm, name="what the first page needs", daemon=True).start()
app = st.App(
    Path(__file__).with_name("app.py"),
    middleware=[Middleware(GuardRequests, address=os.environ.get(ADDRESS_VARIABLE, "127.0.0.1"))],
)
