"""The hyperbolic expert: its tree, its curvature, what moves it."""

from __future__ import annotations

import dataclasses
import typing

import torch

from ple_model.config import load_config
from ple_model.context import HierarchyTree, ModelContext
from ple_model.experts.hgcn import MERCHANT_COLUMNS, HGCNParams, UnifiedHGCN
from tests.factories import random_context, random_inputs, random_tree


def build(context: ModelContext | None = None) -> UnifiedHGCN:
    torch.manual_seed(0)
    params = typing.cast(HGCNParams, load_config("small").shared_experts["unified_hgcn"])
    return UnifiedHGCN(params, context or random_context(), 0.1).eval()


def test_merchant_slice_is_the_27_columns_of_the_reference() -> None:
    assert (*range(594, 600), *range(623, 644)) == MERCHANT_COLUMNS


def test_the_tree_travels_with_the_checkpoint() -> None:
    model = build()
    state = model.state_dict()
    assert state["node_coordinates"].shape == (63, 8)
    other = build(dataclasses.replace(random_context(), hierarchy=random_tree(seed=8)))
    other.load_state_dict(state)
    inputs = random_inputs(3)
    with torch.no_grad():
        torch.testing.assert_close(other(inputs)[0], model(inputs)[0])


def test_curvature_starts_at_one_and_is_learned() -> None:
    model = build()
    torch.testing.assert_close(model.curvatures().detach(), torch.ones(3))
    (gradient,) = torch.autograd.grad(model(random_inputs(4))[0].square().sum(), [model.raw_curvature])
    assert (gradient != 0).all()


def test_nodes_stay_inside_their_ball_and_its_dimensions() -> None:
    model = build()
    with torch.no_grad():
        model.raw_curvature.copy_(torch.tensor([3.0, -2.0, 0.5]))
        _, points = model.nodes()
        radius = points.norm(dim=1) * model.curvatures()[model.node_ball].sqrt()
    assert (radius < 1).all()
    assert (points[model.node_ball == 2, 4:] == 0).all()


def test_messages_pass_between_parent_and_child() -> None:
    """Moving one leaf changes its parent's state after one round, and leaves the other trees alone."""
    context = random_context()
    tree = context.hierarchy
    leaf = 2
    coords = tree.coords.copy()
    coords[leaf] *= 0.5
    moved = build(dataclasses.replace(context, hierarchy=HierarchyTree(tree.names, tree.ball, tree.parent, coords)))
    model = build(context)
    with torch.no_grad():
        change = (moved.nodes()[0] - model.nodes()[0]).abs().amax(dim=1)
    assert change[int(tree.parent[leaf])] > 1e-5
    assert change[torch.from_numpy(tree.ball) != tree.ball[leaf]].max() == 0


def test_a_customer_near_a_node_attends_to_it() -> None:
    """The expected distance to the tree is smaller for a customer at a node than for one at the rim, away from all."""
    model = build()
    tree = random_context().hierarchy
    inputs = random_inputs(2)
    assert inputs.hierarchy_features is not None
    place = torch.zeros(2, 20)
    place[0, :8] = torch.from_numpy(tree.coords[2])
    place[1, :8] = -0.99 * torch.from_numpy(tree.coords[2]) / 0.85
    with torch.no_grad():
        gap = model(dataclasses.replace(inputs, hierarchy_features=place))[2].internals["node_distance"][:, 0]
    assert gap[0] < gap[1]


def test_coordinates_beyond_the_rim_give_finite_output_and_gradient() -> None:
    model, inputs = build(), random_inputs(4)
    assert inputs.hierarchy_features is not None
    out = model(dataclasses.replace(inputs, hierarchy_features=1e6 * inputs.hierarchy_features))[0]
    assert torch.isfinite(out).all()
    for gradient in torch.autograd.grad(out.sum(), list(model.parameters())):
        assert torch.isfinite(gradient).all()


def test_data_without_a_hierarchy_still_runs_on_three_roots() -> None:
    with torch.no_grad():
        assert torch.isfinite(build(ModelContext())(random_inputs(3, absent=("hierarchy_features",)))[0]).all()
