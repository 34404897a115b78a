"""What processes of one training say to each other outside their collectives: words under keys of the store that all can reach.

Work of the first process alone (a fit, a pause, the end of a training) may take longer than any collective waits: the others
look for its word, and for the beats by which a thread of it says meanwhile that it is there. Who fails, or loses another,
leaves a word too.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch.distributed.distributed_c10d import Store

from ple_model.errors import UserError
from ple_model.training.session import LostProcess, Stopped

PATIENCE = 15.0
"""Seconds that a process waits for the first one's word after somebody asked it to stop, whatever that one is at: `torchrun`
kills after 30."""
LOOK = 0.2
"""Seconds between two looks for the first process's word."""
FAILED = "failed"
"""Key of the store: which process failed, and why."""
LOST = "lost"
"""Key of the store: which process found that another one is gone."""
ALIVE = "alive"
"""Key of the store: a number that changes while the first process works alone."""
BEATS = 10
"""In the time after which it counts as lost; but one every `SELDOM` seconds at least."""
SELDOM = 10.0


class ElsewhereFailed(UserError):
    """Another process failed, and says why."""


class StoreWords:
    """Of process `rank` of `world`; one that is silent for `seconds` counts as lost."""

    def __init__(self, rank: int, world: int, store: Store, seconds: float) -> None:
        self.rank, self.world, self.seconds, self._store = rank, world, seconds, store
        self._said = 0
        """Times that the first process did something alone."""
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
            with self._beating():
                value = work()
        except BaseException as e:
            with suppress(RuntimeError):
                self._store.set(key, json.dumps({"stopped": isinstance(e, Stopped), "failed": True}))
            raise
        self._store.set(key, json.dumps({"value": value}))
        return value

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """A thread says that this process is there, until the end of the block."""
        done, every = threading.Event(), min(self.seconds / BEATS, SELDOM)

        def beat() -> None:
            with suppress(RuntimeError):  # without a store nobody listens
                while not done.wait(every):
                    self._store.add(ALIVE, 1)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(self.seconds)

    def _heard(self, key: str) -> Any:
        """The first process's word under `key`, however long it takes while that one is there."""
        said = json.loads(self._wait(key))
        if said.get("stopped"):
            raise Stopped
        if said.get("failed"):
            raise ElsewhereFailed(f"{self}: process 0 failed and says why")
        return said["value"]

    def _wait(self, key: str, until: float = math.inf) -> bytes:
        pause, asked, beats, heard = 0.01, math.inf, 0, time.monotonic()
        while True:
            try:  # not `store.wait`, which prints a line whenever it has waited in vain
                if self._store.check([key]):
                    return bytes(self._store.get(key))
                broken = self._store.check([FAILED]) or self._store.check([LOST])
                now, found = time.monotonic(), self._store.add(ALIVE, 0)
            except RuntimeError as e:
                raise self.lost(e) from e
            heard, beats = (now, found) if found != beats else (heard, beats)
            asked = min(asked, now) if self.leaving() else math.inf
            if broken or now > min(until, asked + PATIENCE, heard + self.seconds):
                raise self.lost(RuntimeError(f"no word under {key}"))
            time.sleep(pause)
            pause = min(2 * pause, LOOK)

    def leave(self) -> None:
        """After what all do together: nobody goes while another still waits for an answer of its, and the first one, which
        may hold the store, goes last."""
        until = time.monotonic() + self.seconds
        with suppress(RuntimeError, LostProcess, ElsewhereFailed):
            self._store.set(f"ready/{self.rank}", "")
            for rank in range(self.world):
                self._wait(f"ready/{rank}", until)
            self._store.set(f"left/{self.rank}", "")
            for rank in range(1, self.world if self.rank == 0 else 1):
                self._wait(f"left/{rank}", until)

    def fail(self, error: BaseException) -> None:
        """Tell the others why this process ends: by its own fault, or because another one is gone."""
        with suppress(RuntimeError):
            key = LOST if isinstance(error, LostProcess) else FAILED
            self._store.set(key, f"{self}: {' '.join(str(error).split()) or type(error).__name__}")

    def lost(self, error: RuntimeError) -> UserError:
        """What became of the others, from the error of a collective."""
        with suppress(RuntimeError):
            if self._store.check([FAILED]):
                return ElsewhereFailed(self._store.get(FAILED).decode())
        return LostProcess(
            f"{self}: another process died or does not answer; the same command with --resume goes on from the last checkpoint "
            f"({' '.join(str(error).split())[:160]})"
        )
