"""What losses and batch statistics need to know of the batch whose rows are at hand: all of it, or a part.

In one process the rows at hand are the batch, and a mean over them is what it is. Where several processes share a batch
(`training.part_of_batch`), each one's term is its sum over the **batch's** count: added up over the processes, terms are those
of the batch, and gradients its gradients, however unevenly labels lie among the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WholeBatch:
    """The rows at hand are the batch."""

    rows: int = 0
    """Of the batch."""

    @property
    def speaks(self) -> bool:
        """Whether any of the rows at hand is of the batch."""
        return True

    def count(self, at_hand: Callable[[], Mapping[str, Tensor]]) -> None:
        """Learn how many rows each mean is over, after the forward pass and before the losses. `at_hand`: of the rows at hand,
        {task, or '<expert>.<loss>': number}."""

    # --- terms of the loss

    def of_labels(self, task: str, mean: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """(the term of a mean over a task's `n` labels at hand, the batch's number of labels)."""
        return mean, n

    def of_some(self, name: str, mean: Tensor, n: Tensor) -> Tensor:
        """The term of an expert's loss '<expert>.<loss>', a mean over `n` rows at hand (`ExpertAux.means`)."""
        return mean

    def of_rows(self, mean: Tensor) -> Tensor:
        """The term of a mean over all rows at hand."""
        return mean

    def once(self, value: Tensor) -> Tensor:
        """The term of what does not depend on the rows: a penalty on weights."""
        return value

    # --- statistics of the batch

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, mean squared deviation) of the batch by column; `x` [rows at hand, columns]."""
        mean = x.mean(0)
        return mean, ((x - mean) ** 2).mean(0)

    def seen(self, fired: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """(whether any row fired by column, whether all are sound) of the batch, from [columns] and [] bool of the rows."""
        return fired, sound

    def largest(self, z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(`z` >= 0 [rows, columns] with all but the batch's largest values at 0, `k` a row on average; the smallest kept)."""
        flat = z.flatten()
        values, index = flat.topk(min(k * z.shape[0], flat.numel()))
        return torch.zeros_like(flat).scatter(0, index, values).view_as(z), values.min()
