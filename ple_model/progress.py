"""`progress.jsonl`: what a training reports while it runs, one JSON object a line; the app tails it.

Events: start, step (at most about two a second), epoch, phase, freeze, warning, stopped, resumed, finished, failed. Each
line is one `write` of a complete line, so a reader sees whole lines but perhaps a torn last one, which it ignores. The keys
of an epoch line are listed in `train.Trainer._epoch_event`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ple_model.files import plain

Callback = Callable[[dict[str, Any]], None]


class ProgressWriter:
    """Appends lines to `path` and hands each to `callback`. `size` is the length of the file in bytes, for exact resume."""

    def __init__(self, path: Path, *, size: int | None = None, callback: Callback | None = None) -> None:
        """`size`: cut the file to this length first (what a killed training wrote after its last checkpoint)."""
        self._callback = callback
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if size is not None and os.fstat(self._file).st_size > size:
            os.ftruncate(self._file, size)

    @property
    def size(self) -> int:
        return os.fstat(self._file).st_size

    def write(self, event: str, **values: Any) -> None:
        line = {"event": event, "time": round(time.time(), 3), **plain(values)}
        os.write(self._file, (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())
        if self._callback is not None:
            self._callback(line)

    def close(self) -> None:
        os.close(self._file)


def read_progress(path: Path, *, steps: bool = True) -> list[dict[str, Any]]:
    """Every whole line of the file, oldest first; none if there is no file. A torn or damaged line is left out.

    `steps=False` leaves the step events out, which are most of a long run's lines."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    out: list[dict[str, Any]] = []
    for raw in data.split(b"\n")[:-1]:  # a last line without its newline is still being written
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and "event" in line and (steps or line["event"] != "step"):
            out.append(line)
    return out
