"""Overview: is this run healthy? One verdict, the findings by severity, tasks and metrics, and what the run is."""

from __future__ import annotations

import streamlit as st

from dashboard.frame import Frame
from dashboard.view import View


def render(frame: Frame) -> None:
    st.write(repr(frame.run))


VIEW = View("overview", "health", 0, ":material/monitor_heart:", "run", render)
