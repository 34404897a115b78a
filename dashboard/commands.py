"""`ple app [RUNS_DIR]`: opens the dashboard on a folder of runs."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from dashboard.server import ROOT, app_command, app_environment
from ple_model.commands import Command
from ple_model.errors import UserError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="?", type=Path, metavar="RUNS_DIR", help="folder of runs (default: the bundled sample_runs and ./runs)"
    )
    parser.add_argument("--port", type=int, default=8501, help="port of the local server (default 8501)")
    parser.add_argument("--headless", action="store_true", help="do not open a browser")


def _run(args: argparse.Namespace) -> int:
    if args.runs is not None and not args.runs.is_dir():
        raise UserError(f"{args.runs}: no such folder of runs")
    folders = [args.runs] if args.runs is not None else [ROOT / "sample_runs", Path.cwd() / "runs"]
    try:  # the theme lives in the checkout's .streamlit, which Streamlit looks for in the working directory
        return subprocess.run(
            app_command(args.port, args.headless), cwd=ROOT, env=app_environment(folders), check=False
        ).returncode
    except KeyboardInterrupt:
        return 0


COMMANDS: tuple[Command, ...] = (Command("app", "open the dashboard", _configure, _run),)
