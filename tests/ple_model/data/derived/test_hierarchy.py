"""Poincare coordinates: distances by hand, trees keep their distances, midpoints golden."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from ple_model.context import BALLS
from ple_model.data.derived.hierarchy import (
    STEP,
    Forest,
    build_forest,
    customer_points,
    distance,
    einstein_midpoint,
    embed_tree,
    mobius_add,
)


def test_distance_from_the_origin_by_hand() -> None:
    x = np.array([[0.6, 0.0]])
    assert distance(np.zeros((1, 2)), x)[0] == pytest.approx(2 * np.arctanh(0.6))
    assert distance(x, x)[0] == pytest.approx(0, abs=1e-12)


def test_mobius_addition_by_hand() -> None:
    # on a line it is the relativistic sum (a + b) / (1 + a b)
    assert mobius_add(np.array([[0.5, 0.0]]), np.array([[0.2, 0.0]]))[0] == pytest.approx([0.7 / 1.1, 0])
    assert mobius_add(-np.array([[0.3, 0.4]]), np.array([[0.3, 0.4]]))[0] == pytest.approx([0, 0], abs=1e-12)


def test_midpoints_by_hand() -> None:
    points = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5]])
    weights = np.array([[1.0, 1, 0], [1, 0, 0], [0, 0, 0], [3, 1, 0]])
    found = einstein_midpoint(points, weights)
    assert found[0] == pytest.approx([0, 0], abs=1e-12)
    assert found[1] == pytest.approx([0.5, 0])
    assert found[2] == pytest.approx([0, 0])
    # Klein 0.8 with equal Lorentz factors: (3 - 1) / 4 * 0.8 = 0.4, back: 0.4 / (1 + sqrt(1 - 0.16))
    assert found[3] == pytest.approx([0.4 / (1 + np.sqrt(0.84)), 0])
    assert einstein_midpoint(points, sparse.csr_matrix(weights)) == pytest.approx(found)


def test_the_midpoint_of_two_points_is_equally_far_from_both() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4))
    x = x / np.linalg.norm(x, axis=1, keepdims=True) * np.array([[0.9], [0.3]])
    mid = einstein_midpoint(x, np.ones((1, 2)))
    assert distance(mid, x[:1])[0] == pytest.approx(distance(mid, x[1:])[0])


def test_a_tree_keeps_its_distances() -> None:
    parent = np.array([-1] + [0] * 5 + [1 + i // 4 for i in range(20)])
    coords = embed_tree(parent, 8)
    assert (np.linalg.norm(coords, axis=1) < 1).all()
    edges = distance(coords[1:], coords[parent[1:]])
    assert edges == pytest.approx(np.full(25, STEP), rel=1e-6)
    siblings = distance(coords[6:7], coords[7:10]).mean()
    cousins = distance(np.repeat(coords[6:7], 16, 0), coords[10:26]).mean()
    assert siblings < cousins
    # as far as a tree can be in hyperbolic space: between the direct line and the way over the root
    assert 0.5 * 4 * STEP < cousins <= 4 * STEP


def test_a_wide_tree_stays_inside_the_ball() -> None:
    parent = np.array([-1, *range(6), *[6] * 400])
    coords = embed_tree(parent, 4)
    assert np.isfinite(coords).all()
    assert np.linalg.norm(coords, axis=1).max() < 1


LEAVES = {
    "mcc": [("food", "fresh", "fruit"), ("food", "fresh", "fish"), ("fuel", "car", "diesel")],
    "region": [("North", "City")],
}


def test_a_forest_knows_its_paths_and_falls_back_to_ancestors() -> None:
    forest = build_forest(LEAVES)  # type: ignore[arg-type]
    names = forest.tree.names
    asked = [("food", "fresh", "fish"), ("food", "fresh", "meat"), ("food",), ("toys",)]
    known, sibling, other, nothing = forest.nodes("mcc", asked)
    assert names[known] == "fish"
    assert names[sibling] == "fresh"
    assert names[other] == "food"
    assert names[nothing] == "mcc root"
    again = Forest.of(forest.tree)
    assert again.paths == forest.paths
    assert [names[i] for i in np.flatnonzero(forest.tree.parent < 0)] == [f"{b} root" for b in BALLS]
    assert (forest.tree.coords[forest.tree.ball == 2, 4:] == 0).all()


def test_a_customer_of_one_leaf_is_at_that_leaf() -> None:
    forest = build_forest(LEAVES)  # type: ignore[arg-type]
    node = forest.nodes("mcc", [("food", "fresh", "fish")])
    points = customer_points(forest, 2, {"mcc": (np.array([1]), node, np.array([5.0]))})
    assert points.shape == (2, 20)
    assert points[1, :8] == pytest.approx(forest.tree.coords[node[0]], abs=1e-5)
    assert (points[0] == 0).all()
