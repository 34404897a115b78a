"""A worker that runs a given command in the place of each training: `python -m tests.dashboard.plain_worker ROOT JOB`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dashboard import worker
from dashboard.jobs import JobStore, Training


def _place(run: Path) -> Path:
    return run.with_name(f"{run.name}.command.json")


def plan(run: Path, command: tuple[str, ...]) -> None:
    """What the worker runs for a training into `run`."""
    _place(run).write_text(json.dumps(command))


def planned(training: Training) -> tuple[str, ...]:
    return tuple(json.loads(_place(training.run).read_text()))


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0] == "--detach":
        sys.exit(worker.main(words, "tests.dashboard.plain_worker"))
    sys.exit(worker.work(JobStore(Path(words[0])), words[1], planned))
