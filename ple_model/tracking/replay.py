"""A run folder read into a tracker. The folder is the only source: a training that is followed and a run that is at hand go the
same way, and the training knows nothing of it.

What a tracker holds already, by name and step, is not sent again. So a training may stop, resume and be followed from another
process, and no step is there twice; an epoch that a killed training does over gives the same numbers (exact resume).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from ple_model.config_values import config_values
from ple_model.run import Run, load_run

FOLLOWED = ("epoch", "finished")
"""Events of `progress.jsonl` after which there is something new to send."""


class Tracker(Protocol):
    """One run in one tracker."""

    def logged(self) -> dict[str, int]:
        """By name of a value, the last step that the tracker holds of it."""
        ...

    def begin(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """What is known before the first epoch; sent again it changes nothing."""
        ...

    def send(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None:
        """Everything sent so far is written down."""
        ...


def replay(run: Run, tracker: Tracker, logged: dict[str, int]) -> int:
    """Send what `logged` lacks, which is brought up to date; how many values were sent."""
    sent = 0
    for step, values in steps(run):
        new = {k: v for k, v in values.items() if logged.get(k, -1) < step}
        if new:
            tracker.send(new, step)
            logged.update(dict.fromkeys(new, step))
            sent += len(new)
    return sent


def track(run: Run, tracker: Tracker) -> int:
    """A run that is at hand, whole. How many values were new."""
    logged = tracker.logged()
    tracker.begin(params(run), tags(run))
    sent = replay(run, tracker, logged)
    tracker.close()
    return sent


class Follower:
    """Hears the lines of a training's progress and sends what is new. It never ends or changes a training: a tracker that
    fails is warned of once and left alone."""

    def __init__(self, run: Path, tracker: Tracker, warn: Callable[[str], None]) -> None:
        self._run, self._tracker, self._warn = run, tracker, warn
        self._logged: dict[str, int] | None = None
        self.failed = False

    def __call__(self, line: Mapping[str, Any]) -> None:
        if line.get("event") in FOLLOWED:
            self._safely(self._send)

    def close(self) -> None:
        self._safely(self._tracker.close)

    def _send(self) -> None:
        run = load_run(self._run)
        if self._logged is None:
            self._logged = self._tracker.logged()
            self._tracker.begin(params(run), tags(run))
        replay(run, self._tracker, self._logged)

    def _safely(self, work: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            work()
        except Exception as e:  # whatever a foreign library raises
            self.failed = True
            self._warn(f"tracking ends here, the training goes on: {' '.join(str(e).split()) or type(e).__name__}")


def steps(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """(epoch, values) of every epoch, then what the training measured at its end, at the last epoch."""
    last = 0
    for line in run.progress(steps=False):
        if line["event"] == "epoch":
            last = int(line["epoch"])
            yield last, _numbers(_of_epoch(line))
    final = {
        f"{split}/{task}/{name}": value
        for split, tasks in run.metrics().get("splits", {}).items()
        for task, found in tasks.items()
        for name, value in found["metrics"].items()
    }
    if final:
        yield last, _numbers(final)


def _of_epoch(line: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    train, valid = line.get("train") or {}, line.get("valid") or {}
    yield "loss/total", train.get("total")  # beside the tasks, not above them: MLflow makes folders of these names
    yield "ratio/train", train.get("mean_ratio")
    yield "ratio/validation", valid.get("mean_ratio")
    for split, found in (("train", train), ("validation", valid)):
        for task, loss in (found.get("tasks") or {}).items():
            yield f"loss/{split}/{task}", loss
    for task, ratio in (valid.get("ratio") or {}).items():
        yield f"skill/validation/{task}", None if ratio is None else 1 - ratio
    for name in ("lr", "phase", "samples_per_s", "seconds"):
        yield name, line.get(name)


def _numbers(values: Mapping[str, Any] | Iterator[tuple[str, Any]]) -> dict[str, float]:
    """Those that are finite numbers: trackers disagree about all else."""
    return {k: float(v) for k, v in dict(values).items() if isinstance(v, int | float) and math.isfinite(v)}


def params(run: Run) -> dict[str, str]:
    """The configuration key by key."""
    return config_values(run.config)


def tags(run: Run) -> dict[str, str]:
    """What the manifest says of the run. No path, since a tracker may be elsewhere."""
    m = run.manifest
    found: dict[str, Any] = {
        "name": run.name, "created": m.created, "preset": m.preset, "parameters": m.parameters, "seed": m.seed,
        "device": m.device, "machine": m.machine, "data": m.data.name, "data_fingerprint": m.data.fingerprint,
        "command": m.command, "commit": m.commit, "parent": m.parent,
        **{f"version.{k}": v for k, v in m.versions.items()},
    }  # fmt: skip
    return {f"ple.{k}": str(v) for k, v in found.items() if v is not None}


def identity(run: Run) -> str:
    """The same for a run wherever its folder lies, and another for every run: 64 hexadecimal digits."""
    return sha256(f"{run.name} {run.manifest.created} {run.manifest.data.fingerprint}".encode()).hexdigest()
