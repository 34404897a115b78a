"""What a training does together with other processes. `Ranks` is one process, for which there is nothing to do;
`processes.Processes` is one of several that `torchrun` started (`group`). The trainer calls both alike.

Every process holds the whole model and the same optimizer; of each batch it has a part of the rows. What follows from all rows
(gradients, losses, validation, a wish to stop) is added up, so that all take the same step and the same decision. The first
process alone writes the run's files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ple_model.config import Config
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.device import same_device
from ple_model.model import PLEClusterAdaTT
from ple_model.output import LossBreakdown
from ple_model.whole_batch import WholeBatch


@dataclass(frozen=True)
class Wishes:
    """What somebody asked of a training: to keep its state, to stand still, to stop."""

    save: bool = False
    pause: bool = False
    stop: bool = False


class Ranks:
    """One process."""

    rank = 0
    world = 1

    @property
    def first(self) -> bool:
        """The process that writes."""
        return self.rank == 0

    def device(self, name: str, recorded: str) -> torch.device:
        """As `device.same_device`."""
        return same_device(name, recorded)

    def seed(self, seed: int) -> int:
        """Of this process's random numbers: each draws its own dropout."""
        return seed

    def listen(self, stop: Callable[[], bool]) -> None:
        """`stop` says whether somebody asked this process to end: it then waits for no other one long."""

    def require(self, config: Config) -> None:
        """`UserError` where so many processes cannot train this."""

    # --- a step

    def batches(self, dataset: Dataset, batch_size: int, *, seed: int, epoch: int, start: int) -> Iterator[Batch]:
        """Of the training rows in their order: of each batch the rows of this process."""
        return dataset.batches("train", batch_size, shuffle=True, seed=seed, epoch=epoch, start=start)

    def batch(self, model: PLEClusterAdaTT, at_hand: int, rows: int) -> WholeBatch:
        """The batch of `rows` rows of which `at_hand` come next through the model."""
        return WholeBatch(at_hand)

    def gradients(self, at_hand: Tensor) -> Tensor:
        """Gradients of the batch, from those of the rows at hand."""
        return at_hand

    def stepped(self, parameters: Sequence[nn.Parameter], losses: LossBreakdown) -> LossBreakdown:
        """The losses of the batch from those of the rows at hand; the gradients of `parameters` become those of the batch."""
        return losses

    # --- what all know

    def sums(self, *at_hand: Tensor) -> tuple[Tensor, ...]:
        """Each tensor summed over the processes."""
        return at_hand

    def positions(self, batch: int, batch_size: int, rows: int) -> Tensor:
        """[rows] where in the split the rows at hand of its `batch`-th batch stand."""
        return torch.arange(batch * batch_size, batch * batch_size + rows)

    def joined(self, at_hand: Tensor) -> Tensor:
        """[all, columns] rows of all processes in the order of their last column, which says where in the split they stand."""
        return at_hand

    def told(self, text: str) -> list[str]:
        """What every process says, by rank."""
        return [text]

    def agreed(self, wishes: Wishes) -> Wishes:
        """What any process heard, the same for all."""
        return wishes

    def first_does(self, work: Callable[[], Any]) -> Any:
        """What `work` gives the first process, which alone does it while the others wait; a value that JSON can hold."""
        return work()

    def each_does(self, work: Callable[[], Any]) -> None:
        """`work` in every process; `UserError` in all where any raises one."""
        work()

    def hand_out(self, model: PLEClusterAdaTT) -> None:
        """The first process's weights to all."""

    # --- state and end

    def rng(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """For the checkpoint: random states of all processes, from one's own."""
        return own

    def own_rng(self, saved: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
        """Of the checkpoint's states one's own; None where there were fewer processes."""
        return saved


ONE = Ranks()
