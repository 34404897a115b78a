"""How a training ended that did not reach its end: by a full disk, for want of memory, killed, crashed or refused."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Literal

from dashboard.job_store import Record
from ple_model.disk import WORDS

End = Literal["disk", "memory", "killed", "interrupted", "crashed", "refused"]
KILLED_FOR_MEMORY = "killed: the system ran out of memory"
"""What a worker writes into the log of a job that was killed while the kernel killed for want of memory."""
MEMORY = re.compile(
    r"out of memory|MemoryError|not enough memory|can't allocate memory|cannot allocate memory|unable to allocate"
    r"|of memory that are free|ran out of memory",
    re.I,
)
NO_ROOM = re.compile(r"no space (is )?left|limit on the size of a file|disk quota", re.I)
REFUSED = 2
"""Exit status of `ple` for wrong use and bad input."""


def end_of(job: Record, said: str) -> End:
    """`said`: its last words, of the run or of its log."""
    if NO_ROOM.search(said) or WORDS.search(said):
        return "disk"
    if MEMORY.search(said):
        return "memory"
    if job.status == "lost":
        return "interrupted"
    code = job.returncode
    if code is not None and -code in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        return "killed"
    return "refused" if code == REFUSED else "crashed"


def signal_name(code: int | None) -> str:
    """`SIGSEGV`, of an exit status that names a signal; empty for any other."""
    with suppress(ValueError):
        return signal.Signals(-code).name if code is not None and code < 0 else ""
    return ""


def kills_for_memory() -> int:
    """How often this machine's kernel has killed for want of memory; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
