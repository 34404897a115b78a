"""Ctrl-C asks a training to stop after its step; a second one breaks it off."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ple_model.translation import training_sentence


class _StopFlag:
    def __init__(self) -> None:
        self.seen = False

    def asked(self) -> bool:
        return self.seen


@contextmanager
def stop_on_signals(language: str, *, tell: bool = True) -> Iterator[_StopFlag]:
    """The first SIGINT or SIGTERM asks the training to stop after its step; the second one acts as usual. `tell`: say so."""
    flag = _StopFlag()
    old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        flag.seen = True
        said = training_sentence("stopping after this step; once more to break off", language)
        if tell:
            print(f"\n{said}", file=sys.stderr)
        signal.signal(number, old[signal.Signals(number)])

    for s in old:
        signal.signal(s, handle)
    try:
        yield flag
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)
