"""The hidden folder beside a result where finished shards wait until all are there, and how a shard is left in it once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from ple_model.engine import ShardEngine
from ple_model.errors import UserError
from ple_model.safe_paths import is_file
from ple_model.staging import PlaceTaken, alone, staged_folder


class LeavesPart(Protocol):
    """A shard that leaves a folder."""

    @property
    def out(self) -> Path: ...


Left = TypeVar("Left", bound=LeavesPart)


@contextmanager
def parts_of(result: Path, why: str, *, outdated: str | None = None) -> Iterator[Path]:
    """The folder of a result's parts, nobody else's to read: customers' data lie in it. One command at a time works there;
    `why`: what another one is told, "another process scores into the same file". What it holds stays for the next command;
    who has put the result in its place removes it. Those of results in the same place whose names `outdated`
    (a pattern of `glob`) fits are swept first."""
    folder = result.absolute().with_name(f".{result.name}.parts")
    if folder.is_symlink():
        raise UserError(f"{folder} is a link; it is to hold the parts of {result.name}: remove it")
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        with alone(folder.parent):  # no folder is seen before its lock is held
            if outdated is not None:
                _sweep_parts(folder.parent, outdated, folder)
            folder.mkdir(mode=0o700, exist_ok=True)
            lock.acquire()
    except Timeout as e:
        raise UserError(f"{folder}: {why}; wait for it or name another") from e
    try:
        yield folder
    finally:
        lock.release()


def sweep_parts(place: Path, names: str) -> None:
    """Remove the parts in `place` of results whose names `names` (a pattern of `glob`) fits, but those that somebody works on:
    they lie there until their very result is made, which may be never."""
    with alone(place):
        _sweep_parts(place, names)


def _sweep_parts(place: Path, names: str, mine: Path | None = None) -> None:
    for old in place.glob(f".{names}.parts"):
        if old == mine or old.is_symlink() or not old.is_dir():
            continue
        with suppress(OSError, Timeout), FileLock(old / ".lock", timeout=0):
            shutil.rmtree(old, ignore_errors=True)


def leave(out: Path, whole: str, fill: Callable[[Path], None]) -> None:
    """A part at `out`, filled by `fill`; its file `whole` says that it is one. Where it is there already nothing is done: an
    engine may begin a shard again whose first attempt came as far as that, or comes as far meanwhile."""
    if is_file(out / whole):
        return
    try:
        with staged_folder(out) as folder:
            fill(folder)
    except PlaceTaken:
        if not is_file(out / whole):
            raise


def parts_left(engine: ShardEngine, work: Callable[[Left], Any], shards: Mapping[str, Left], whole: str) -> Iterator[int]:
    """How many of the shards have left their part, at first and after each that does; `whole` as in `leave`. `UserError` names
    the shard that failed."""
    missing = {name: s for name, s in shards.items() if not is_file(s.out / whole)}
    for s in missing.values():
        shutil.rmtree(s.out, ignore_errors=True)
    done = len(shards) - len(missing)
    yield done
    for _ in engine.run(work, missing):
        done += 1
        yield done
