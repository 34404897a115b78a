"""`ple bench build`: time a customer and peak memory of building a dataset at 10,000 and at 100,000 synthetic customers.

Each size runs in a process of its own, with one cut-off, so that a customer is one row. It takes ten minutes and more: sizes
are compared, not rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.errors import UserError

FLAT = 1.10
"""Ten times the customers may cost a tenth more each: allocators and disks are not exact."""
CHILD = """
import json, resource, sys, time
from ple_model.bench.measure import own_peak_mb
from ple_model.data.build.build import build
from ple_model.data.synth import world
if __name__ == "__main__":
    last = first = time.perf_counter()
    seconds = {}
    def tick(name, share):
        global last
        now = time.perf_counter()
        seconds[name] = seconds.get(name, 0.0) + now - last
        last = now
    data = build(sys.argv[1], sys.argv[2], [world.CUTOFFS[-1].isoformat()], tick)
    peak = max(own_peak_mb(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    print(json.dumps({"rows": data.manifest.rows, "seconds": seconds, "total": time.perf_counter() - first, "mb": peak}))
"""


def built(folder: Path, customers: int, seed: int) -> dict[str, Any]:
    """Rows, seconds a step and in all, and the peak memory (MB) of the largest process of one build."""
    from ple_model.data.synth import generate  # late: the synthetic bank

    events = folder / f"events-{customers}"
    generate(events, customers, seed, workers=min(8, os.cpu_count() or 1))
    command = [sys.executable, "-c", CHILD, str(events), str(folder / f"dataset-{customers}")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the build of {customers} customers failed: {done.stderr.strip()[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run(settings: Settings) -> list[Row]:
    sizes = settings.pick(10_000, 300), settings.pick(100_000, 900)
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        few, many = (built(Path(folder), n, settings.seed) for n in sizes)
    limit, flat = Target(10, at_least=False), Target(FLAT, at_least=False)

    def each(found: dict[str, Any], step: str) -> float:
        return float(1000 * (found["total"] if step == "total" else found["seconds"][step]) / found["rows"])

    rows = [
        Row("build", f"features, ms a customer, {n:,} customers", each(found, "features"), limit, each(found, "features"))
        for n, found in zip(sizes, (few, many), strict=True)
    ]
    for step, target in (("features", flat), ("total", flat), *((s, None) for s in few["seconds"] if s != "features")):
        ours, reference = each(many, step), each(few, step)
        name = "the whole build" if step == "total" else step
        rows.append(Row("build", f"{name}, a customer: {sizes[1]:,} / {sizes[0]:,}", ours / reference, target, ours, reference))
    memory = f"peak memory of the largest process: {sizes[1]:,} / {sizes[0]:,}"
    return [*rows, Row("build", memory, many["mb"] / few["mb"], None, many["mb"], few["mb"], "MB")]


BENCHMARKS = (Benchmark("build", "building a dataset at 10,000 and 100,000 customers: time each, peak memory", run),)
