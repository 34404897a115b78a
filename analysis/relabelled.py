"""Are the labels of a task these customers', but numbered otherwise? The order of the classes under which a model's
probabilities fit them best.

While the rows are read, the logarithms of the probabilities are summed by label. The order of the classes that makes the whole
likeliest is then an assignment problem (Kuhn 1955), and needs no second look at the rows. Labels that go with nothing gain no
skill from any order; labels that were numbered anew gain back what training had found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from analysis.stats.base import Array
from analysis.stats.labels import Relabelled
from ple_model.tensors import as_numpy

if TYPE_CHECKING:
    from ple_model.data.dataset.batches import Batch
    from ple_model.output import PLEClusterOutput

LOWEST = 1e-7
"""Of a probability, as in the row losses."""
FEWEST = 100
PLAIN = 0.9
"""Share of the best order's gain from which a step of all classes, which has one number to choose, is taken instead."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """[K, K] by label and class: sums over the rows with that label of the logarithm of the class's probability, and of the
    square of what it is above the label's own; [K] rows by label."""

    logs: Array
    squares: Array
    counts: Array

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.logs + other.logs, self.squares + other.squares, self.counts + other.counts)


def agreement(label: NDArray[np.integer], probability: NDArray[np.floating]) -> Agreement:
    """Of labels [n] (below 0: none) and probabilities [n, K]; rows that are no numbers are left out."""
    k = probability.shape[1]
    there = (label >= 0) & (label < k) & np.isfinite(probability).all(1)
    y, logs = label[there], np.log(np.clip(probability[there].astype(np.float64), LOWEST, 1.0))
    one = np.eye(k)[y]
    above = logs - logs[np.arange(len(y)), y][:, None]
    return Agreement(one.T @ logs, one.T @ above**2, one.sum(0))


def relabelled(found: Agreement, trained: Sequence[int], independent: float) -> Relabelled | None:
    """The likeliest order; None with too few labels, or where it is the one at hand. `trained`: training rows by class, of
    which the constant is made; `independent`: customers over rows."""
    n = float(found.counts.sum())
    if n < FEWEST or len(trained) != len(found.counts) or not sum(trained):
        return None
    k = len(found.counts)
    order = linear_sum_assignment(-found.logs)[1]
    there = np.flatnonzero(found.counts)
    if (order[there] == there).all():
        return None
    steps = [(np.arange(k) - by) % k for by in range(1, k)]
    step = max(steps, key=lambda o: _logs(found, o), default=order)
    if _logs(found, step) - _logs(found, np.arange(k)) >= PLAIN * (_logs(found, order) - _logs(found, np.arange(k))):
        order = step  # rare classes are told from each other by chance
    share = np.log(np.clip(np.asarray(trained, dtype=np.float64) / sum(trained), LOWEST, 1.0))
    before, after = _logs(found, np.arange(k)), _logs(found, order)
    gain, square = after - before, float(found.squares[np.arange(k), order].sum())
    spread = math.sqrt(max(square - gain**2 / n, 1e-12) / max(independent, 1e-9))
    return Relabelled(
        tuple(int(c) for c in order), int(n), gain / spread,
        _skill(before, found.counts, share[order]), _skill(after, found.counts, share[order]),
    )  # fmt: skip


def _logs(found: Agreement, order: NDArray[np.integer]) -> float:
    """Of all labels, read in this order."""
    return float(found.logs[np.arange(len(order)), order].sum())


def _skill(logs: float, counts: Array, share: Array) -> float:
    """Against the constant of the training shares, in the order in which they fit."""
    constant = -float((counts * share).sum())
    return 1 + logs / constant if constant > 0 else 0.0


class Agreements:
    """Of the rows that a run is judged by, summed while they are read."""

    def __init__(self, kinds: Mapping[str, str], judged: str) -> None:
        self.tasks = [task for task, kind in kinds.items() if kind == "multiclass"]
        self.judged = judged
        self.found: dict[str, Agreement] = {}

    def add(self, batch: Batch, output: PLEClusterOutput) -> None:
        mine = [i for i, split in enumerate(batch.split) if split == self.judged]
        labels = batch.inputs.targets or {}
        for task in (t for t in self.tasks if mine and t in labels):
            self.join(task, agreement(as_numpy(labels[task])[mine], as_numpy(output.predictions[task])[mine]))

    def join(self, task: str, part: Agreement) -> None:
        """What later rows say of a task."""
        self.found[task] = self.found[task] + part if task in self.found else part
