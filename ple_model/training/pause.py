"""A training that stands still while a file asks for it: after the step in progress, and it goes on to the same bits.

The file is `state/pause` in its run's folder; a study's trials also heed `pause` in the study's. The process stays, keeps its
memory and takes no processor time. Its state is saved first, so that a kill while it stands still loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

NAME = "pause"
POLL_S = 0.2


def forget(file: Path, since: float) -> None:
    """Remove what was asked before `since`. What was asked later is meant for who works now: a click on *Pause* or *Stop* while
    a command still starts."""
    with suppress(OSError):
        if file.stat().st_mtime < since:
            file.unlink()


@dataclass
class Pause:
    """Of one training. `files`: any of them asks for it; `held` counts the seconds that it stood still."""

    files: tuple[Path, ...]
    held: float = field(default=0.0, init=False)

    def asked(self) -> bool:
        return any(f.exists() for f in self.files)

    def clock(self) -> float:
        """Seconds of a clock that stands still too."""
        return time.monotonic() - self.held

    def wait(self, stopping: Callable[[], bool], begin: Callable[[], None], end: Callable[[], None]) -> None:
        """Stand still while it is asked for and nobody stops the training; `begin` and `end` are told where that was so."""
        if not self.asked() or stopping():
            return
        begin()
        began = time.monotonic()
        while self.asked() and not stopping():
            time.sleep(POLL_S)
        self.held += time.monotonic() - began
        end()
