"""The server as `ple app` starts it."""

from __future__ import annotations

from pathlib import Path

from dashboard.browser import app
from dashboard.server import ROOT


def test_the_app_opens_for_who_never_ran_streamlit_without_asking_anything(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    first_time = {"HOME": str(tmp_path), "BROWSER": "true"}  # `true` opens no window
    with app([ROOT / "sample_runs"], log, headless=False, variables=first_time) as address:
        assert address.startswith("http://127.0.0.1:")
    told = log.read_text()
    assert "mail" not in told
    assert "URL: http://127.0.0.1:" in told
