"""Batches on their way to the device.

To a GPU they go through a thread of their own, which reads the next ones while this one is trained on, into pinned memory: only
from there is a copy asynchronous. On a CPU there is nothing to wait for, and batches pass as they are.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.batches import Batch

AHEAD = 2
"""Batches that are read before they are asked for."""
Item = TypeVar("Item")


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[PLEClusterInput]:
    """The batches' inputs on `device`, in their order and with their values."""
    if device.type == "cpu":
        yield from (b.inputs for b in batches)
        return
    pinned = ahead((b.inputs.map(Tensor.pin_memory) for b in batches), AHEAD)
    for inputs in pinned:
        yield inputs.to(device, non_blocking=True)


@dataclass(frozen=True)
class _End:
    """Nothing follows, because of `error` or because it was all."""

    error: BaseException | None


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """The same items, made by a thread up to `depth` before they are asked for. What it raises is raised here, in its place;
    the thread ends with this iterator, also where that is left early."""
    ready: queue.Queue[Item | _End] = queue.Queue(depth)
    left = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not _put(ready, item, left):
                    return
        except BaseException as e:
            error = e
        _put(ready, _End(error), left)

    thread = threading.Thread(target=work, name="batches ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(found := ready.get(), _End):
            yield found
        if found.error is not None:
            raise found.error
    finally:
        left.set()
        thread.join()


def _put(ready: queue.Queue[Item | _End], item: Item | _End, left: threading.Event) -> bool:
    """Into the queue as soon as there is room; False where nobody waits for it any more."""
    while not left.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
