"""The engine of one machine: a process a shard, a few at a time, each with one thread.

A process a shard, and not a pool of processes: what a shard took is given back when it ends, and the death of one says which
shard it was. It costs the start of a process and its imports, once a shard.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ple_model.engine.base import RETRIES, Shard, Value, died, never, portable, said
from ple_model.threads import one_thread_each, take_back


class LocalEngine:
    """`workers` processes at a time."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def at_once(self) -> int:
        """See `ShardEngine.at_once`."""
        return self.workers

    def run(
        self, work: Callable[[Shard], Value], shards: Mapping[str, Shard], stopped: Callable[[], bool] = never
    ) -> Iterator[tuple[str, Value]]:
        """See `ShardEngine.run`."""
        waiting, deaths = deque(shards), Counter[str]()
        running: dict[Connection, tuple[str, BaseProcess]] = {}
        failed: BaseException | None = None
        try:
            while running or (waiting and failed is None):
                if waiting and stopped():
                    waiting.clear()
                    continue
                while waiting and failed is None and len(running) < self.workers:
                    name = waiting.popleft()
                    running |= _begin(work, name, shards[name])
                heard = connection.wait(list(running))
                for ended in [c for c in running if c in heard]:
                    name, process = running.pop(ended)
                    answer = _answer(ended)
                    process.join()
                    if answer is None:
                        deaths[name] += 1
                        if deaths[name] > RETRIES:
                            failed = failed or died(name)
                        else:
                            waiting.append(name)
                    elif isinstance(answer, _Failed):
                        failed = failed or said(name, answer.error)
                    else:
                        yield name, answer[0]
        finally:
            for _, process in running.values():
                process.kill()
        if failed is not None:
            raise failed


class _Failed:
    """What a shard's process sends where its work raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _begin(work: Callable[[Any], Any], name: str, shard: Any) -> dict[Connection, tuple[str, BaseProcess]]:
    ours, theirs = connection.Pipe()
    process = get_context("spawn").Process(target=_work, args=(theirs,), name=f"shard {name}")
    with one_thread_each(), _exactly_one():
        process.start()
    theirs.close()  # so that its death is the end of the pipe
    with suppress(BrokenPipeError, ConnectionResetError):  # it is dead already
        ours.send((work, shard))  # not by `start`, which waits without end for one that died before it had read much
    return {ours: (name, process)}


@contextmanager
def _exactly_one() -> Iterator[None]:
    """Whatever was asked for the first process: with more threads a sum may differ in its last bit."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _answer(ours: Connection) -> Any:
    """What the process sent; None where it died before."""
    with ours:
        try:
            return ours.recv()
        except (EOFError, OSError):
            return None
        except Exception as e:
            return _Failed(RuntimeError(f"its answer cannot be read: {type(e).__name__}: {e}"))


def _work(theirs: Connection) -> None:
    """In the shard's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the first process decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    take_back()
    try:
        work, shard = theirs.recv()
        answer: Any = (work(shard),)
    except BaseException as e:  # an exit is no death
        answer = _Failed(portable(e))
    try:
        theirs.send(answer)
    except Exception as e:  # what cannot be sent as it is
        cause = answer.error if isinstance(answer, _Failed) else e
        theirs.send(_Failed(RuntimeError(f"{type(cause).__name__}: {cause}")))


def _die_with_parent() -> None:
    """Whoever kills the command means its shards too."""
    parent = parent_process()
    if parent is not None:
        with suppress(OSError):
            connection.wait([parent.sentinel])
        os._exit(1)
