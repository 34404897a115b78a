"""The process behind one job: holds the job's lock, waits for the machine's slot, runs the command, records the end.

`python -m dashboard.worker --detach ROOT JOB` is the short-lived middle process that only starts the worker;
`python -m dashboard.worker ROOT JOB` is the worker. See `dashboard.job_store`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from dashboard.job_end import KILLED_FOR_MEMORY, kills_for_memory
from dashboard.job_store import Record, Status, Store, slot_path
from dashboard.jobs import JobStore
from ple_model.safe_paths import append_file

POLL_S = 0.2
LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _detach(module: str, root: str, job_id: str) -> None:
    subprocess.Popen(
        [sys.executable, "-m", module, root, job_id],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class _Stop:
    """SIGTERM to the worker while it waits in the queue."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def _wait_for_slot(store: Store[Any], job: Record, stop: _Stop) -> int | None:
    """The locked slot's file descriptor, or None when the job was stopped while it waited."""
    descriptor = os.open(slot_path(), LOCK_FLAGS, 0o600)
    while True:
        if stop.asked or store.get(job.id).stop:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            time.sleep(POLL_S)


def work(store: Store[Any], job_id: str, command: Callable[[Any], tuple[str, ...]] | None = None) -> int:
    """Run one job to its end; returns the exit status of its process. `command` builds the argument list of what it does
    (default: the store's own)."""
    lock = os.open(store.lock_path(job_id), LOCK_FLAGS, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop)
    job = store.get(job_id)
    store.update(job_id, pid=os.getpid())
    slot = _wait_for_slot(store, job, stop)
    if slot is None:
        store.update(job_id, status="stopped", ended=time.time())
        return 0
    store.prepare(job)
    words = store.words(job) if command is None else command(job.work)
    log = append_file(store.log_path(job_id))
    # The child inherits both locks: should this worker be killed, the job still counts as alive while it trains.
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock, slot))
    before = kills_for_memory()
    store.update(job_id, status="running", started=time.time(), pid=child.pid)
    if stop.asked or store.get(job_id).stop:
        child.terminate()
    code = child.wait()
    if code == -signal.SIGKILL and kills_for_memory() > before:
        os.write(log, f"\n{KILLED_FOR_MEMORY}\n".encode())
    os.close(log)
    store.update(job_id, status=_settle(store.get(job_id), code), ended=time.time(), returncode=code)
    return code


def _settle(job: Record, code: int) -> Status:
    known = job.outcome()
    if job.stop and known != "finished":
        return "stopped"
    if code == 0:
        return known if known != "lost" else "finished"
    return "failed"


def main(words: Sequence[str], module: str = "dashboard.worker") -> int:
    """The command line of the module docstring; `module` is what the middle process starts."""
    if words[0] == "--detach":
        _detach(module, words[1], words[2])
        return 0
    return work(JobStore(Path(words[0])), words[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
