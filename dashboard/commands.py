"""`ple app [RUNS_DIR]`: opens the dashboard on a folder of runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dashboard.server import DEBUG, FOLDERS_VARIABLE, READ_ONLY_VARIABLE, ROOT, TRAINERS_VARIABLE, app_command, app_environment
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
    parser.add_argument(
        "--read-only", action="store_true",
        help="nobody can train, make data or name anything; no file is written but what is measured of a run (its cache)",
    )  # fmt: skip
    parser.add_argument(
        "--data", action="append", default=[], type=folder_in, metavar="DIR",
        help="one more folder that data may be taken from, beside `data` next to the runs; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--trainers", metavar="EMAILS",
        help="who may train, separated by commas, of those who log in (Streamlit's login, [auth] in secrets.toml)",
    )  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    if args.runs is not None and not args.runs.is_dir():
        raise UserError(f"{args.runs}: no such folder of runs")
    folders = [args.runs] if args.runs is not None else [ROOT / "sample_runs", Path.cwd() / "runs"]
    # The server takes this process's place, so that a signal to `ple app` reaches it and nothing is left running behind.
    sys.stdout.flush()
    sys.stderr.flush()
    words, variables = app_command(args.port, args.headless), app_environment(folders)
    variables |= {READ_ONLY_VARIABLE: "1"} if args.read_only else {}
    for folder in args.data:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of data")
    variables |= {FOLDERS_VARIABLE: os.pathsep.join(str(f.resolve()) for f in args.data)} if args.data else {}
    variables |= {TRAINERS_VARIABLE: args.trainers} if args.trainers else {}
    if args.debug:
        variables[DEBUG] = "1"
    os.chdir(ROOT)  # the theme lives in the checkout's .streamlit, which Streamlit looks for in the working directory
    os.execve(words[0], words, variables)


COMMANDS: tuple[Command, ...] = (Command("app", "open the dashboard", _configure, _run),)
