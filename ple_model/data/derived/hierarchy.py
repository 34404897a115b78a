"""Poincare coordinates of the MCC, product and region trees, and of customers as weighted Einstein midpoints of their leaves.

The trees are embedded by Sarkar's construction (Sarkar 2011; Sala et al., ICML 2018) in d dimensions: a child lies at
hyperbolic distance `STEP` from its parent, in a direction away from the grandparent, directions spread over the sphere. It is
deterministic, needs no training, and keeps tree distances up to a small distortion. A customer is the Einstein midpoint
(Klein model, weights times Lorentz factors) of the leaves that it uses (Nickel & Kiela 2017 for the space; Gulcehre et al.
2019 for the aggregation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ple_model.context import BALL_DIMS, BALLS, HierarchyTree

Float64 = NDArray[np.float64]
STEP = 1.0
MAX_NORM = 0.999


def mobius_add(x: Float64, y: Float64) -> Float64:
    """x (+) y in the unit ball of curvature -1, row by row."""
    xy = (x * y).sum(-1, keepdims=True)
    x2, y2 = (x * x).sum(-1, keepdims=True), (y * y).sum(-1, keepdims=True)
    return np.asarray(((1 + 2 * xy + y2) * x + (1 - x2) * y) / (1 + 2 * xy + x2 * y2))


def distance(x: Float64, y: Float64) -> Float64:
    """Hyperbolic distance (curvature -1)."""
    norm = np.linalg.norm(mobius_add(-x, y), axis=-1)
    return np.asarray(2 * np.arctanh(np.minimum(norm, 1 - 1e-15)))


def spread(n: int, d: int, avoid: Float64 | None, seed: int = 0, rounds: int = 60) -> Float64:
    """[n, d] unit vectors pushed apart from one another and from the direction `avoid` (repulsion on the sphere, seeded)."""
    rng = np.random.default_rng([seed, n, d])
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    if n * n * d > 50_000_000:  # repulsion of very wide nodes costs more than it gains
        rounds = 0
    for i in range(rounds):
        others = x if avoid is None else np.concatenate([x, avoid[None]])
        gram = x @ others.T
        closeness = np.exp(4.0 * (gram - 1.0))
        np.fill_diagonal(closeness[:, :n], 0.0)
        force = -(closeness @ others)
        force -= (force * x).sum(1, keepdims=True) * x
        x = x + 0.5 / (1 + 0.1 * i) * force / (np.linalg.norm(force, axis=1, keepdims=True) + 1e-9)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def embed_tree(parent: NDArray[np.int64], d: int, step: float = STEP) -> Float64:
    """[n, d] coordinates of a forest given by `parent` (-1 at a root, parents before children)."""
    coords = np.zeros((len(parent), d))
    children: dict[int, list[int]] = {}
    for node, p in enumerate(parent.tolist()):
        children.setdefault(p, []).append(node)
    radius = np.tanh(step / 2)
    for node in range(len(parent)):
        below = children.get(node, [])
        if not below:
            continue
        x = coords[node]
        up = int(parent[node])
        back = None
        if up >= 0:  # direction of the parent, seen from this node at the origin
            seen = mobius_add(-x[None], coords[up][None])[0]
            back = seen / np.linalg.norm(seen)
        directions = spread(len(below), d, back, seed=node)
        placed = mobius_add(np.broadcast_to(x, directions.shape), radius * directions)
        norm = np.linalg.norm(placed, axis=1, keepdims=True)
        coords[below] = placed * np.minimum(1.0, MAX_NORM / np.maximum(norm, 1e-12))
    return coords


def einstein_midpoint(points: Float64, weights: Float64 | sparse.csr_matrix) -> Float64:
    """[r, d] midpoints in the Poincare ball of points [n, d] under weights [r, n] >= 0; a row without weight gives the
    origin."""
    klein = 2 * points / (1 + (points**2).sum(1, keepdims=True))
    gamma = 1 / np.sqrt(np.maximum(1 - (klein**2).sum(1), 1e-12))
    total = np.asarray(weights @ gamma).reshape(-1, 1)
    mid = np.asarray(weights @ (gamma[:, None] * klein)) / np.where(total > 0, total, 1)
    root = np.sqrt(np.maximum(1 - (mid**2).sum(1, keepdims=True), 0.0))
    return np.asarray(mid / (1 + root))


@dataclass(frozen=True)
class Forest:
    """The three trees with paths to look leaves up: `paths[ball]` maps a node's path to its row in `tree`."""

    tree: HierarchyTree
    paths: dict[str, dict[tuple[str, ...], int]]

    def nodes(self, ball: str, paths: Sequence[tuple[str, ...]]) -> NDArray[np.int64]:
        """Row of each path's deepest known node (the root for an unknown one)."""
        known = self.paths[ball]
        out = np.empty(len(paths), np.int64)
        for i, path in enumerate(paths):
            while path and path not in known:
                path = path[:-1]
            out[i] = known[path]
        return out

    @staticmethod
    def of(tree: HierarchyTree) -> Forest:
        """Paths rebuilt from a stored tree (node names are the last part of the path)."""
        paths: dict[str, dict[tuple[str, ...], int]] = {b: {} for b in BALLS}
        full: list[tuple[str, ...]] = []
        for i, name in enumerate(tree.names):
            up = int(tree.parent[i])
            full.append(() if up < 0 else (*full[up], name))
            paths[BALLS[int(tree.ball[i])]][full[i]] = i
        return Forest(tree, paths)


def build_forest(leaves: dict[str, Sequence[tuple[str, ...]]]) -> Forest:
    """Trees of these leaf paths by ball ('mcc', 'product', 'region'), embedded. Order of the paths does not matter."""
    names: list[str] = []
    ball: list[int] = []
    parent: list[int] = []
    coords: list[Float64] = []
    for b, ball_name in enumerate(BALLS):
        prefixes = {p[:k] for p in leaves.get(ball_name, ()) for k in range(len(p) + 1)} | {()}
        ordered = sorted(prefixes, key=lambda p: (len(p), p))
        index = {p: i for i, p in enumerate(ordered)}
        local = np.array([index[p[:-1]] if p else -1 for p in ordered], dtype=np.int64)
        offset = len(names)
        names += [p[-1] if p else f"{ball_name} root" for p in ordered]
        ball += [b] * len(ordered)
        parent += [int(p) + offset if p >= 0 else -1 for p in local]
        block = np.zeros((len(ordered), 8))
        block[:, : BALL_DIMS[ball_name]] = embed_tree(local, BALL_DIMS[ball_name])
        coords.append(block)
    tree = HierarchyTree(
        tuple(names), np.array(ball, np.int64), np.array(parent, np.int64), np.concatenate(coords).astype(np.float32)
    )
    return Forest.of(tree)


def customer_points(
    forest: Forest, n: int, uses: dict[str, tuple[NDArray[np.int64], NDArray[np.int64], Float64]]
) -> NDArray[np.float32]:
    """[n, 20] midpoints: MCC 8, product 8, region 4. `uses[ball]` = (customer row, tree node, weight) triples."""
    parts = []
    coords = forest.tree.coords.astype(np.float64)
    for name in BALLS:
        d = BALL_DIMS[name]
        if name not in uses or not len(uses[name][0]):
            parts.append(np.zeros((n, d)))
            continue
        row, node, weight = uses[name]
        matrix = sparse.csr_matrix((np.maximum(weight, 0.0), (row, node)), shape=(n, len(coords)))
        parts.append(einstein_midpoint(coords[:, :d], matrix))
    return np.concatenate(parts, axis=1).astype(np.float32)
