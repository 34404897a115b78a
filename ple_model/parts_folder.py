"""The hidden folder beside a result where finished shards wait until all are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ple_model.errors import UserError


@contextmanager
def parts_of(result: Path, why: str) -> Iterator[Path]:
    """The folder of a result's parts, nobody else's to read: customers' data lie in it. One command at a time works there;
    `why`: what another one is told, "another process scores into the same file". What it holds stays for the next command;
    who has put the result in its place removes it."""
    folder = result.absolute().with_name(f".{result.name}.parts")
    if folder.is_symlink():
        raise UserError(f"{folder} is a link; it is to hold the parts of {result.name}: remove it")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield folder
    except Timeout as e:
        raise UserError(f"{folder}: {why}; wait for it or name another") from e
