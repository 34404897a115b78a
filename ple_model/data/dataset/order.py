"""In which order rows are read: seeded, reproducible, cut into windows that fit in memory, resumable at any batch.

Row groups are shuffled over the whole split and rows are shuffled within a window of consecutive (shuffled) row groups, so that
a reader holds one window at a time. Every window has its own random stream: a resumed reader skips windows unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """Row groups to hold together, and the order of their rows: `rows` indexes the groups' concatenation."""

    groups: tuple[int, ...]
    start: int
    """Position of its first row in the epoch's order."""
    size: int
    key: tuple[int, ...]
    """Seed of its row order; empty: file order."""

    def rows(self) -> NDArray[np.int64]:
        if not self.key:
            return np.arange(self.size, dtype=np.int64)
        return np.random.default_rng(list(self.key)).permutation(self.size).astype(np.int64)


def windows(sizes: Sequence[int], window_rows: int, *, shuffle: bool, seed: int, epoch: int) -> list[Window]:
    """The epoch's windows over row groups of these sizes; each has at least one group and about `window_rows` rows."""
    order = np.random.default_rng([seed, epoch]).permutation(len(sizes)) if shuffle else np.arange(len(sizes))
    out: list[Window] = []
    held: list[int] = []
    start = size = 0
    for position, group in enumerate(order.tolist()):
        held.append(group)
        size += sizes[group]
        if size >= window_rows or position == len(order) - 1:
            out.append(Window(tuple(held), start, size, (seed, epoch, 1 + len(out)) if shuffle else ()))
            start, size, held = start + size, 0, []
    return out


def shard(window: Window, *, rank: int, world: int, batch: int, start: int) -> NDArray[np.int64]:
    """Rows of `window` that belong to this rank, from the `start`-th batch of the epoch on.

    Of each `batch` rows of the epoch rank r owns those at r, r + world, r + 2 world, ...: ranks cover every row of a batch once
    and differ by one row of it at most.
    """
    position = window.start + np.arange(window.size, dtype=np.int64)
    mine = (position % batch % world == rank) & (position // batch >= start)
    return np.asarray(window.rows()[mine])


def needed(plan: Sequence[Window], *, rank: int, batch: int, start: int) -> Iterator[Window]:
    """Windows that may hold a row that the rank still has to read."""
    first = rank + start * batch
    for w in plan:
        if w.start + w.size > first:
            yield w
