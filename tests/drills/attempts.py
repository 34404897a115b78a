"""Attempts at shards, each a file for as long as it lasts: whoever is killed in the middle leaves his, so a drill knows what it
hit."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from ple_model.engine.base import ShardEngine, never
from ple_model.engine.local import LocalEngine
from ple_model.engine.on_ray import RayEngine


def note(folder: Path) -> None:
    """Of every shard that this process gives out from now on, in `folder`."""
    for engine in (LocalEngine, RayEngine):
        engine.run = _noting(engine.run, folder)  # type: ignore[method-assign]


def at_work(folder: Path, under: int | None = None) -> list[int]:
    """The processes that are in the middle of a shard; `under`: those of this process's descendants alone."""
    pids = {int(mark.name.partition("-")[0]) for mark in folder.iterdir()}
    return sorted(p for p in pids if psutil.pid_exists(p) and (under is None or under in _above(p)))


def lost(folder: Path) -> int:
    """Attempts that did not come to their end; of a command that has come to its own."""
    return len(list(folder.iterdir()))


def send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _noting(run: Callable[..., Iterator[tuple[str, Any]]], folder: Path) -> Any:
    def noted(
        engine: ShardEngine, work: Callable[[Any], Any], shards: Mapping[str, Any], stopped: Callable[[], bool] = never
    ) -> Iterator[tuple[str, Any]]:
        return run(engine, partial(_attempt, folder, work), shards, stopped)

    return noted


def _attempt(folder: Path, work: Callable[[Any], Any], shard: Any) -> Any:
    """In the process of the shard."""
    descriptor, mark = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=folder)
    os.close(descriptor)
    try:
        return work(shard)
    finally:
        os.unlink(mark)


def _above(pid: int) -> list[int]:
    with suppress(psutil.Error):
        return [p.pid for p in psutil.Process(pid).parents()]
    return []
