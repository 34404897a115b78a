"""The server's application: the dashboard's script behind the guard of its requests. Started by `streamlit run`."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard.guard_requests import GuardRequests
from dashboard.server import ADDRESS_VARIABLE

app = st.App(
    Path(__file__).with_name("app.py"),
    middleware=[Middleware(GuardRequests, address=os.environ.get(ADDRESS_VARIABLE, "127.0.0.1"))],
)
