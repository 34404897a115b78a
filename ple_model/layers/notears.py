"""Acyclicity of a weighted graph: h(A) = tr(exp(A * A)) - d (NOTEARS, Zheng et al., NeurIPS 2018).

exp(M) - I is built by scaling and squaring of the *difference*: E(2M) = E(M)^2 + 2 E(M). With M = A * A >= 0 every term is
non-negative, so that nothing cancels and h keeps full relative accuracy in float32 even when the graph is almost acyclic; a
fixed number of products also keeps the device free of synchronisation, unlike a general matrix exponential.
"""

from __future__ import annotations

import torch
from torch import Tensor

SQUARINGS = 6
TERMS = 8


def expm_minus_identity(m: Tensor, squarings: int = SQUARINGS, terms: int = TERMS) -> Tensor:
    """exp(M) - I for M [d, d] >= 0; relative error below 1e-6 while the norm of M is below 2^(squarings - 1)."""
    small = m / 2.0**squarings
    power, total = small, small
    for k in range(2, terms + 1):
        power = power @ small / k
        total = total + power
    for _ in range(squarings):
        total = total @ total + 2.0 * total
    return total


def acyclicity(a: Tensor) -> Tensor:
    """h(A) of the weighted adjacency A [d, d]: zero exactly when A has no directed cycle, a scalar >= 0."""
    return torch.diagonal(expm_minus_identity(a * a)).sum()
