"""The process that makes data: it runs a job's commands of `ple` one after the other, and notes how far it is.

`python -m dashboard.making ROOT JOB`. A command that was finished before (its folder is there) is not run again; SIGTERM ends
the running one as Ctrl-C does, and what it has finished is kept.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from dashboard.data_jobs import DataStore, Making, Progress, Step, commands
from ple_model.cli import main as ple
from ple_model.training.pause import Pause

EVERY_S = 0.3
"""Progress is written so often at most, and at once where a stage begins or ends."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def done(making: Making, step: Step) -> bool:
    """Whether event tables are there already. Builds and baselines say themselves what they reuse."""
    return step in ("synth", "import") and making.events is not None and (making.events / "events.json").is_file()


def run(store: DataStore, job_id: str) -> int:
    """Run the job's commands; the exit status of the first that fails, else 0."""
    job = store.get(job_id)
    making, pause = job.making, Pause((store.pause_path(job),))
    for number, (step, words) in enumerate(zip(making.steps, commands(making), strict=True)):
        last, before = 0.0, ""

        def hear(stage: str, share: float, number: int = number) -> None:
            nonlocal last, before
            now = time.monotonic()
            if stage != before or share >= 1 or now - last >= EVERY_S:
                store.note(job_id, Progress(number, stage, share))
                last, before = now, stage
            pause.wait(
                lambda: False,
                lambda: store.note(job_id, Progress(number, stage, share, paused=True)),
                lambda: store.note(job_id, Progress(number, stage, share)),
            )

        hear(step, 0.0)
        print(f"$ ple {shlex.join(words)}", flush=True)
        if done(making, step):
            print(f"{making.events} is there already", flush=True)
            continue
        code = ple(words, hear)
        sys.stdout.flush()
        if code:
            return code
    return 0


def main(words: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    store, job_id = DataStore(Path(words[0])), words[1]
    code = run(store, job_id)
    if code == 0:  # its worker may have been killed: then nobody else says so
        store.update(job_id, status="finished", ended=time.time(), returncode=0)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
