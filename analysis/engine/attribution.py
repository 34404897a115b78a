"""Integrated gradients by Gauss-Legendre quadrature, without hooks (Sundararajan, Taly & Yan, ICML 2017).

The path from the baseline to the customer is evaluated at the quadrature's nodes as one batch; the integrand is smooth between
the model's kinks, so a dozen nodes do what fifty equal steps do. `method="captum"` runs Captum's `IntegratedGradients` on the
same function and nodes: the two agree to rounding, and a test holds them together. Only `torch.autograd.grad` is used: nothing
is left on the model, so threads may share one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Scalar = Callable[[Tensors], Tensor]
"""Inputs [n, ...] each -> [n]."""
Method = Literal["gauss-legendre", "captum"]
NODES = (16, 64, 128)
"""Tried in turn until the attributions add up."""
GAP = 1e-3


@dataclass(frozen=True)
class Attribution:
    """values: attributions shaped as the inputs ([1, ...]); gradients: mean gradients along the path, likewise."""

    values: Tensors
    gradients: Tensors
    prediction: float
    baseline: float
    nodes: int
    method: Method = "gauss-legendre"

    @property
    def difference(self) -> float:
        return self.prediction - self.baseline

    @property
    def total(self) -> float:
        return float(sum(v.double().sum() for v in self.values))

    @property
    def gap(self) -> float:
        """What does not add up, relative to the difference (or, where that is nearly 0, to the attributions' size)."""
        size = float(sum(v.double().abs().sum() for v in self.values))
        scale = max(abs(self.difference), 0.01 * size, 1e-12)
        return abs(self.total - self.difference) / scale


@lru_cache(maxsize=16)
def quadrature(nodes: int) -> tuple[Tensor, Tensor]:
    """(positions in (0, 1), weights that sum to 1), float64 [nodes]."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy((t + 1) / 2), torch.from_numpy(w / 2)


_ALONE = threading.Lock()
"""The number of threads is the process's: who sets it puts it back before another one reads it."""


@contextmanager
def one_thread() -> Iterator[None]:
    """While a dozen rows go through some hundred small operations: a second thread has nothing to do there but to wait for the
    first, and takes as much of a core as it does. One caller at a time; not to be nested."""
    with _ALONE:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@lru_cache(maxsize=16)
def _with_ends(nodes: int) -> tuple[Tensor, Tensor]:
    """`quadrature` with the customer and the start before it: asked together with the first nodes, of no weight."""
    positions, weights = quadrature(nodes)
    return torch.cat([positions.new_tensor([1.0, 0.0]), positions]), torch.cat([weights.new_zeros(2), weights])


def integrate(
    fn: Scalar, inputs: Tensors, baselines: Tensors, nodes: int, *, chunk: int = 32, method: Method = "gauss-legendre"
) -> Attribution:
    """Attributions of `fn` at `inputs` (one row each) against `baselines`, with a fixed number of nodes; `chunk` rows (at
    least 2) are asked at a time."""
    if method == "captum":
        with torch.no_grad():
            ends = fn(tuple(torch.cat([x, b]) for x, b in zip(inputs, baselines, strict=True))).double()
        values = _captum(fn, inputs, baselines, nodes, chunk)
        gradients = tuple(_ratio(v, x - b) for v, x, b in zip(values, inputs, baselines, strict=True))
        return Attribution(values, gradients, float(ends[0]), float(ends[1]), nodes, "captum")
    positions, weights = _with_ends(nodes)
    ends = torch.zeros(2, dtype=torch.float64)
    totals = [torch.zeros_like(x, dtype=torch.float64) for x in inputs]
    for first in range(0, len(positions), chunk):
        t, w = positions[first : first + chunk], weights[first : first + chunk]
        points = []
        for x, b in zip(inputs, baselines, strict=True):
            shape = (-1, *([1] * (x.dim() - 1)))
            points.append((b + t.to(x.dtype).view(shape) * (x - b)).detach().requires_grad_(True))
        with torch.enable_grad():
            said = fn(tuple(points))
            found = torch.autograd.grad(said.sum(), points, allow_unused=True)
        if first == 0:
            ends = said[:2].detach().double()
        ours = slice(2, None) if first == 0 else slice(None)  # a gradient at the start may be no number
        for total, g in zip(totals, found, strict=True):
            if g is not None:
                total += torch.einsum("n...,n->...", g[ours].double(), w[ours])
    gradients = tuple(g.to(x.dtype) for g, x in zip(totals, inputs, strict=True))
    values = tuple(((x - b).double() * g).to(x.dtype) for x, b, g in zip(inputs, baselines, totals, strict=True))
    return Attribution(values, gradients, float(ends[0]), float(ends[1]), nodes)


def integrate_until(
    fn: Scalar, inputs: Tensors, baselines: Tensors, *, gap: float = GAP, ladder: tuple[int, ...] = NODES, chunk: int = 32
) -> Attribution:
    """`integrate` with more nodes until the gap is small; the best that was found where it never is."""
    best: Attribution | None = None
    for nodes in ladder:
        found = integrate(fn, inputs, baselines, nodes, chunk=chunk)
        if best is None or found.gap < best.gap:
            best = found
        if found.gap <= gap:
            break
    assert best is not None
    return best


def _captum(fn: Scalar, inputs: Tensors, baselines: Tensors, nodes: int, chunk: int) -> Tensors:
    from captum.attr import IntegratedGradients  # late: captum

    def value(*tensors: Tensor) -> Tensor:
        # Captum refuses an input that the function does not read: let each be read, times nothing
        idle = [0.0 * t.flatten(1).sum(1) for t in tensors]
        return fn(tensors) + torch.stack(idle).sum(0)

    method: Any = IntegratedGradients(value)
    found = method.attribute(
        tuple(x.clone() for x in inputs), baselines=baselines, n_steps=nodes, method="gausslegendre", internal_batch_size=chunk
    )
    return tuple(v.detach() for v in found)


def _ratio(value: Tensor, step: Tensor) -> Tensor:
    return torch.where(step != 0, value / torch.where(step != 0, step, torch.ones_like(step)), torch.zeros_like(value))
