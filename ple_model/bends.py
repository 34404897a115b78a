"""Bends of single columns beside the linear map of the direct path (`direct_path.bends`).

A linear map says of a column that more is always more. A pay day in the middle of the month, a habit of a middle range, an
effect that levels off it cannot say, and a network that all tasks share does not find them. So each task has a few columns of
its own whose range is cut into pieces; what it adds to its raw output is linear within a piece and joins at the cuts: the
piecewise-linear encoding of Gorishniy et al. (NeurIPS 2022) with a linear layer behind it. Which columns, where the cuts lie
and what the pieces add is fitted before the first step (`bend_start`) and stays: nothing here is a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

NARROW = 1e-5
"""A piece narrower than this is none: two cuts at one value."""


class ColumnBends(nn.Module):
    """`forward`: [B, width] what the bends add, from columns [B, columns] as the direct path reads them."""

    columns: Tensor
    """[tasks, bends] which columns."""
    cuts: Tensor
    """[tasks, bends, pieces + 1] in rising order."""
    weight: Tensor
    """[width, bends * pieces] what a piece adds from its lower to its upper cut."""

    def __init__(self, slices: Mapping[str, slice], width: int, bends: int, pieces: int) -> None:
        super().__init__()
        self.slices = dict(slices)
        self.register_buffer("columns", torch.zeros(len(slices), bends, dtype=torch.long))
        self.register_buffer("cuts", torch.zeros(len(slices), bends, pieces + 1))
        self.register_buffer("weight", torch.zeros(width, bends * pieces))

    def forward(self, x: Tensor) -> Tensor:
        said = [
            pieces(x[:, self.columns[i]], self.cuts[i].to(x.dtype)) @ self.weight[where].to(x.dtype).T
            for i, where in enumerate(self.slices.values())
        ]
        return torch.cat(said, dim=1)


def pieces(x: Tensor, cuts: Tensor) -> Tensor:
    """[B, columns * pieces]: of columns [B, columns] how much of each piece between `cuts` [columns, pieces + 1] lies below the
    value, from 0 to 1; 0 of a piece without width."""
    low, wide = cuts[:, :-1], cuts[:, 1:] - cuts[:, :-1]
    there = wide > NARROW
    found = ((x[:, :, None] - low) / torch.where(there, wide, torch.ones_like(wide))).clamp(0, 1)
    return (found * there).flatten(1)
