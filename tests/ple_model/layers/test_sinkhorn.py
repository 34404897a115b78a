"""Sinkhorn against POT; kernel form against log domain; couplings against their definition."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from ple_model.experts.transport import lifted
from ple_model.layers.sinkhorn import KernelCoupling, LogCoupling, couple, sinkhorn_kernel, sinkhorn_log


def problem(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """a [3, 6], b [4, 6], cost [6, 6] with largest value 1."""
    g = torch.Generator().manual_seed(seed)
    a = torch.softmax(torch.randn(3, 6, generator=g, dtype=torch.float64), dim=1)
    b = torch.softmax(2 * torch.randn(4, 6, generator=g, dtype=torch.float64), dim=1)
    s = torch.randn(6, 2, generator=g, dtype=torch.float64)
    cost = torch.cdist(s, s).square()
    return a.to(dtype), b.to(dtype), (cost / cost.max()).to(dtype)


def plans_of(coupling: KernelCoupling | LogCoupling) -> Tensor:
    if isinstance(coupling, LogCoupling):
        return coupling.plan
    return coupling.u[..., :, None] * coupling.kernel * coupling.v[..., None, :]


@pytest.mark.parametrize("epsilon", [0.1, 0.005])
def test_plans_and_distances_agree_with_pot(epsilon: float) -> None:
    """0.1 takes the kernel form, 0.005 the log domain."""
    a, b, cost = problem()
    coupling = couple(a, b, cost, epsilon, iterations=3000, max_cost=1.0)
    assert isinstance(coupling, KernelCoupling if epsilon == 0.1 else LogCoupling)
    plans, distances = plans_of(coupling), coupling.distances()
    for i in range(3):
        for j in range(4):
            arrays = (a[i].numpy(), b[j].numpy(), cost.numpy())
            plan = ot.sinkhorn(*arrays, epsilon, method="sinkhorn_log", numItermax=20000, stopThr=1e-13)
            np.testing.assert_allclose(plans[i, j].numpy(), plan, atol=1e-6)
            np.testing.assert_allclose(float(distances[i, j]), float((plan * cost.numpy()).sum()), atol=1e-6)


def test_small_epsilon_approaches_the_exact_wasserstein_distance() -> None:
    a, b, cost = problem()
    distances = couple(a, b, cost, 0.002, iterations=4000, max_cost=1.0).distances()
    for i in range(3):
        for j in range(4):
            exact = ot.emd2(a[i].numpy(), b[j].numpy(), cost.numpy())
            assert float(distances[i, j]) == pytest.approx(float(exact), abs=5e-3)


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_kernel_form_takes_the_steps_of_the_log_domain(iterations: int) -> None:
    a, b, cost = problem()
    f, g = sinkhorn_log(a, b, cost, 0.1, iterations)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        u, v, k = sinkhorn_kernel(a.to(dtype), b.to(dtype), cost.to(dtype), 0.1, iterations)
        plan = (u[..., :, None] * k * v[..., None, :]).double()
        wanted = torch.exp(f[..., :, None] - cost / 0.1 + g[..., None, :])
        torch.testing.assert_close(plan, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("epsilon", [0.1, 0.01])
def test_the_customers_marginal_holds_and_the_mean_plan_is_the_mean_of_plans(epsilon: float) -> None:
    a, b, cost = problem()
    coupling = couple(a, b, cost, epsilon, iterations=10, max_cost=1.0)
    plans = plans_of(coupling)
    torch.testing.assert_close(plans.sum(dim=3), a[:, None].expand(-1, 4, -1))
    weights = torch.softmax(torch.randn(3, 4, dtype=torch.float64), dim=1)
    torch.testing.assert_close(coupling.mean_plan(weights), (plans * weights[..., None, None]).sum(dim=1))
    torch.testing.assert_close(coupling.distances(), (plans * cost).sum(dim=(2, 3)))


@pytest.mark.parametrize("epsilon", [0.04, 0.02, 1e-4])
def test_nearly_degenerate_histograms_keep_values_and_gradients_finite(epsilon: float) -> None:
    """At 0.04 the kernel form needs its caller to keep a floor under the histogram, as the expert does."""
    logits = torch.zeros(2, 6)
    logits[:, 0] = 80.0
    logits.requires_grad_()
    _, b, cost = problem(dtype=torch.float32)
    distances = couple(lifted(torch.softmax(logits, dim=1)), b, cost, epsilon, iterations=10, max_cost=1.0).distances()
    assert torch.isfinite(distances).all()
    (gradient,) = torch.autograd.grad(distances.sum(), [logits])
    assert torch.isfinite(gradient).all()
