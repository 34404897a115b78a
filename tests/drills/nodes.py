"""Two Ray nodes on one machine: build, predict, diagnose, sae, explain and tune come to what this machine comes to alone, and
so where the second node is lost in the middle (SIGKILL of it and all that works on it) with at least one shard in progress.

Nodes are processes here (`ray.cluster_utils.Cluster`): they share memory, disk and clock, so what differs between machines
(libraries, processors, a shared file system) is not tried.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.drills.attempts import at_work, lost, send
from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.stages import asked_for, attempts, begin, end, judged, stages

TRIES = 3
"""Commands begun for the loss of a node, at most: one whose loss hit no shard counts for nothing."""


def run_cases(base: Path, seed: int, rounds: int, only: Sequence[str] = ()) -> Iterator[Outcome]:
    """`only`: names of stages; empty: all."""
    from ray.cluster_utils import Cluster

    rng = random.Random(seed)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    try:
        for stage in stages(base, only):
            expected = end(stage, base / f"here-{stage.name}", begin(stage, base / f"here-{stage.name}", "--engine", "local"))
            yield Outcome(f"{stage.name}, this machine alone", judged(expected, expected), expected)
            began = time.monotonic()
            to, ray = base / f"apart-{stage.name}", ("--engine", "ray", "--address", cluster.address)
            found = end(stage, to, begin(stage, to, *ray))
            seconds = time.monotonic() - began
            yield Outcome(f"{stage.name}, two nodes", judged(found, expected), found)
            for k in range(rounds):
                for again in range(TRIES):
                    to = base / f"torn-{stage.name}-{k}-{again}"
                    begun = begin(stage, to, *ray)
                    if again == 0:
                        time.sleep(rng.uniform(0, 0.6) * seconds)
                    if working := _wait_for_shards(begun, to, raylet(second)):
                        send(working, signal.SIGSTOP)  # none of them ends while the node goes
                        cluster.remove_node(second, allow_graceful=False)
                        send(working, signal.SIGKILL)
                        second = cluster.add_node(num_cpus=1)
                    found = end(stage, to, begun)
                    if hit := lost(attempts(to)):
                        break
                result = judged(found, expected) if hit else "hit nothing"
                yield Outcome(f"{stage.name}, a node lost with {hit} shards in progress", result, found)
    finally:
        cluster.shutdown()


def _wait_for_shards(begun: subprocess.Popen[str], to: Path, node: int) -> list[int]:
    """The processes of this node that are in the middle of a shard, as soon as there is one; none if the command has ended."""
    while begun.poll() is None:
        if working := at_work(attempts(to), node):
            return working
        time.sleep(0.02)
    return []


def raylet(node: Any) -> int:
    """The process that all workers of a node descend from."""
    return int(node.all_processes["raylet"][0].process.pid)


def drill(seed: int = 0, rounds: int = 1) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        return Report("nodes", seed).add(run_cases(Path(scratch), seed, rounds, asked_for()))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    run_as_script("nodes", drill, 1)
