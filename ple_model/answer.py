"""What a task learns when something is fitted to it before the first training step: labels, loss, constant, curvature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.row_loss import centre


@dataclass(frozen=True, eq=False)
class Answer:
    """What one task learns: `y` [n] labels, NaN where missing ([n, outputs] of several amounts, in standard deviations)."""

    task: str
    kind: str
    """binary, multiclass, huber or mse."""
    where: slice
    """Its columns of the map's output."""
    y: Tensor
    delta: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0

    @property
    def known(self) -> Tensor:
        """[n] rows with a label."""
        return ~torch.isnan(self.y) if self.y.dim() == 1 else ~torch.isnan(self.y).any(dim=1)

    def rows(self, chosen: Tensor) -> Answer:
        return Answer(self.task, self.kind, self.where, self.y[chosen], self.delta, self.alpha, self.gamma)

    def learnable(self) -> bool:
        """Whether its labels differ."""
        y = self.y[self.known]
        return len(y) > 1 and bool((y != y[0]).any())

    def loss(self, z: Tensor) -> Tensor:
        """Mean loss of raw outputs [n, its width] over the rows with a label."""
        known = self.known
        y, z = self.y[known], z[known]
        if self.kind == "binary":
            return F.binary_cross_entropy_with_logits(z[:, 0], y)
        if self.kind == "multiclass":
            return F.cross_entropy(z, y.long())
        target = y.reshape(z.shape)
        return F.huber_loss(z, target, delta=self.delta) if self.kind == "huber" else F.mse_loss(z, target)

    def level(self) -> Tensor:
        """[its width] raw outputs of the constant, a class never seen counting half a row."""
        y, width = self.y[self.known], self.where.stop - self.where.start
        if not len(y):
            return torch.zeros(width)
        if self.kind == "binary":
            return torch.logit((y.sum() + 0.5) / (len(y) + 1)).reshape(1)
        if self.kind == "multiclass":
            counts = torch.bincount(y.long(), minlength=width).to(y.dtype) + 0.5
            return torch.log(counts / counts.sum())
        if self.kind == "mse":
            return y.reshape(len(y), -1).mean(dim=0)
        return torch.tensor([centre(column, "huber", self.delta) for column in y.reshape(len(y), -1).T.numpy()])

    def curvature(self) -> Tensor:
        """[its width] expected second derivative of a row's loss at the constant."""
        if self.kind == "binary":
            p = torch.sigmoid(self.level())
            return p * (1 - p)
        if self.kind == "multiclass":
            p = torch.softmax(self.level(), dim=0)
            return (p * (1 - p)).clamp_min(1e-3)
        return torch.full((self.where.stop - self.where.start,), 2.0 if self.kind == "mse" else 1.0)
