"""`ple bench diagnose-memory`: the largest memory of a whole diagnosis at 10,000 rows and at 100,000, each in a process of its
own. The rows are those of the bundled healthy run, repeated under new customers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from analysis.bench.many import repeated_run
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.errors import UserError

BUNDLED = Path(__file__).resolve().parents[2] / "sample_runs" / "full"
FLAT = 1.10
"""Ten times the rows may cost a tenth more memory: allocators are not exact."""
CHILD = """
import sys, torch
from analysis import diagnose
from ple_model.bench.measure import own_peak_mb
torch.set_num_threads(int(sys.argv[2]))
diagnose(sys.argv[1])
print(own_peak_mb())
"""


def peak_mb(run: Path, threads: int) -> float:
    """Peak resident memory of a diagnosis of `run` in a fresh process, MB."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(run), str(threads)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the diagnosis of {run} failed: {done.stderr.strip()[-500:]}")
    return float(done.stdout.split()[-1])


def run(settings: Settings) -> list[Row]:
    if not BUNDLED.is_dir():
        raise UserError(f"{BUNDLED} is missing: make it with 'make sample-runs-full'")
    few, many = settings.pick(10_000, 1_000), settings.pick(100_000, 3_000)
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        peaks = [peak_mb(repeated_run(BUNDLED, Path(folder) / str(n), n).path, 2) for n in (few, many)]
    target = Target(FLAT, at_least=False)
    label = f"peak memory at {many:,} rows / at {few:,}"
    return [Row("diagnose-memory", label, peaks[1] / peaks[0], target, peaks[1], peaks[0], "MB")]


BENCHMARKS = (Benchmark("diagnose-memory", "peak memory of a diagnosis at 10,000 and 100,000 rows", run),)
