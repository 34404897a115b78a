"""How the dashboard's server is started: on the local address, without usage statistics, where its theme is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ple_model.threads import bound_environment

ROOT = Path(__file__).resolve().parents[1]
RUNS_VARIABLE = "PLE_RUNS_DIRS"
ADDRESS_VARIABLE = "PLE_ADDRESS"
"""Where the server listens, for the check of the Host header."""
ADDRESS = "127.0.0.1"
READ_ONLY_VARIABLE = "PLE_READ_ONLY"
"""With this variable nobody can change anything (`dashboard.access`)."""
TRAINERS_VARIABLE = "PLE_TRAINERS"
"""Who may train, by the address that the login knows; separated by commas."""
FOLDERS_VARIABLE = "PLE_DATA_DIRS"
"""More folders that data may be taken from (`dashboard.places`)."""
DEBUG = "PLE_DEBUG"
"""With this variable exceptions are shown on the page as they are."""


def read_only() -> bool:
    """Whether this server lets nobody change anything."""
    return bool(os.environ.get(READ_ONLY_VARIABLE))


def trainers() -> frozenset[str]:
    """Who may train, in small letters; empty where that was not said."""
    return frozenset(x.strip().lower() for x in os.environ.get(TRAINERS_VARIABLE, "").split(",") if x.strip())


def app_command(port: int, headless: bool) -> list[str]:
    """The Streamlit server's argument list: local address, no usage statistics."""
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(ROOT / "dashboard" / "serve.py"),
        f"--server.address={ADDRESS}",
        f"--server.port={port}",
        f"--server.headless={str(headless).lower()}",
        "--server.showEmailPrompt=false",
        "--browser.gatherUsageStats=false",
        "--browser.serverAddress=127.0.0.1",
        "--server.fileWatcherType=none",
        "--runner.magicEnabled=false",
    ]


def app_environment(folders: list[Path]) -> dict[str, str]:
    """The server's environment: where the runs are, and the packages of this checkout."""
    path = os.environ.get("PYTHONPATH")
    return {
        **bound_environment(os.environ),
        ADDRESS_VARIABLE: ADDRESS,
        RUNS_VARIABLE: os.pathsep.join(str(f.resolve()) for f in folders),
        "PYTHONPATH": str(ROOT) if not path else f"{ROOT}{os.pathsep}{path}",
    }
