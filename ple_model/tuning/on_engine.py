"""A study's trials as the shards of an engine: one trial a task, all over the study's one journal.

A task does what a process of `ple tune --workers N` does: it draws a trial, or goes on with an interrupted one, under the
study's lock, and trains it in the study's folder, which every machine must have under the same path. A task whose process died
is begun again by the engine and finds its trial interrupted: it goes on from the trial's own checkpoint. Where the trial's lock
is not free yet (a lost machine may hold it for a while) its task ends without one, and another is given out at the end. The
first process works on no trial. Whoever wants the tasks to stop leaves a file in the study's folder: a signal does not reach
another machine.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ple_model.engine import RETRIES, ShardDied, ShardEngine
from ple_model.errors import UserError
from ple_model.safe_paths import is_file, make_folder, write_bytes
from ple_model.tuning.record import load_trial
from ple_model.tuning.search import Hear, Study, Told

SECONDS = 0.2
"""Between two looks whether somebody asked to stop."""
TASK_DEVICES = ("auto", "cpu")
"""Of a task, which has one CPU."""


@dataclass(frozen=True)
class TrialShard:
    """One trial of a study, whichever comes next; of a study that has no number of trials all until its time is over."""

    study: Path
    until: float | None
    """Seconds since 1970: the clocks of two machines have no other zero in common."""
    stop: Path
    """A file that is there once the work is to stop."""
    most: int | None


def work_by_engine(study: Study, engine: ShardEngine, stopped: Callable[[], bool], until: float | None, hear: Hear) -> int:
    """Work until the budget is spent, or the moment `until` (monotonic seconds) has passed, or `stopped()`: trials in progress
    then end as interrupted. How many trials of the budget have not ended, though nobody asked to stop and there was time.
    `UserError` names the task that failed, or that cannot have the device that the study was begun with."""
    if study.spec.device not in TASK_DEVICES:
        raise UserError(
            f"--device: the study was begun with {study.spec.device}; a task of --engine ray has one CPU and no GPU: go on"
            " without --engine, or begin another one with --device cpu"
        )
    folder = study.folder.absolute()
    wall = None if until is None else time.time() + until - time.monotonic()
    with _asked_by_file(folder, stopped) as stop:
        left, before = study.left(), None
        while left is None or (left and (before is None or left < before)):
            shard = TrialShard(folder, wall, stop, None if left is None else 1)
            count = engine.at_once() if left is None else left
            for number in _ended(engine, {f"task-{k + 1:04d}": shard for k in range(count)}, stopped):
                if (trial := load_trial(folder, number)) is not None:
                    hear(Told("ended", trial, {}))
            if left is None or stopped() or (until is not None and time.monotonic() >= until):
                return 0
            left, before = study.left(), left
    return left


def _ended(engine: ShardEngine, shards: Mapping[str, TrialShard], stopped: Callable[[], bool]) -> Iterator[int]:
    """The trials that end, by number. A task is no trial: which one it works on is drawn."""
    try:
        for _, ended in engine.run(next_trial, shards, stopped):
            yield from ended
    except ShardDied as e:
        raise UserError(
            f"a task that works on trials died {RETRIES + 1} times; a trial may need more memory than there is: give fewer"
            " workers. Trials that ended are kept: --resume goes on with the study"
        ) from e


def next_trial(shard: TrialShard) -> tuple[int, ...]:
    """Draws and trains it; the numbers of the trials that ended."""
    import torch  # late: a study is planned without

    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    ended: list[int] = []
    until = None if shard.until is None else time.monotonic() + shard.until - time.time()

    def hear(told: Told) -> None:
        if told.event == "ended":
            ended.append(told.trial.number)

    Study(shard.study, hear).work(lambda: is_file(shard.stop), until, shard.most)
    return tuple(ended)


@contextmanager
def _asked_by_file(folder: Path, stopped: Callable[[], bool]) -> Iterator[Path]:
    """A file that appears when `stopped()` is true, and is gone at the end of the block."""
    make_folder(folder / "locks")
    path, over = folder / "locks" / f"stop-{uuid.uuid4().hex}", threading.Event()

    def look() -> None:
        while not over.wait(SECONDS):
            if stopped():
                write_bytes(path, b"")
                return

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield path
    finally:
        over.set()
        looking.join()
        with suppress(FileNotFoundError):
            path.unlink()
