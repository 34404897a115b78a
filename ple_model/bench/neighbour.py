"""`ple bench neighbour`: a training beside another busy process against the same training alone, on two cores.

OpenMP's threads spin while they wait for each other: beside a busy process two of them that move freely share a core and wait
for each other's turn (`ple_model.threads`). Each way to start a training is a process of its own, which trains the same steps
of `small` for a few seconds whenever it is asked to; the neighbour is a process that never rests. Whatever else works on the
machine is counted, since it is a neighbour too: a figure that was measured beside others says so.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from ple_model.bench.measure import MIN_ROUNDS, Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.errors import UserError
from ple_model.threads import BOUND, CORES, bound_environment

CORES_USED = 2
SECONDS = 4.0
"""Of each measurement."""
BOUND_TO = 0.5
"""Of its pace alone: beside one busy process a fair share of two cores is a half of them or more."""


@dataclass(frozen=True)
class Form:
    """One way to start a training. `settles`: as `ple train` does it; `pool`: two processes as a build starts them."""

    says: str
    threads: int = 2
    settles: bool = False
    pool: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    under_app: bool = False
    """It is started by the app's server, whose own threads are bound."""
    target: Target | None = None


FORMS = {
    "free": Form("two threads as they come"),
    "bound": Form("two threads bound (OMP_PROC_BIND=close)", variables={"OMP_PROC_BIND": "close"}),
    "one": Form("one thread", threads=1),
    "train": Form("as `ple train` starts", settles=True, target=Target(BOUND_TO)),
    "app": Form("as the app's worker starts it", settles=True, under_app=True, target=Target(BOUND_TO)),
    "pool": Form("two processes as a build's pool", settles=True, pool=True, target=Target(BOUND_TO)),
}


def environment(form: Form) -> dict[str, str]:
    """What a form's process finds: nothing that this process was started with, the first two cores."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_")) and k not in (CORES, BOUND)}
    found = {
        **ours,
        CORES: ",".join(map(str, _cores())),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        **form.variables,
    }
    return bound_environment(found) if form.under_app else found


def _cores() -> list[int]:
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(mine) < CORES_USED:
        raise UserError("ple bench neighbour needs two cores, on a system that says which a process may run on")
    return mine[:CORES_USED]


def _stay() -> None:
    os.sched_setaffinity(0, _cores())


# --- the measurement


@contextmanager
def started(name: str) -> Iterator[subprocess.Popen[str]]:
    """The process of a form; it ends with the block."""
    form = FORMS[name]
    words = f"serve({form.threads}, settles={form.settles}, pool={form.pool})"
    process = subprocess.Popen(
        [sys.executable, "-c", f"from ple_model.bench.neighbour_training import serve; {words}"],
        env=environment(form), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_stay,
    )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


@contextmanager
def busy() -> Iterator[int]:
    """A process that never rests while this one lives, on any of the two cores; its id."""
    words = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    process = subprocess.Popen([sys.executable, "-c", words], preexec_fn=_stay)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def asked(process: subprocess.Popen[str], seconds: float) -> float:
    """Samples a second of a form's process, now."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    said = process.stdout.readline()
    if not said:
        raise UserError(f"ple bench neighbour: a process ended with {process.wait()}")
    return float(said)


def _spent(pids: list[int]) -> tuple[float, float]:
    """(CPU seconds of the whole machine, those of these processes and their children) until now."""
    whole, own = psutil.cpu_times(), 0.0
    for pid in pids:
        with suppress(psutil.Error):
            one = psutil.Process(pid)
            for each in (one, *one.children(recursive=True)):
                times = each.cpu_times()
                own += times.user + times.system
    return sum(whole) - whole.idle - getattr(whole, "iowait", 0.0) - getattr(whole, "guest", 0.0), own


def measured(process: subprocess.Popen[str], seconds: float, neighbour: int | None) -> tuple[float, float]:
    """(samples a second, cores that everything else kept busy meanwhile)."""
    pids = [process.pid, os.getpid(), *([neighbour] if neighbour else [])]
    before, began = _spent(pids), time.perf_counter()
    speed = asked(process, seconds)
    after, took = _spent(pids), time.perf_counter() - began
    return speed, max((after[0] - before[0]) - (after[1] - before[1]), 0.0) / took


def run(settings: Settings) -> list[Row]:
    seconds = SECONDS if not settings.quick else 0.2
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {(n, b): [] for n in FORMS for b in (False, True)}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(started(name)) for name in FORMS}
        for process in processes.values():
            asked(process, seconds / 4)  # the first steps of a process warm up
        for turn in range(max(settings.rounds, MIN_ROUNDS)):
            for name in list(FORMS)[:: 1 if turn % 2 == 0 else -1]:
                for beside in (False, True) if turn % 2 == 0 else (True, False):
                    with ExitStack() as now:
                        other = now.enter_context(busy()) if beside else None
                        found[name, beside].append(measured(processes[name], seconds, other))
    return [_row(name, found[name, False], found[name, True]) for name in FORMS]


def _row(name: str, alone: list[tuple[float, float]], beside: list[tuple[float, float]]) -> Row:
    form, ratios = FORMS[name], [b[0] / a[0] for a, b in zip(alone, beside, strict=True)]
    speed = {n: statistics.median(x[0] for x in found) for n, found in (("alone", alone), ("beside", beside))}
    others = {n: statistics.median(x[1] for x in found) for n, found in (("alone", alone), ("beside", beside))}
    return Row(
        "neighbour", f"{form.says}: beside a busy process / alone", statistics.median(ratios), form.target, speed["beside"],
        speed["alone"], "samples/s", min(ratios), max(ratios), detail={f"cores of others, {n}": v for n, v in others.items()},
    )  # fmt: skip


BENCHMARKS = (Benchmark("neighbour", "a training beside one busy process on two cores, by how its threads are started", run),)
