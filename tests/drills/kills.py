"""Trainings killed (SIGKILL) at random moments and resumed: each ends with the same bits as one that was never killed.

A third of the kills comes at a random time, a third while a checkpoint or the weights are being written, a third in the end
phase, while the sample or what scoring needs is being written. The next kill meets the resumed training.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.process import load_optimizers
from tests.fakes import make_dataset
from tests.ple_model.resume_driver import forked, one_training, result

LIMIT_S = 600.0


def _started(data: Path, run: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            one_training(data, run)
            os._exit(0)
        except BaseException as e:
            (run.parent / f"{run.name}.error").write_text(f"{type(e).__name__}: {e}")
            os._exit(1)
    return child


def _killed(child: int, now: Callable[[float], bool]) -> bool:
    """Kill the child as soon as `now(seconds since its start)`; False if it ended before."""
    began = time.monotonic()
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        since = time.monotonic() - began
        if now(since) or since > LIMIT_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.0005)
    return False


def _moment(kind: str, run: Path, rng: random.Random, seconds: float) -> Callable[[float], bool]:
    """When to kill: `seconds` is how long a whole training takes."""
    after = rng.uniform(0.0, seconds)
    if kind == "any time":
        return lambda since: since > after
    if kind == "checkpoint":
        early = after * 0.7
        return lambda since: since > early and any((run / "state").glob(".*.tmp"))
    return lambda since: (run / ".sample.new").exists() or any((run / "preprocess").glob(".*.tmp"))


def run_cases(base: Path, seed: int, kills: int) -> Iterator[Outcome]:
    rng, data = random.Random(seed), make_dataset(base / "data").path
    load_optimizers()
    began = time.monotonic()
    if forked(lambda: one_training(data, base / "whole")):
        raise RuntimeError("a training that nobody disturbs does not end well")
    seconds, whole = time.monotonic() - began, result(base / "whole")
    done, number = 0, 0
    while done < kills:
        run, said = base / f"run-{number}", []
        number += 1
        for kind in rng.sample(["any time", "any time", "checkpoint", "checkpoint", "sample"], 5):
            if done < kills and _killed(_started(data, run), _moment(kind, run, rng, seconds)):
                done += 1
                said.append(kind)
                yield Outcome(f"{run.name} killed: {kind}", "right")
        last = forked(lambda r=run: one_training(data, r))
        left = [p.name for p in run.rglob("*") if p.name.endswith(".tmp") or p.name.startswith(".sample")]
        left += [p.name for p in base.glob(f".{run.name}.*")]
        case = f"{run.name} after {len(said)} kills"
        if last != 0 or (base / f"{run.name}.error").exists():
            yield Outcome(case, "does not go on", str(last))
        elif left:
            yield Outcome(case, "left behind", str(left[:5]))
        else:
            yield Outcome(case, "right" if result(run) == whole else "other bits")


def drill(seed: int = 0, kills: int = 30) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        return Report("kills", seed).add(run_cases(Path(scratch), seed, kills))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_as_script("kills", drill, 30)
