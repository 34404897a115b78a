"""What processes of one training say to each other outside their collectives: words under keys of the store that all can reach.

Work of the first process alone (a fit, a pause) may take longer than any collective waits: the others look for its word. Who
fails leaves its reason, so that the others can name it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch.distributed.distributed_c10d import Store

from ple_model.errors import UserError
from ple_model.training.session import LostProcess, Stopped

PATIENCE = 15.0
"""Seconds that a process waits for the first one's word after somebody asked it to stop; `torchrun` kills after 30."""
LOOK = 0.2
"""Seconds between two looks for the first process's word."""
FAILED = "failed"
"""Key of the store: which process failed, and why."""


class ElsewhereFailed(UserError):
    """Another process failed, and says why."""


class StoreWords:
    """Of process `rank` of `world`."""

    def __init__(self, rank: int, world: int, store: Store) -> None:
        self.rank, self.world, self._store = rank, world, store
        self._said = 0
        """Times that the first process did something alone."""
        self._left = False
        self.leaving: Callable[[], bool] = lambda: False
        """Whether somebody asked this process to end."""

    def __str__(self) -> str:
        return f"process {self.rank} of {self.world}"

    def first_does(self, work: Callable[[], Any]) -> Any:
        """See `Ranks.first_does`."""
        key = f"word/{self._said}"
        self._said += 1
        if self.rank > 0:
            return self._heard(key)
        try:
            value = work()
        except BaseException as e:
            with suppress(RuntimeError):
                self._store.set(key, json.dumps({"stopped": isinstance(e, Stopped), "failed": True}))
            raise
        self._store.set(key, json.dumps({"value": value}))
        return value

    def _heard(self, key: str) -> Any:
        """The first process's word under `key`, however long it takes."""
        said = json.loads(self._wait(key))
        if said.get("stopped"):
            raise Stopped
        if said.get("failed"):
            raise ElsewhereFailed(f"{self}: process 0 failed and says why")
        return said["value"]

    def _wait(self, key: str, until: float = math.inf) -> bytes:
        pause, asked = 0.01, math.inf
        while True:
            try:  # not `store.wait`, which prints a line whenever it has waited in vain
                if self._store.check([key]):
                    return bytes(self._store.get(key))
            except RuntimeError as e:
                raise self.lost(e) from e
            now = time.monotonic()
            asked = min(asked, now) if self.leaving() else math.inf
            if now > min(until, asked + PATIENCE):  # who still works would have stopped by then
                raise self.lost(RuntimeError(f"no word under {key}"))
            time.sleep(pause)
            pause = min(2 * pause, LOOK)

    def leave(self, seconds: float) -> None:
        """After what all do together: nobody goes while another still waits for an answer of its, and the first one, which
        may hold the store, goes last. None waits longer than `seconds`."""
        if self._left:
            return
        self._left, until = True, time.monotonic() + seconds
        with suppress(RuntimeError, LostProcess, ElsewhereFailed):
            self._store.set(f"ready/{self.rank}", "")
            for rank in range(self.world):
                self._wait(f"ready/{rank}", until)
            self._store.set(f"left/{self.rank}", "")
            for rank in range(1, self.world if self.rank == 0 else 1):
                self._wait(f"left/{rank}", until)

    def fail(self, error: BaseException) -> None:
        """Tell the others why this process ends."""
        with suppress(RuntimeError):
            self._store.set(FAILED, f"{self}: {' '.join(str(error).split()) or type(error).__name__}")

    def lost(self, error: RuntimeError) -> UserError:
        """What became of the others, from the error of a collective."""
        with suppress(RuntimeError):
            if self._store.check([FAILED]):
                return ElsewhereFailed(self._store.get(FAILED).decode())
        return LostProcess(
            f"{self}: another process died or does not answer; the same command with --resume goes on from the last checkpoint "
            f"({' '.join(str(error).split())[:160]})"
        )
