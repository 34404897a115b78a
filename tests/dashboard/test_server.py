"""The server as `ple app` starts it."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

from dashboard.browser import _wait, app, free_port
from dashboard.server import ROOT, app_command


def test_the_app_opens_for_who_never_ran_streamlit_without_asking_anything(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    first_time = {"HOME": str(tmp_path), "BROWSER": "true"}  # `true` opens no window
    with app([ROOT / "sample_runs"], log, headless=False, variables=first_time) as address:
        assert address.startswith("http://127.0.0.1:")
    told = log.read_text()
    assert "mail" not in told
    assert "URL: http://127.0.0.1:" in told


def test_a_signal_to_ple_app_ends_the_server_itself(tmp_path: Path) -> None:
    port = free_port()
    words = [sys.executable, "-m", "ple_model", "app", str(tmp_path), "--headless", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "HOME": str(tmp_path)}
        )
        try:
            _wait(f"http://127.0.0.1:{port}", process, tmp_path / "log")
            process.terminate()
            process.wait(60)
        finally:
            process.kill()
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", port)) != 0, "the server outlived the command that started it"


def test_no_text_of_the_source_is_drawn_on_pages() -> None:
    """Streamlit draws every bare expression of the script that it runs, a constant's docstring too."""
    assert "--runner.magicEnabled=false" in app_command(8501, True)
    for name in ("app.py", "serve.py"):
        body = ast.parse((ROOT / "dashboard" / name).read_text(encoding="utf-8")).body
        assert [ast.unparse(n) for n in body[1:] if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)] == []
