"""Processes of shards killed (SIGKILL) at random moments of every command that works by shards: each comes to what it comes to
undisturbed.

Of both engines where Ray is installed; trials are tasks on Ray alone. At most three kills a command: a shard is begun again
three times, and which shard a kill hits is chance. A kill counts where an attempt at a shard did not come to its end; each
command is hit at least once by each engine, else the drill has failed.
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
from pathlib import Path

from ple_model.engine import RETRIES
from tests.drills.attempts import at_work, lost, send
from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.stages import asked_for, attempts, begin, end, judged, stages

ATTEMPTS = 10
"""Commands begun for a kill, at most."""


def _kill_one(begun: subprocess.Popen[str], notes: Path, rng: random.Random, killed: Sequence[int]) -> list[int]:
    """Another that is in the middle of a shard, as soon as there is one; none where the command has ended."""
    while begun.poll() is None:
        if working := [p for p in at_work(notes) if p not in killed]:
            send(one := [rng.choice(working)], signal.SIGKILL)
            return one
        time.sleep(0.02)
    return []


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
        fewest = min(hits)
        k = rng.choice([k for k, times in enumerate(hits) if times == fewest])
        (stage, engine), usual = pairs[k], seconds[k]
        to = base / f"torn-{number}"
        begun = begin(stage, to, "--engine", engine, "--workers", "2")
        killed: list[int] = []
        for _ in range(min(RETRIES, max(1, kills - done))):
            time.sleep(rng.uniform(0, 0.3) * usual)
            killed += _kill_one(begun, attempts(to), rng, killed)
        found = end(stage, to, begun)
        hit = lost(attempts(to))
        done, hits[k] = done + hit, hits[k] + hit
        result = judged(found, whole[stage.name]) if hit <= len(killed) else "others died"
        yield Outcome(f"{number}: {stage.name}, {engine}, {hit} killed", result if hit else "hit nothing", found)
        number += 1
    for (stage, engine), times in zip(pairs, hits, strict=True):
        if not times:
            yield Outcome(f"{stage.name}, {engine}", "too few kills", "0")
    if done < kills:
        yield Outcome(f"{kills} kills", "too few kills", f"{done}")


def drill(seed: int = 0, kills: int = 20) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        return Report("shards", seed).add(run_cases(Path(scratch), seed, kills, asked_for()))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_as_script("shards", drill, 20)
