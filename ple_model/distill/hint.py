"""A hint: the student's representation, through a linear map, is to be the teacher's (Romero et al. 2015, "FitNets", section
2.2). The map trains with the student and is no part of it: it is kept in the checkpoint and gone with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ple_model.layers.precision import widen


class HintMap(nn.Module):
    """[B, tasks, own] (or [B, own]) -> the teacher's [B, tasks, width] ([B, width]) in its standard deviations; one map a task.

    Two of one seed start equal, whatever the global state."""

    def __init__(self, tasks: int, own: int, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.weight = nn.Parameter(torch.empty(tasks, own, width).uniform_(-(own**-0.5), own**-0.5))
        self.bias = nn.Parameter(torch.zeros(tasks, width))

    def loss(self, own: Tensor, teacher: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Mean squared error in standard deviations of the teacher's columns: 1 where the map says no more than the mean.
        Columns that are constant, and rows that are no numbers, are left out."""
        x, target = widen(own), widen(teacher)
        if x.dim() == 2:
            x, target, mean, std = x[:, None], target[:, None], mean[None], std[None]
        said = torch.einsum("bti,tio->bto", x, widen(self.weight)) + self.bias
        moves = std > 0
        error = (said - (target - mean) / torch.where(moves, std, 1.0)) ** 2
        kept = moves & torch.isfinite(target).flatten(1).all(dim=1)[:, None, None]
        return torch.where(kept, error, 0.0).sum() / kept.sum().clamp_min(1)
