"""Two Ray nodes on one machine: build, predict, diagnose, sae, explain and tune come to what this machine comes to alone, and
so where the second node is lost in the middle (SIGKILL of it and all that works on it).

Nodes are processes here (`ray.cluster_utils.Cluster`): they share memory, disk and clock, so what differs between machines
(libraries, processors, a shared file system) is not tried.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.stages import begin, end, judged, stages


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
                to = base / f"torn-{stage.name}-{k}"
                begun = begin(stage, to, *ray)
                time.sleep(rng.uniform(0.4, 0.8) * seconds)
                working = begun.poll() is None
                cluster.remove_node(second, allow_graceful=False)
                found = end(stage, to, begun)
                yield Outcome(f"{stage.name}, a node lost", judged(found, expected) if working else "too late", found)
                second = cluster.add_node(num_cpus=1)
    finally:
        cluster.shutdown()


def drill(seed: int = 0, rounds: int = 1) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        return Report("nodes", seed).add(run_cases(Path(scratch), seed, rounds))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    run_as_script("nodes", drill, 1)
