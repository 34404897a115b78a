"""A command as it is started from a shell, watched: what it took, and the memory of its largest process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from ple_model.bench.measure import peak_mb_of
from ple_model.errors import UserError

EVERY_S = 0.05
"""Seconds between two looks. A mark of memory never falls, so a look misses only what a process grows in its last such time."""


@dataclass(frozen=True)
class Watched:
    """What one command took."""

    wall_s: float
    first_s: float
    """Processor seconds of the command's own process."""
    shards_s: float
    """Processor seconds of all processes that it started."""
    first_mb: float
    """Peak resident memory of the command's own process."""
    shard_mb: float
    """The same of the largest process that it started; 0 where it started none."""


def watch(words: Sequence[str], good: Sequence[int] = (0,)) -> Watched:
    """`ple WORDS` in a process of its own with one thread. `UserError` for an exit code that is not among `good`, and where
    `--json` is among the words and no JSON is printed: a traceback exits with 1, as a finding does."""
    before, began = _children_s(), time.monotonic()
    first_s = first_mb = shard_mb = 0.0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as answer:
        command = [sys.executable, "-m", "ple_model", *words]
        begun = subprocess.Popen(command, stdout=answer, stderr=errors, env=environment)
        process = psutil.Process(begun.pid)
        while begun.poll() is None:
            first_mb = max(first_mb, peak_mb_of(begun.pid) or 0.0)
            with suppress(psutil.Error):
                shard_mb = max([shard_mb, *(peak_mb_of(p.pid) or 0.0 for p in process.children(recursive=True))])
                times = process.cpu_times()
                first_s = max(first_s, times.user + times.system)
            time.sleep(EVERY_S)
        answer.seek(0)
        if begun.returncode not in good or ("--json" in words and not _is_json(answer.read())):
            errors.seek(0)
            raise UserError(f"ple {' '.join(words)}: exit {begun.returncode}: {errors.read().decode(errors='replace')[-500:]}")
    taken = _children_s() - before
    return Watched(time.monotonic() - began, first_s, max(0.0, taken - first_s), first_mb, shard_mb)


def _is_json(answer: bytes) -> bool:
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True


def _children_s() -> float:
    """Processor seconds of all processes that this one started and that have ended, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
