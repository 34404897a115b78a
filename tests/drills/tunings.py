"""Studies killed (SIGKILL) at random moments and gone on with: each ends with the trials, settings and numbers of one that was
never killed, by one process; two processes killed at random lose no trial and leave none running.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ple_model.data.dataset.reader import Dataset
from ple_model.tuning.begin import Asked, planned
from ple_model.tuning.record import TrialRecord, load_trials, save_study
from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.process import load_optimizers
from tests.fakes import TINY, make_dataset
from tests.ple_model.resume_driver import forked

TRIALS = 6
KEYS = ("training.learning_rate=1e-3..1e-2:log", "global.dropout=0..0.4", "training.batch_size=16|32")
LIMIT_S = 900.0


def _config(place: Path) -> Path:
    import yaml

    text = {**TINY, "training": {**TINY["training"], "phase1_epochs": 2, "phase2_epochs": 0}}
    (place / "tiny.yaml").write_text(yaml.safe_dump(text))
    return place / "tiny.yaml"


def begin(data: Path, folder: Path, config: Path, sampler: str) -> None:
    """A study of a tiny model, nothing trained yet."""
    asked = Asked("small", config, keys=KEYS, only=True, sampler=sampler, trials=TRIALS, device="cpu")  # type: ignore[arg-type]
    spec = planned(Dataset.open(data), folder, asked)
    folder.mkdir()
    save_study(folder, spec)


def work(folder: Path) -> None:
    """Go on with the study until its budget is spent."""
    import torch

    from ple_model.tuning.search import Study

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    Study(folder).work(lambda: False)


def _started(folder: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            work(folder)
            os._exit(0)
        except BaseException as e:
            (folder.parent / f"{folder.name}.error").write_text(f"{type(e).__name__}: {e}")
            os._exit(1)
    return child


def _killed(child: int, after: float) -> bool:
    """Kill the child after so many seconds; False if it ended before."""
    began = time.monotonic()
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() - began > min(after, LIMIT_S):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.001)
    return False


def result(folder: Path) -> list[tuple[object, ...]]:
    """What must not depend on kills, trial by trial; that it was begun again is no part of it."""
    return [(t.number, t.state, tuple(t.params.items()), str(t.skill), _tasks(t), t.epochs) for t in load_trials(folder)]


def _tasks(trial: TrialRecord) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, str(v)) for k, v in trial.tasks.items()))


def run_cases(base: Path, seed: int, kills: int) -> Iterator[Outcome]:
    rng, data, config = random.Random(seed), make_dataset(base / "data", train=96, validation=64, test=32).path, _config(base)
    load_optimizers()
    whole: dict[str, list[tuple[object, ...]]] = {}
    seconds = 0.0
    for sampler in ("tpe", "random"):
        began = time.monotonic()
        begin(data, base / f"whole-{sampler}", config, sampler)
        if forked(lambda s=sampler: work(base / f"whole-{s}")):
            raise RuntimeError("a study that nobody disturbs does not end well")
        seconds = time.monotonic() - began
        whole[sampler] = result(base / f"whole-{sampler}")
    done, number = 0, 0
    while done < kills:
        sampler = ("tpe", "random")[number % 2]
        folder = base / f"study-{number}"
        number += 1
        begin(data, folder, config, sampler)
        for _ in range(min(2, kills - done)):
            if _killed(_started(folder), rng.uniform(0.02, 0.9) * seconds):
                done += 1
                yield Outcome(f"{folder.name} ({sampler}) killed", "right")
        yield _judged(folder, forked(lambda f=folder: work(f)), whole[sampler])
    yield _two(base, data, config, rng, seconds)


def _judged(folder: Path, status: int, whole: list[tuple[object, ...]]) -> Outcome:
    error = folder.parent / f"{folder.name}.error"
    left = [p.name for p in folder.rglob("*") if p.name.endswith(".tmp")]
    if status or error.exists():
        return Outcome(folder.name, "does not go on", error.read_text() if error.exists() else str(status))
    if left:
        return Outcome(folder.name, "left behind", str(left[:5]))
    mine = result(folder)
    other = next((f"{a[0]}: {a[1:3]} / {b[1:3]}" for a, b in zip(mine, whole, strict=False) if a != b), "")
    return Outcome(folder.name, "right" if mine == whole else "other trials", other[:300])


def _two(base: Path, data: Path, config: Path, rng: random.Random, seconds: float) -> Outcome:
    """Two processes on one study, one of them killed: the other ends the study."""
    folder = base / "two"
    begin(data, folder, config, "random")
    first, second = _started(folder), _started(folder)
    _killed(first, rng.uniform(0.1, 0.5) * seconds)
    os.waitpid(second, 0)
    status = forked(lambda: work(folder))
    trials = load_trials(folder)
    numbers, states = [t.number for t in trials], {t.state for t in trials}
    right = status == 0 and numbers == list(range(1, TRIALS + 1)) and states <= {"finished", "pruned"}
    return Outcome("two processes, one killed", "right" if right else "wrong", f"{numbers} {sorted(states)}")


def drill(seed: int = 0, kills: int = 12) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        return Report("tunings", seed).add(run_cases(Path(scratch), seed, kills))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_as_script("tunings", drill, 12)
