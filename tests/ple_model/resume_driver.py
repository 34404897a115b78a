"""Run by test_resume in its own process: train, kill by SIGKILL at chosen moments, resume; prints what is left as JSON.

Each training is a forked child of this process, so that torch is imported once and a kill takes nothing else down. One thread:
no thread pool exists that a fork could leave half alive.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch

from ple_model.data.dataset.reader import Dataset
from ple_model.run import load_run
from ple_model.train import Options, train
from ple_model.training import pause
from tests.drills.process import load_optimizers
from tests.fakes import tiny_config

OPTIONS = Options(device="cpu", checkpoint_steps=2, sample_customers=40)
CONFIG = tiny_config({"adatt": {"warmup_epochs": 0, "freeze_epoch": 1}, "training": {"phase1_epochs": 2, "phase2_epochs": 1}})
TIMES = ("time", "seconds", "samples_per_s", "eta_s", "rss_mb", "adatt_time_share")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a child; its wait status (9 if it was killed)."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as e:
            print(f"{type(e).__name__}: {e}", file=sys.stderr)
            os._exit(1)
    return os.waitpid(child, 0)[1]


def one_training(data: Path, run: Path, stop: Callable[[], bool] | None = None) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    train(Dataset.open(data), run, CONFIG, resume=True, device="cpu", stop=stop, options=OPTIONS)


def killed_at_step(n: int) -> Callable[[], bool]:
    """A `stop` that kills the process when it is asked for the n-th time (about once a step)."""
    left = [n]

    def stop() -> bool:
        left[0] -= 1
        if left[0] == 0:
            die()
        return False

    return stop


def paused(data: Path, run: Path, n: int, then: Callable[[], None]) -> None:
    """A training that stands still from the n-th time on that it looks whether it shall stop; `then` at its third look."""
    left, looks = [n], [3]

    def stop() -> bool:
        left[0] -= 1
        if left[0] == 0:
            (run / "state" / pause.NAME).touch()
        return False

    def sleep(seconds: float) -> None:
        looks[0] -= 1
        if looks[0] == 0:
            then()

    pause.time = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)  # type: ignore[assignment]
    one_training(data, run, stop)
    assert looks[0] <= 0, "it did not stand still"


def kill_at_file(name: str, n: int, *, before: bool) -> None:
    """Kill this process right before or right after the n-th time that a file `name` is put in place."""
    real, left = os.replace, [n]

    def replace(source: object, target: object) -> None:
        left[0] -= Path(str(target)).name == name
        if left[0] == 0 and before:
            die()
        real(source, target)  # type: ignore[arg-type]
        if left[0] == 0:
            die()

    os.replace = replace  # type: ignore[assignment]


def result(run: Path) -> dict[str, object]:
    """What must not depend on kills: weights, metrics, calibration and epoch lines without their times."""
    lines = [line for line in load_run(run).progress() if line["event"] == "epoch"]
    epochs = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    digest = {f: hashlib.sha256((run / f).read_bytes()).hexdigest() for f in ("model.safetensors", "metrics.json")}
    digest["calibration"] = hashlib.sha256((run / "preprocess" / "calibration.json").read_bytes()).hexdigest()
    return {"status": load_run(run).manifest.status, "digest": digest, "epochs": epochs}


def main(data: Path, out: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    load_optimizers()
    forked(lambda: one_training(data, out / "whole"))
    found["whole"] = result(out / "whole")
    scenarios: dict[str, list[Callable[[Path], None]]] = {
        "steps": [lambda run, n=n: one_training(data, run, killed_at_step(n)) for n in (1, 3, 6)],
        "files": [
            lambda run, k=k: _with_kill(data, run, *k)
            for k in (
                ("checkpoint.safetensors", 2, True),
                ("model.safetensors", 2, False),
                ("checkpoint.safetensors", 3, False),
            )
        ],
        "end": [
            lambda run, k=k: _with_kill(data, run, *k)
            for k in (("calibration.json", 1, False), ("metrics.json", 1, True), ("sample", 1, False))
        ],
    }
    asked = out / "paused" / "state" / pause.NAME
    scenarios["paused"] = [lambda run: paused(data, run, 3, die), lambda run: paused(data, run, 4, asked.unlink)]
    for name, attempts in scenarios.items():
        run = out / name
        statuses = [forked(lambda a=attempt, r=run: a(r)) for attempt in attempts]
        last = forked(lambda r=run: one_training(data, r))
        left = sorted(p.name for p in run.rglob("*") if p.name.endswith(".tmp") or p.name.startswith(".sample"))
        found[name] = {"killed": sum(s == signal.SIGKILL for s in statuses), "last": last, "left": left, **result(run)}
    return found


def _with_kill(data: Path, run: Path, name: str, n: int, before: bool) -> None:
    kill_at_file(name, n, before=before)
    one_training(data, run)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
