"""Persistence diagrams as vectors (PersLay, Carriere et al., AISTATS 2020).

A diagram's points go through a learned point transformation phi (Gaussian, tent and line functions), are weighted by a
learned power of their persistence, and summed: permutation-invariant, per homology index. Only valid points are touched:
`pack` lists them, the sum scatters them back to their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class PackedDiagrams:
    """Valid points of a batch of diagrams, those of one homology index after those of another: birth [N], death [N], row [N]
    int; sizes: how many of each index; valid [B] and bad [B] count the points of a row and those dropped."""

    birth: Tensor
    death: Tensor
    row: Tensor
    sizes: tuple[int, ...]
    valid: Tensor
    bad: Tensor

    def by_homology(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(birth, death, row) of each homology index."""
        return zip(*(torch.split(values, list(self.sizes)) for values in (self.birth, self.death, self.row)), strict=True)


def sound(points: Tensor, homologies: int) -> Tensor:
    """[B, n] bool: finite, death not before birth, and a homology index in range."""
    birth, death, index = points.unbind(dim=2)
    return torch.isfinite(points).all(dim=2) & (death >= birth) & (index >= 0) & (index < homologies)


def pack(points: Tensor, mask: Tensor, homologies: int) -> PackedDiagrams:
    """Pack diagrams [B, n, 3] (birth, death, homology index) under mask [B, n].

    Bad points are left out and counted: death before birth, not finite, or a homology index out of range. A GPU waits once, for
    where the points are; how many there are of each index is known by then."""
    good = sound(points, homologies)
    valid = mask & good
    index = points[:, :, 2].floor()
    of_index = torch.stack([valid & (index == k) for k in range(homologies)])
    sizes = of_index.flatten(1).sum(dim=1)
    _, row, column = torch.nonzero(of_index, as_tuple=True)
    chosen = points[row, column]
    return PackedDiagrams(
        chosen[:, 0], chosen[:, 1], row, tuple(sizes.tolist()), valid.sum(dim=1), (mask & ~good).sum(dim=1)
    )  # fmt: skip


class PersLayer(nn.Module):
    """One diagram set of one homology index -> [B, 3 q + 2]: q Gaussians, q tents, q lines, and two scale numbers."""

    def __init__(self, functions: int) -> None:
        super().__init__()
        q = functions
        self.functions = q
        # spread over the unit square so that no two functions start alike; persistence is learned on the data's own scale
        self.centres = nn.Parameter(torch.rand(q, 2))
        self.raw_width = nn.Parameter(torch.full((q, 2), -1.0))
        self.tents = nn.Parameter(torch.linspace(0.0, 1.5, q))
        self.lines = nn.Linear(2, q)
        self.raw_power = nn.Parameter(torch.tensor(0.5413))
        self.log_gain = nn.Parameter(torch.tensor(0.0))

    @property
    def width(self) -> int:
        """Width of the output."""
        return 3 * self.functions + 2

    def weight(self, persistence: Tensor) -> Tensor:
        """Learned weight of a point, gain * persistence ^ power with power > 0: zero on the diagonal, as stability needs."""
        return torch.exp(self.log_gain) * persistence.clamp(min=1e-6) ** functional.softplus(self.raw_power)

    def transform(self, birth: Tensor, persistence: Tensor) -> Tensor:
        """phi [N, 3 q] in birth-persistence coordinates."""
        p = torch.stack([birth, persistence], dim=1)
        scale = torch.nn.functional.softplus(self.raw_width) + 1e-3
        gaussian = torch.exp(-0.5 * ((p[:, None] - self.centres) / scale).square().sum(dim=2))
        half = 0.5 * persistence[:, None]
        tent = functional.relu(half - (self.tents - birth[:, None] - half).abs())
        return torch.cat([gaussian, tent, torch.tanh(self.lines(p))], dim=1)

    def forward(self, birth: Tensor, death: Tensor, row: Tensor, rows: int) -> Tensor:
        """Points [N] of `rows` diagrams -> pooled [rows, 3 q + 2]; a row without points is zero."""
        values = self.values(birth, death)
        return self.pooled(values.new_zeros(rows, values.shape[1]).index_add(0, row, values))

    def dense(self, points: Tensor, mask: Tensor) -> Tensor:
        """The same from diagrams [B, n, 3] under mask [B, n], every slot touched: shapes of a graph cannot depend on how many
        points are valid."""
        clean = torch.where(mask[:, :, None], points, torch.zeros_like(points)).flatten(0, 1)
        values = self.values(clean[:, 0], clean[:, 1]) * mask.reshape(-1, 1).to(points.dtype)
        return self.pooled(values.reshape(points.shape[0], points.shape[1], self.width).sum(dim=1))

    def values(self, birth: Tensor, death: Tensor) -> Tensor:
        """[N, 3 q + 2] what each point adds."""
        persistence = death - birth
        extra = torch.stack([torch.ones_like(persistence), persistence], dim=1)
        return torch.cat([self.weight(persistence)[:, None] * self.transform(birth, persistence), extra], dim=1)

    @staticmethod
    def pooled(total: Tensor) -> Tensor:
        """Sums over points on a logarithmic scale."""
        return torch.sign(total) * torch.log1p(total.abs())
