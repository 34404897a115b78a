"""`ple app [RUNS_DIR]`: opens the dashboard on a folder of runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dashboard.server import DEBUG, ROOT, app_command, app_environment
from ple_model.arguments import PORT, folder_in
from ple_model.commands import Command
from ple_model.errors import UserError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="?",
        type=folder_in,
        metavar="RUNS_DIR",
        help="folder of runs (default: sample_runs and ./runs)",
    )
    parser.add_argument("--port", type=PORT, default=8501, help="port of the local server (default 8501)")
    parser.add_argument("--headless", action="store_true", help="do not open a browser")


def _run(args: argparse.Namespace) -> int:
    if args.runs is not None and not args.runs.is_dir():
        raise UserError(f"{args.runs}: no such folder of runs")
    folders = [args.runs] if args.runs is not None else [ROOT / "sample_runs", Path.cwd() / "runs"]
    # The server takes this process's place, so that a signal to `ple app` reaches it and nothing is left running behind.
    sys.stdout.flush()
    sys.stderr.flush()
    words, variables = app_command(args.port, args.headless), app_environment(folders)
    if args.debug:
        variables[DEBUG] = "1"
    os.chdir(ROOT)  # the theme lives in the checkout's .streamlit, which Streamlit looks for in the working directory
    os.execve(words[0], words, variables)


COMMANDS: tuple[Command, ...] = (Command("app", "open the dashboard", _configure, _run),)
