"""A part of a batch whose other rows other processes have at hand (`ple_model.whole_batch`).

A mean over n of the batch's N rows becomes the term `n / N * mean`; a penalty on weights is shared out evenly. The sums over
processes are then the batch's, whatever part of a task's labels each has. A process without rows of a batch (a short last one)
takes part with a row that counts nothing: n is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ple_model.whole_batch import WholeBatch


class Exchange(Protocol):
    """Tensors of one shape from all processes."""

    def total(self, value: Tensor) -> Tensor:
        """Their sum."""

    def every(self, value: Tensor) -> Tensor:
        """[processes, ...]."""


@dataclass(frozen=True)
class PartOfBatch(WholeBatch):
    """`own` of the batch's `rows` are at hand; `sharing`: processes that have any."""

    own: int = 0
    sharing: int = 1
    exchange: Exchange | None = None
    _shares: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """name -> (share of the rows at hand, number of the batch)."""

    @property
    def speaks(self) -> bool:
        return self.own > 0

    def count(self, at_hand: Callable[[], Mapping[str, Tensor]]) -> None:
        found = at_hand()
        own = torch.stack([n.double() for n in found.values()]) * (self.own > 0)
        total = self._exchange.total(own)
        share = own / total.clamp_min(1)
        self._shares.update(zip(found, zip(share.unbind(), total.long().unbind(), strict=True), strict=True))

    def of_labels(self, task: str, mean: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        share, total = self._shares[task]
        return share.to(mean.dtype) * mean, total

    def of_some(self, name: str, mean: Tensor, n: Tensor) -> Tensor:
        return self._shares[name][0].to(mean.dtype) * mean

    def of_rows(self, mean: Tensor) -> Tensor:
        return mean * (self.own / self.rows)

    def once(self, value: Tensor) -> Tensor:
        return value * (1 / self.sharing if self.own else 0.0)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = super().moments(x)
        n = mean.new_full((1,), float(self.own))
        every = self._exchange.every(torch.cat([n, mean, spread]))
        share = every[:, :1] / self.rows
        means, spreads = every[:, 1:].chunk(2, dim=1)
        used = share > 0  # a row that counts nothing may be no number
        whole = torch.where(used, share * means, 0.0).sum(0)
        return whole, torch.where(used, share * (spreads + (means - whole) ** 2), 0.0).sum(0)

    def seen(self, fired: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        here = torch.cat([fired, ~sound[None]]).float() * (self.own > 0)
        total = self._exchange.total(here)
        return total[:-1] > 0, total[-1] == 0

    def largest(self, z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """By the smallest value that is kept: of the values of all processes that could be among the largest."""
        flat = z.flatten()
        kept = min(k * self.rows, self.rows * z.shape[1])
        mine = torch.full((kept,), -1.0, dtype=z.dtype, device=z.device)  # latents are at least 0
        if self.own:
            values = flat.topk(min(kept, flat.numel())).values
            mine[: len(values)] = values
        every = self._exchange.every(mine).flatten()
        smallest = every.topk(kept).values[-1]
        known = torch.where(every.isnan().any(), torch.nan, smallest)  # as in one process, where the least of them is no number
        return torch.where(z >= smallest, z, torch.zeros_like(z)), known

    @property
    def _exchange(self) -> Exchange:
        assert self.exchange is not None
        return self.exchange
