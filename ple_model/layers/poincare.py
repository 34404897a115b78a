"""Poincare balls of curvature -c: the operations of hyperbolic networks with their numerical guards.

Ganea et al. (NeurIPS 2018), Chami et al. (HGCN, NeurIPS 2019). Points have the coordinates' last axis; c > 0 is a number or a
tensor that broadcasts. Half precision must not enter (see `precision`): near the rim distances grow like -log(1 - |x|).
"""

from __future__ import annotations

import torch
from torch import Tensor

RIM = 4e-3
"""Points stay within (1 - RIM) of the ball's radius in float32: the distance to the origin is then at most 6.2 / sqrt(c)."""
SMALL = 1e-15


def _norm(x: Tensor) -> Tensor:
    # the clamp is inside the root: the gradient of a norm at zero is NaN
    return x.square().sum(dim=-1, keepdim=True).clamp(min=SMALL).sqrt()


def project(x: Tensor, c: Tensor | float, rim: float = RIM) -> Tensor:
    """x [..., d] moved back to (1 - rim) of the radius 1/sqrt(c) where it lies beyond."""
    limit = (1.0 - rim) / torch.as_tensor(c, dtype=x.dtype, device=x.device).sqrt()
    norm = _norm(x)
    return torch.where(norm > limit, x / norm * limit, x)


def expmap0(v: Tensor, c: Tensor | float) -> Tensor:
    """Tangent vectors at the origin [..., d] -> points, tanh(sqrt(c)|v|) v / (sqrt(c)|v|), projected."""
    root = torch.as_tensor(c, dtype=v.dtype, device=v.device).sqrt()
    scaled = root * _norm(v)
    return project(torch.tanh(scaled) / scaled * v, c)


def logmap0(x: Tensor, c: Tensor | float) -> Tensor:
    """Points [..., d] -> tangent vectors at the origin, artanh(sqrt(c)|x|) x / (sqrt(c)|x|); points are projected first."""
    root = torch.as_tensor(c, dtype=x.dtype, device=x.device).sqrt()
    x = project(x, c)
    scaled = root * _norm(x)
    return torch.atanh(scaled) / scaled * x


def mobius_add(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """x (+)_c y, the hyperbolic translation of y by x, shapes broadcast."""
    xy = (x * y).sum(dim=-1, keepdim=True)
    x2, y2 = x.square().sum(dim=-1, keepdim=True), y.square().sum(dim=-1, keepdim=True)
    top = (1 + 2 * c * xy + c * y2) * x + (1 - c * x2) * y
    return top / (1 + 2 * c * xy + c * c * x2 * y2).clamp(min=SMALL)


def _arcosh1p(z: Tensor) -> Tensor:
    """arcosh(1 + z), z >= 0, without the cancellation of arcosh near 1; flat below 1e-12, where the gradient explodes."""
    z = z.clamp(min=1e-12)
    return torch.log1p(z + (z * (z + 2.0)).sqrt())


def distance(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """Geodesic distance [...] between points x and y [..., d] inside the ball."""
    c = torch.as_tensor(c, dtype=x.dtype, device=x.device)
    gap = (x - y).square().sum(dim=-1)
    inside = (1 - c * x.square().sum(dim=-1)) * (1 - c * y.square().sum(dim=-1))
    return _arcosh1p(2 * c * gap / inside.clamp(min=SMALL)) / c.sqrt()


def pairwise_distance(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """Geodesic distances [n, m] between points x [n, d] and y [m, d], through one matrix product."""
    c = torch.as_tensor(c, dtype=x.dtype, device=x.device)
    x2, y2 = x.square().sum(dim=-1), y.square().sum(dim=-1)
    gap = (x2[:, None] + y2[None] - 2.0 * (x @ y.T)).clamp(min=0.0)
    inside = (1 - c * x2)[:, None] * (1 - c * y2)[None]
    return _arcosh1p(2 * c * gap / inside.clamp(min=SMALL)) / c.sqrt()
