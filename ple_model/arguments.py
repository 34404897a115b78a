"""Types of command-line values: one for each kind of value, so that a new option is checked by naming its kind.

Each is a function from the typed text to the value that raises `argparse.ArgumentTypeError` with one sentence; argparse adds
the name of the option. They run before the command does anything. `check_types` gives every option that names no kind the
loosest safe one (`TEXT`, `NUMBER`, `WHOLE`, `PATH`), so that no text at all ends in a traceback.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from ple_model.errors import UserError
from ple_model.storage.url import checked_url, is_url, local_path, read_at, written_at

INT64 = 2**63 - 1
MAX_SEED = 2**32 - 1
"""The largest seed that every library in use takes."""
FIRST_DAY, LAST_DAY = date(1700, 1, 1), date(2200, 1, 1)
"""Nanosecond timestamps hold 1677 to 2262; a cut-off's windows must fit on both sides of it."""
MAX_HORIZON = 20_000
"""Days that may follow `LAST_DAY`."""

Fault = argparse.ArgumentTypeError


def shown(value: object, limit: int = 60) -> str:
    """`repr(value)` for a sentence: shortened, and never an error itself (an integer may be too long to be written)."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 4]}...{text[-1]}"


def text(given: str) -> str:
    """Text that can stand in a file, a name and a message."""
    if "\0" in given:
        raise Fault("it holds a null byte")
    try:
        given.encode()
    except UnicodeEncodeError as e:
        raise Fault(f"{shown(given)} is not valid UTF-8") from e
    return given


def whole(least: int | None = None, most: int = INT64) -> Callable[[str], int]:
    """A whole number within bounds."""
    low = -INT64 if least is None else least

    def convert(given: str) -> int:
        if re.fullmatch(r"\s*[+-]?[0-9]+\s*", given, re.ASCII) is None:
            raise Fault(f"{shown(given)} is not valid, it must be a whole number")
        digits = given.strip()
        value = int(digits) if len(digits) < 40 else None
        if value is None or not low <= value <= most:
            rule = (
                f"it must be at least {least}"
                if least is not None and value is not None and value < least
                else (f"it must be in {low}..{most}")
            )
            raise Fault(f"{digits[:40]}{'...' if len(digits) > 40 else ''} is not valid, {rule}")
        return value

    return convert


COUNT = whole(1, 2**31 - 1)
"""How many of something: at least 1."""
COUNT_OR_NONE = whole(0, 2**31 - 1)
SEED = whole(0, MAX_SEED)
PORT = whole(1, 65_535)
PROCESSES = whole(1, 1024)
"""Processes or threads."""
HORIZON = whole(1, MAX_HORIZON)
WHOLE = whole()


def number(given: str) -> float:
    """A finite number."""
    try:
        value = float(given)
    except ValueError as e:
        raise Fault(f"{shown(given)} is not valid, it must be a number") from e
    if not math.isfinite(value):
        raise Fault(f"{shown(given)} is not valid, it must be finite")
    return value


def share(given: str) -> float:
    """A number between 0 and 1."""
    value = number(given)
    if not 0 <= value <= 1:
        raise Fault(f"{shown(given)} is not valid, it must be between 0 and 1")
    return value


def day(given: str) -> str:
    """A date as ISO text, YYYY-MM-DD."""
    try:
        value = date.fromisoformat(given)
    except ValueError as e:
        raise Fault(f"{shown(given)} is not a date; write it as 2024-12-31") from e
    if not FIRST_DAY <= value <= LAST_DAY:
        raise Fault(f"{given} is not valid, it must be in {FIRST_DAY}..{LAST_DAY}")
    return value.isoformat()


def path(given: str) -> Path:
    """A path that the system can look up, there or not."""
    if not given:
        raise Fault("it is empty; a path is expected")
    if is_url(given):
        given = local_path(given) or _no_url(given)
    try:
        os.lstat(text(given))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as e:
        raise Fault(f"{shown(given)}: {e.strerror or e}") from e
    return Path(given)


def _no_url(given: str) -> str:
    raise Fault(
        f"{shown(checked_url(given))} is a URL, and this takes a path of this machine: `ple copy` brings a folder here and back"
    )


def file_in(given: str) -> Path:
    """A file to read; whether it is there and what it holds is for the reader to say."""
    found = path(given)
    if found.exists() and not found.is_file():
        raise Fault(f"{shown(given)} is {'a folder' if found.is_dir() else 'no regular file'}; a file is expected")
    return found


def folder_in(given: str) -> Path:
    """A folder to read."""
    found = path(given)
    if found.exists() and not found.is_dir():
        raise Fault(f"{shown(given)} is a file; a folder is expected")
    return found


def file_out(given: str) -> Path:
    """A file to write: its folder is there or can be made, and it is no folder itself."""
    found = path(given)
    if found.is_dir():
        raise Fault(f"{shown(given)} is a folder; name the file to write")
    if found.exists() and not found.is_file():
        raise Fault(f"{shown(given)} is no regular file; name the file to write")
    _can_write(found, found.absolute().parent)
    return found


def folder_out(given: str) -> Path:
    """A folder to make or to fill: nothing else is in its place, and it can be made."""
    found = path(given)
    if found.exists() and not found.is_dir():
        raise Fault(f"{shown(given)} is a file; a folder is expected")
    _can_write(found, found if found.is_dir() else found.absolute().parent)
    return found


folder_or_url = read_at("folder", folder_in)
"""A folder to read, by path or by URL."""
any_or_url = read_at("either", path)
file_out_or_url = written_at("file", file_out)
"""A file to make, by path or by URL."""
folder_out_or_url = written_at("folder", folder_out)


def _can_write(found: Path, folder: Path) -> None:
    """By trying: rights alone do not tell (root may everything, yet nothing can be made below /proc)."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise Fault(f"{shown(str(found))} cannot be made: {folder} is not a folder")
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".ple-", dir=folder))
    except OSError as e:
        raise Fault(f"{shown(str(found))} cannot be made in {folder}: {e.strerror or e}") from e


def device(given: str) -> str:
    """auto, cpu, cuda or cuda:N, and there on this machine."""
    if given not in ("auto", "cpu"):  # both are always there; torch, which knows of others, is slow to import
        from ple_model.device import pick_device  # late: torch

        try:
            pick_device(text(given))
        except UserError as e:
            raise Fault(str(e)) from e
    return given


def assignment(given: str) -> str:
    """KEY=VALUE."""
    key, equals, _ = text(given).partition("=")
    if not equals or not key.strip():
        raise Fault(f"{shown(given)} is not valid: expected key=value, for example training.learning_rate=1e-3")
    return given


LOOSEST: dict[Any, Callable[[str], Any]] = {None: text, str: text, int: WHOLE, float: number, Path: path}


def check_types(parser: argparse.ArgumentParser) -> None:
    """Give every option without a checked type the loosest one of its kind, in sub-parsers too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                check_types(one)
        elif action.nargs != 0 and action.choices is None and action.type in LOOSEST:
            action.type = LOOSEST[action.type]
