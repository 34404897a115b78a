"""Threads of a process, settled in one place where it starts, before torch is loaded: OpenMP reads its environment once.

OpenMP's threads spin while they wait for each other. Beside another busy process two of them that move freely come to share a
core, and each waits for the other's turn: a training of two threads kept 0.25 of its pace, bound to one core each 0.50 (`ple
bench neighbour`, 2 cores, `small`). So a training binds its threads (`settle(bind=True)`), unless it has only one.

Binding has a price: the thread that loads OpenMP is bound too, and what it starts inherits that. A training or a pool of
processes that a bound process started would run on a single core. So the cores of the first process are kept in the
environment (`PLE_CORES`), and whatever process starts later takes them back.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

CORES = "PLE_CORES"
"""Environment variable: the cores that the first of our processes was given, as `0,1`."""
BOUND = "PLE_BOUND"
"""Environment variable: which variables were set by us, for one process, and are not for those that it starts."""
SPINS = 10_000
"""Turns that a thread of libgomp waits before it sleeps; 0, 1,000 and 10,000 kept about the same pace beside others. What it
costs and gains stands in docs/training-in-the-app.md."""
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Whoever sets one of these has said how threads wait."""


def settle(threads: int | None = None, *, bind: bool = False) -> None:
    """Of this process, before it loads torch: all the cores that the first of our processes had, and with `bind` one of them
    to each of its `threads` (None: OpenMP's own choice). A binding that the user asked for stays."""
    cores = _take_back()
    for name in os.environ.pop(BOUND, "").split(","):
        if name in ("OMP_PROC_BIND", "GOMP_SPINCOUNT"):
            os.environ.pop(name, None)
    many = (threads or _asked_for() or cores) > 1
    if bind and many and "OMP_PROC_BIND" not in os.environ and "torch" not in sys.modules:
        os.environ.update(_binding(os.environ))


def bound_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of one process that binds its threads; those that it starts settle anew."""
    found = {CORES: _text(_mine()), **environment}
    return found if "OMP_PROC_BIND" in found else {**found, **_binding(found)}


def _binding(environment: Mapping[str, str]) -> dict[str, str]:
    """What binds the threads of a process, with the names of what is set."""
    ours = {"OMP_PROC_BIND": "close"}
    if not any(name in environment for name in WAITING):
        ours["GOMP_SPINCOUNT"] = str(SPINS)
    return {**ours, BOUND: ",".join(ours)}


@contextmanager
def one_thread_each() -> Iterator[None]:
    """While a pool of processes is started: each has one thread (two processes of one thread beat one of two) and, with
    `take_back` as its initializer, all cores."""
    before = {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "OMP_PROC_BIND", CORES)}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault(CORES, _text(_mine()))
    os.environ["OMP_PROC_BIND"] = "false"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def take_back() -> None:
    """The initializer of a pool's processes: what starts a pool may be bound to one core."""
    _take_back()


def _take_back() -> int:
    """Take the first process's cores, or keep one's own for those to come; how many there are."""
    kept = os.environ.get(CORES)
    if kept is None:
        os.environ[CORES] = _text(_mine())
    elif hasattr(os, "sched_setaffinity"):
        with suppress(OSError, ValueError):  # cores that are gone, or another's variable of this name
            os.sched_setaffinity(0, {int(c) for c in kept.split(",")})
    return len(_mine())


def _mine() -> set[int]:
    """Cores that this thread may run on; all where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _text(cores: set[int]) -> str:
    return ",".join(map(str, sorted(cores)))


def _asked_for() -> int | None:
    with suppress(ValueError):
        return int(os.environ.get("OMP_NUM_THREADS", ""))
    return None
