"""Poincare operations against geoopt, and their guards at the centre and at the rim."""

from __future__ import annotations

import geoopt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ple_model.layers.poincare import RIM, distance, expmap0, logmap0, mobius_add, pairwise_distance, project

CURVATURES = [0.25, 1.0, 2.5]  # exact in float32, in which geoopt keeps its curvature


def points(n: int, d: int, c: float, seed: int, reach: float = 0.95) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64)
    r = reach * torch.rand(n, 1, generator=g, dtype=torch.float64) / c**0.5
    return x / x.norm(dim=1, keepdim=True) * r


@pytest.mark.parametrize("c", CURVATURES)
def test_operations_agree_with_geoopt(c: float) -> None:
    ball = geoopt.PoincareBall(c=c)
    x, y = points(40, 8, c, 0), points(40, 8, c, 1)
    torch.testing.assert_close(distance(x, y, c), ball.dist(x, y), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(mobius_add(x, y, c), ball.mobius_add(x, y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logmap0(x, c), ball.logmap0(x), rtol=1e-7, atol=1e-9)
    v = 0.3 * torch.randn(40, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(expmap0(v, c), ball.expmap0(v, project=False), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("c", CURVATURES)
def test_pairwise_distance_agrees_with_geoopt(c: float) -> None:
    ball = geoopt.PoincareBall(c=c)
    x, y = points(7, 4, c, 0), points(9, 4, c, 1)
    wanted = torch.stack([ball.dist(x[i].expand_as(y), y) for i in range(7)])
    torch.testing.assert_close(pairwise_distance(x, y, c), wanted, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(pairwise_distance(x.float(), y.float(), c).double(), wanted, rtol=1e-3, atol=1e-3)


@given(st.floats(0.05, 8.0), st.floats(1e-6, 1e6), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_every_tangent_vector_lands_inside_the_ball(c: float, scale: float, seed: int) -> None:
    v = scale * torch.randn(5, 8, generator=torch.Generator().manual_seed(seed))
    x = expmap0(v, c)
    assert torch.isfinite(x).all()
    assert (x.norm(dim=1) * c**0.5 <= 1 - RIM + 1e-5).all()
    assert torch.isfinite(logmap0(x, c)).all()
    assert torch.isfinite(distance(x, -x, c)).all()


@given(st.floats(0.05, 8.0), st.floats(1e-3, 1.5), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_log_undoes_exp(c: float, scale: float, seed: int) -> None:
    v = torch.randn(5, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    v = scale * v / v.norm(dim=1, keepdim=True) / c**0.5
    torch.testing.assert_close(logmap0(expmap0(v, c), c), v, rtol=1e-6, atol=1e-9)


def test_gradients_are_finite_at_the_origin_at_the_rim_and_between_equal_points() -> None:
    x = torch.stack([torch.zeros(8), torch.full((8,), 10.0), torch.full((8,), 0.2)]).requires_grad_()
    c = torch.tensor(1.0, requires_grad=True)
    inside = project(x, c)
    total = logmap0(x, c).sum() + expmap0(x, c).sum() + distance(inside, inside, c).sum()
    total = total + pairwise_distance(inside, inside, c).sum()
    for gradient in torch.autograd.grad(total, [x, c]):
        assert torch.isfinite(gradient).all()


def test_a_point_beyond_the_rim_is_moved_back_and_others_stay() -> None:
    x = torch.tensor([[2.0, 0.0], [0.1, 0.2]])
    moved = project(x, 1.0)
    torch.testing.assert_close(moved, torch.tensor([[1 - RIM, 0.0], [0.1, 0.2]]))
