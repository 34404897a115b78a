"""Optuna's journal as a file of JSON lines in the study folder.

Optuna's own file backend locks by a link that a killed process leaves behind for half a minute, and refuses a journal whose
last line was torn by the kill. Here the lock is the system's and dies with its process, and the next writer cuts a torn line
off: what it would have said is lost, as if the kill had come a moment earlier.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from ple_model.disk import writing
from ple_model.errors import UserError
from ple_model.safe_paths import append_file, open_file

JOURNAL = "journal.jsonl"
MOST_BYTES = 1 << 30


class Journal(BaseJournalBackend):
    """Safe for several processes on one machine: one appends at a time, readers see whole lines only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = [0]
        """Byte at which each line that was read begins, and that after the last one."""

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The lines from this one on; a last one without its end is not there yet."""
        at = min(log_number_from, len(self._starts) - 1)
        del self._starts[at + 1 :]
        try:
            file = open_file(self.path, MOST_BYTES)
        except FileNotFoundError:
            return
        with file:
            file.seek(self._starts[at])
            lines = file.read().split(b"\n")[:-1]
        for number, line in enumerate(lines, start=at):
            self._starts.append(self._starts[-1] + len(line) + 1)
            if number < log_number_from:
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as e:
                raise UserError(f"{self.path} is damaged: line {number + 1} is no JSON") from e
            if not isinstance(value, dict):
                raise UserError(f"{self.path} is damaged: line {number + 1} is no mapping")
            yield value

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """All lines or none."""
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with writing(self.path, len(data)):
            held = append_file(self.path)
            try:
                fcntl.flock(held, fcntl.LOCK_EX)
                _cut_torn(self.path, held)
                _append(held, data)
                os.fsync(held)
            finally:
                os.close(held)


def _append(held: int, data: bytes) -> None:
    """All of it: a disk that fills up takes a part and says so at the next call. What it took is cut off again."""
    before, done = os.fstat(held).st_size, 0
    try:
        while done < len(data):
            done += os.write(held, data[done:])
    except OSError:
        os.ftruncate(held, before)
        raise


def _cut_torn(path: Path, held: int) -> None:
    """Remove what follows the last end of a line; nobody else writes meanwhile."""
    size = os.fstat(held).st_size
    if not size:
        return
    with open_file(path) as file:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        os.ftruncate(held, file.read().rfind(b"\n") + 1)
