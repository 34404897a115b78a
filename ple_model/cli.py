"""The command `ple` (also `python -m ple_model`).

Exit codes: 0 done, 1 a problem was found, 2 wrong use or bad input (one line on stderr; `--debug` shows the traceback).
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from ple_model.arguments import check_types
from ple_model.commands import Arguments, Command, Listener
from ple_model.disk import disk_full, is_disk_full, named_file
from ple_model.errors import UserError, did_you_mean
from ple_model.storage.url import AtUrl
from ple_model.threads import settle
from ple_model.training.launch import require_alone

BUILT_IN = (
    "ple_model.commands_model",
    "ple_model.commands_baselines",
    "ple_model.commands_estimate",
    "ple_model.commands_pretrain",
    "ple_model.commands_track",
    "ple_model.commands_tune",
    "ple_model.commands_copy",
    "ple_model.data.commands",
    "ple_model.data.commands_sources",
    "ple_model.bench.commands",
    "analysis.commands",
    "analysis.commands_explain",
    "analysis.commands_audit",
    "analysis.commands_card",
    "analysis.commands_faults",
    "analysis.commands_sae",
    "dashboard.commands",
)
"""Modules with `COMMANDS` that are always looked for: an installation that is older than the code does not list them all."""


class _Parser(argparse.ArgumentParser):
    """Wrong use is one line and exit 2, as for every other bad input."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see `{self.prog} --help`")


def gather() -> dict[str, Command]:
    """Every command by name, of our own modules and of those in the entry-point group `ple.commands`."""
    named = [*BUILT_IN, *(e.value for e in entry_points(group="ple.commands"))]
    modules = [m for m in dict.fromkeys(named) if _there(m)]
    found: dict[str, Command] = {}
    for module in modules:
        for command in importlib.import_module(module).COMMANDS:
            if command.name in found:
                raise RuntimeError(f"two commands are named '{command.name}'; the second is in {module}")
            found[command.name] = command
    return found


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def build_parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    parser = _Parser(prog="ple", description="Train PLE-Cluster-adaTT on customer data and look inside it.")
    parser.add_argument("--version", action="version", version=f"ple {_version()}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    for name, command in sorted(commands.items()):
        one = sub.add_parser(name, help=command.help, description=command.help[:1].upper() + command.help[1:] + ".")
        one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
        command.configure(one)
    check_types(parser)
    return parser


def _version() -> str:
    try:
        return version("ple-scope")
    except PackageNotFoundError:
        return "(not installed)"


def main(argv: Sequence[str] | None = None, listener: Listener | None = None) -> int:
    """Run one command and return its exit code; `listener` hears the progress of commands that make data."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug, outputs, began = "--debug" in words, list[Path](), time.time()
    try:
        commands = gather()
        parser = build_parser(commands)
        first = next((w for w in words if not w.startswith("-")), None)
        if first is not None and first not in commands:
            raise UserError(f"ple: no command '{first}'{did_you_mean(first, commands)}")
        arguments = parser.parse_args(words)
        if arguments.command is None:
            parser.print_help()
            return 2
        if arguments.command != "train":
            require_alone(arguments.command)
        arguments.listener, arguments.began = listener, began
        settle()
        with with_paths(arguments) as ready:
            outputs += written_paths(ready)
            return commands[arguments.command].run(ready)
    except BrokenPipeError:  # the reader of a pipe has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as e:
        said = _sentence(e, outputs)
        if debug or said is None:
            raise
        print(said, file=sys.stderr)
        return 2


@contextmanager
def with_paths(arguments: Arguments) -> Iterator[Arguments]:
    """The arguments with paths of this machine in the place of URLs (`ple_model.storage`)."""
    if not any(isinstance(value, AtUrl) for value in vars(arguments).values()):
        yield arguments
        return
    from ple_model.storage.at_hand import at_hand  # late: storage libraries

    with at_hand(arguments) as ready:
        yield ready


def _sentence(error: Exception, outputs: Sequence[Path]) -> str | None:
    """What a person can act on; None for a fault of ours, whose traceback is what helps."""
    if is_disk_full(error):
        error = disk_full(error) if not outputs else disk_full(error, named_file(error) or outputs[0])
    elif isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        error = UserError(f"{error.filename}: {os.strerror(error.errno)}")
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException":  # DuckDB's: not imported for a name
        how = "less at a time takes less: fewer workers, smaller buckets or batches"
        error = UserError(f"out of memory: {str(error) or 'there is no more'}; {how}")
    return " ".join(str(error).split()) if isinstance(error, UserError) else None


def written_paths(arguments: Arguments) -> list[Path]:
    """What a command writes to, the likeliest first."""
    found = [getattr(arguments, name, None) for name in ("html", "markdown", "out", "dataset", "run")]
    return [p for p in found if isinstance(p, Path)]


if __name__ == "__main__":
    sys.exit(main())
