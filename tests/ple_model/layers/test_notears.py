"""h(A) = tr(exp(A * A)) - d against scipy, and what it says of graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from ple_model.layers.notears import acyclicity, expm_minus_identity


@pytest.mark.parametrize("scale", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("d", [2, 12, 32])
def test_h_agrees_with_scipy(d: int, scale: float) -> None:
    a = scale * torch.randn(d, d, generator=torch.Generator().manual_seed(d))
    exact = np.trace(expm((a.double() * a.double()).numpy())) - d
    assert float(acyclicity(a)) == pytest.approx(exact, rel=1e-5)
    np.testing.assert_allclose(
        expm_minus_identity(a.double() ** 2).numpy() + np.eye(d), expm((a.double() ** 2).numpy()), rtol=1e-6, atol=1e-9
    )


def test_gradient_is_twice_a_times_the_transposed_exponential() -> None:
    a = (0.3 * torch.randn(6, 6, dtype=torch.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad(acyclicity(a), [a])
    wanted = expm((a * a).detach().numpy()).T * 2 * a.detach().numpy()
    np.testing.assert_allclose(gradient.numpy(), wanted, rtol=1e-6)


@given(st.integers(2, 10), st.integers(0, 30))
@settings(max_examples=30, deadline=None)
def test_h_is_zero_for_a_dag_in_any_order_and_positive_for_a_cycle(d: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(d, generator=g)
    a = torch.randn(d, d, generator=g).triu(diagonal=1)[order][:, order]
    assert float(acyclicity(a)) == 0.0
    i, j = int(order.argsort()[0]), int(order.argsort()[1])
    a[i, j], a[j, i] = 0.5, 0.01
    assert 0 < float(acyclicity(a)) < 1


def test_a_faint_cycle_is_not_lost_in_rounding() -> None:
    """Weights of 1e-3 both ways give h = 1e-12: a float32 trace minus d would say 0."""
    a = torch.tensor([[0.0, 1e-3], [1e-3, 0.0]])
    assert float(acyclicity(a)) == pytest.approx(1e-12, rel=1e-4)
