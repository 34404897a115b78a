"""Processes of shards killed (SIGKILL) at random moments of every command that works by shards: each comes to what it comes to
undisturbed.

Of both engines where Ray is installed; trials are tasks on Ray alone. At most two kills a command: a shard is begun again three
times, and which shard a kill hits is chance. Each command is killed at least once by each engine, else the drill has failed.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.stages import begin, end, judged, stages

ATTEMPTS = 10
"""Commands begun for a kill, at most: one that is over before the kill came counts for nothing."""


def _below(pid: int) -> list[int]:
    """A process's descendants."""
    found = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                found += [child, *_below(child)]
    return found


def _at_work(begun: subprocess.Popen[str], engine: str) -> list[int]:
    """The processes that work on a shard."""
    found = []
    for pid in _below(begun.pid):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            ray = words.startswith("ray::shard")  # Ray names a worker by its task; its own agents are the machine
            if ray if engine == "ray" else "spawn_main" in words:
                found.append(pid)
    return found


def run_cases(base: Path, seed: int, kills: int, only: Sequence[str] = ()) -> Iterator[Outcome]:
    """`only`: names of stages; empty: all."""
    rng = random.Random(seed)
    engines = ["local", *(["ray"] if importlib.util.find_spec("ray") else [])]
    pairs = [(s, e) for s in stages(base, only) for e in engines if s.name != "tune" or e == "ray"]
    whole: dict[str, str] = {}
    seconds = []
    for stage, engine in pairs:
        began, to = time.monotonic(), base / f"whole-{stage.name}-{engine}"
        found = end(stage, to, begin(stage, to, "--engine", engine, "--workers", "2"))
        seconds.append(time.monotonic() - began)
        expected = whole.setdefault(stage.name, found)
        yield Outcome(f"{stage.name}, {engine}, undisturbed", judged(found, expected), found)
    done, number, hits = 0, 0, [0] * len(pairs)
    while (done < kills or not all(hits)) and number < ATTEMPTS * max(kills, len(pairs)):
        waiting = [k for k, times in enumerate(hits) if not times] or list(range(len(pairs)))
        k = waiting[number % len(waiting)]
        (stage, engine), usual = pairs[k], seconds[k]
        to = base / f"torn-{number}"
        begun, killed = begin(stage, to, "--engine", engine, "--workers", "2"), 0
        for _ in range(2):
            time.sleep(rng.uniform(0.05, 0.4) * usual)
            at_work = _at_work(begun, engine)
            if at_work and begun.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(at_work), signal.SIGKILL)
                    done, killed, hits[k] = done + 1, killed + 1, hits[k] + 1
        found = end(stage, to, begun)
        yield Outcome(f"{number}: {stage.name}, {engine}, {killed} killed", judged(found, whole[stage.name]), found)
        number += 1
    for (stage, engine), times in zip(pairs, hits, strict=True):
        if not times:
            yield Outcome(f"{stage.name}, {engine}", "too few kills", "0")
    if done < kills:
        yield Outcome(f"{kills} kills", "too few kills", f"{done}")


def drill(seed: int = 0, kills: int = 20) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        return Report("shards", seed).add(run_cases(Path(scratch), seed, kills))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_as_script("shards", drill, 20)
