"""`progress.jsonl`: what a training reports while it runs, one JSON object a line; the app tails it.

Events: start, fit, step (at most about two a second), epoch, phase, freeze, warning, baselines, ending, stopped, resumed,
finished, failed.
Each line is one `write` of a complete line, so a reader sees whole lines but perhaps a torn last one, which it ignores. The
keys of an epoch line are listed in `training.report.Report.epoch`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ple_model.disk import writing
from ple_model.json_text import plain
from ple_model.progress_shape import fits
from ple_model.safe_paths import append_file, open_file

LINE_BYTES = 256 << 10
"""The longest line that is read; an epoch of the largest preset has some 30 kB."""
KEPT_BYTES = 64 << 20
"""Of one file; a day of step lines has some 50 MB."""

Callback = Callable[[dict[str, Any]], None]


class ProgressWriter:
    """Appends lines to `path` and hands each to `callback`. `size` is the length of the file in bytes, for exact resume."""

    def __init__(self, path: Path, *, size: int | None = None, callback: Callback | None = None) -> None:
        """`size`: cut the file to this length first (what a killed training wrote after its last checkpoint)."""
        self._callback, self._path = callback, path
        self._file = append_file(path)
        if size is not None and os.fstat(self._file).st_size > size:
            os.ftruncate(self._file, size)

    @property
    def size(self) -> int:
        return os.fstat(self._file).st_size

    def write(self, event: str, **values: Any) -> None:
        line = {"event": event, "time": round(time.time(), 3), **plain(values)}
        data = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode()
        before = self.size
        with writing(self._path, len(data)):
            try:
                while data:  # a disk that fills up takes a part and says so at the next write
                    data = data[os.write(self._file, data) :]
            except OSError:
                os.ftruncate(self._file, before)
                raise
        if self._callback is not None:
            self._callback(line)

    def close(self) -> None:
        os.close(self._file)


class NoProgress(ProgressWriter):
    """Of a process that leaves the telling to another: nothing is written."""

    size = 0

    def __init__(self) -> None:
        pass

    def write(self, event: str, **values: Any) -> None:
        pass

    def close(self) -> None:
        pass


def read_progress(path: Path, *, steps: bool = True) -> list[dict[str, Any]]:
    """Every whole line of the file, oldest first; none if there is no file. A torn or damaged line is left out.

    `steps=False` leaves the step events out, which are most of a long run's lines."""
    try:
        with open_file(path) as file:
            return [line for raw in _lines(file) if (line := _event(raw, steps)) is not None]
    except FileNotFoundError:
        return []


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines; one that is longer than any of ours is passed over without being held."""
    kept = 0
    skipping = False
    while raw := file.readline(LINE_BYTES):
        ended = raw.endswith(b"\n")
        if ended and not skipping:  # a last line without its newline is still being written
            yield raw
            kept += len(raw)
            if kept > KEPT_BYTES:
                return
        skipping = not ended


def _event(raw: bytes, steps: bool) -> dict[str, Any] | None:
    if not steps and b'"event": "step"' in raw[:40]:
        return None
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if fits(line) and (steps or line["event"] != "step") else None
