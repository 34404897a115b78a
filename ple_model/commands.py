"""What a subcommand of `ple` is. Each package lists its own in a module-level `COMMANDS`; `cli` gathers them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ple_model.arguments import PROCESSES, assignment, device, file_in
from ple_model.engine import ENGINES, WORKERS

Arguments = argparse.Namespace


@dataclass(frozen=True)
class Command:
    """One subcommand. `run` returns the exit code: 0, or 1 if it found a problem; bad input raises `UserError` (2).

    Modules that define commands are imported for `ple --help`: they import torch and other slow libraries inside `run`."""

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Arguments], int]


Listener = Callable[[str, float], None]
"""Hears the stage of a command's work and the share of the stage that is done (0 to 1)."""


def listener(arguments: Arguments) -> Listener | None:
    """Who wants to hear of the progress beside the terminal: a program that runs the command (`cli.main`), or nobody."""
    found: Listener | None = getattr(arguments, "listener", None)
    return found


def began(arguments: Arguments) -> float:
    """When the command was called (`cli.main`), in seconds since 1970."""
    found: float = arguments.began
    return found


def add_json(parser: argparse.ArgumentParser) -> None:
    """The `--json` switch, the same everywhere."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def add_running(parser: argparse.ArgumentParser) -> None:
    """`--device`, `--threads`, `--quiet` and `--language` of a training, the same everywhere."""
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--threads", type=PROCESSES, metavar="N", help="CPU threads (default: torch's own choice)")
    parser.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    parser.add_argument(
        "--language", choices=("en", "ko"), default="en", help="language of progress and warnings (default: en)"
    )


def add_engine(parser: argparse.ArgumentParser, shards: str = "buckets of events", *, workers: int | None = WORKERS) -> None:
    """`--engine`, `--address`, `--workers`, the same everywhere. `shards`: what is shared out; `workers` None: nothing is,
    unless one of the three is given (`engine_if_asked`)."""
    otherwise, few = ("this process alone", f"{WORKERS} with --engine") if workers is None else ("local", f"{workers}")
    parser.add_argument(
        "--engine", choices=ENGINES,
        help=f"where {shards} are worked on: processes of this machine or a Ray cluster (default: PLE_ENGINE or {otherwise})",
    )  # fmt: skip
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="the Ray cluster, or auto (default: one of this machine, or PLE_ADDRESS)"
    )
    parser.add_argument(
        "--workers", type=PROCESSES, default=workers, metavar="N",
        help=f"processes of this machine (default: {few}); with --address as many as the cluster has CPUs",
    )  # fmt: skip


def unused_engine(asked: str) -> str:
    """What to tell who asked for an engine where there is nothing to share out."""
    return f"--engine {asked}: not used, the events are in no buckets (`ple shard`): this process works on them"


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--preset`, `--config`, `--set`, the same everywhere."""
    parser.add_argument("--preset", metavar="NAME", help="preset to start from (see `ple presets`; default: v3_14)")
    parser.add_argument("--config", type=file_in, metavar="FILE", help="YAML file laid on the preset")
    parser.add_argument(
        "--set", action="append", default=[], type=assignment, metavar="KEY=VALUE", dest="overrides",
        help="one config value, for example training.learning_rate=1e-3; may be repeated",
    )  # fmt: skip
