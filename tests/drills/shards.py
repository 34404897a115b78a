"""Processes of shards killed (SIGKILL) at random moments of a build in buckets: every build ends, with the same fingerprint.

Of both engines where Ray is installed. At most two kills a build: a shard is begun again three times, and which shard a kill
hits is chance.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ple_model.data.events.buckets import write_buckets
from tests.drills.kit import Outcome, Report, run_as_script
from tests.ple_model.data.tiny_events import tables, write_events

BUCKETS = 3
LIMIT_S = 900


def _begin(buckets: Path, out: Path, engine: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "ple_model", "build", str(buckets), str(out), "--engine", engine, "--workers", "2", "--json"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _below(pid: int) -> list[int]:
    """A process's descendants."""
    found = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                found += [child, *_below(child)]
    return found


def _at_work(build: subprocess.Popen[str], engine: str) -> list[int]:
    """The processes that work on a shard."""
    found = []
    for pid in _below(build.pid):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            ray = words.startswith("ray::shard")  # Ray names a worker by its task; its own agents are the machine
            if ray if engine == "ray" else "spawn_main" in words:
                found.append(pid)
    return found


def _end(build: subprocess.Popen[str]) -> str:
    """The fingerprint that it prints; what went wrong otherwise."""
    said, errors = build.communicate(timeout=LIMIT_S)
    return str(json.loads(said)["fingerprint"]) if build.returncode == 0 else f"exit {build.returncode}: {errors[-300:]}"


def run_cases(base: Path, seed: int, kills: int) -> Iterator[Outcome]:
    rng = random.Random(seed)
    write_buckets(write_events(base / "events", tables()), base / "buckets", BUCKETS)
    engines = ["local", *(["ray"] if importlib.util.find_spec("ray") else [])]
    whole, seconds = "", {}
    for engine in engines:
        began = time.monotonic()
        found = _end(_begin(base / "buckets", base / f"whole-{engine}", engine))
        seconds[engine] = time.monotonic() - began
        whole = whole or found
        yield Outcome(f"{engine}, undisturbed", "right" if found == whole and len(found) == 32 else "other bytes", found)
    done = number = 0
    while done < kills:
        engine = engines[number % len(engines)]
        build, killed = _begin(base / "buckets", base / f"build-{number}", engine), 0
        for _ in range(min(2, kills - done)):
            time.sleep(rng.uniform(0.05, 0.4) * seconds[engine])
            at_work = _at_work(build, engine)
            if at_work and build.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(at_work), signal.SIGKILL)
                    done, killed = done + 1, killed + 1
        found = _end(build)
        yield Outcome(f"build {number} ({engine}), {killed} killed", "right" if found == whole else "other bytes", found)
        number += 1


def drill(seed: int = 0, kills: int = 20) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        return Report("shards", seed).add(run_cases(Path(scratch), seed, kills))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_as_script("shards", drill, 20)
