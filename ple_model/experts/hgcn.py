"""Unified hyperbolic GCN on the product of three Poincare balls: MCC 8, product 8, region 4 (HGCN, Chami et al., NeurIPS 2019).

The tree of each ball is a buffer of the checkpoint. Once a forward, messages pass up and down the tree in tangent space,
weighted by hyperbolic distance at a learned curvature, and move the nodes. A customer's precomputed coordinates come by the
log map at their curvature 1, the merchant slice shifts them in tangent space, the exp map at the learned curvature puts them
back into the ball, and the customer attends to the nodes of each ball by hyperbolic distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ple_model.batch import PLEClusterInput
from ple_model.context import BALL_DIMS, BALLS, HierarchyTree, ModelContext
from ple_model.experts.base import Expert, ExpertAux, ExpertParams, ReferenceSize
from ple_model.experts.reads import MERCHANT_PARTS, cleared
from ple_model.layers.poincare import distance, expmap0, logmap0, pairwise_distance
from ple_model.layers.precision import full_precision, widen
from ple_model.schema import MERCHANT_SLICE_PARTS, PART_SLICES
from ple_model.searchable import SEARCH, OneOf

WIDTHS: tuple[int, ...] = tuple(BALL_DIMS[b] for b in BALLS)
COORDINATES = sum(WIDTHS)
MERCHANT_COLUMNS: tuple[int, ...] = tuple(
    i for part in MERCHANT_SLICE_PARTS for i in range(PART_SLICES[part].start, PART_SLICES[part].stop)
)


@dataclass(frozen=True)
class HGCNParams(ExpertParams):
    output_dim: int = field(
        default=128,
        metadata={"help": "Width of the expert's output block in shared_concat.", SEARCH: OneOf((32, 64, 128))},
    )
    node_dim: int = field(default=64, metadata={"help": "Width of a tree node's state."})
    message_rounds: int = field(default=2, metadata={"help": "Rounds of messages up and down the trees."})
    merchant_dim: int = field(default=64, metadata={"help": "Width of the merchant slice's own projection."})
    fusion_dims: list[int] = field(default_factory=lambda: [256, 256], metadata={"help": "Hidden widths after attention."})
    min_curvature: float = field(default=0.05, metadata={"help": "Smallest learned curvature: below it a ball is flat."})

    def wrong(self) -> Iterator[tuple[str, str]]:
        if not 0 < self.min_curvature < 1:
            yield "min_curvature", "it must be between 0 and 1, the curvature at the start"


class TreeMessages(nn.Module):
    """One round: a node hears its parent and the distance-weighted mean of its children."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)
        self.up = nn.Linear(width, width, bias=False)
        self.down = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, child: Tensor, parent: Tensor, weight: Tensor) -> Tensor:
        """h [n, H], edges child -> parent [E], weight [E] -> [n, H]."""
        total = h.new_zeros(h.shape[0]).index_add(0, parent, weight)
        share = weight / total[parent].clamp(min=1e-12)
        up, down = self.up(h), self.down(h)
        heard = torch.zeros_like(up).index_add(0, parent, share[:, None].to(up.dtype) * up[child])
        heard = heard.index_add(0, child, down[parent])
        out: Tensor = self.norm(h + self.dropout(functional.silu(self.own(h) + heard)))
        return out


def _depths(parent: Tensor) -> Tensor:
    depth = torch.zeros(len(parent))
    up = parent.clone()
    while bool((up >= 0).any()):
        depth += (up >= 0).float()
        up = torch.where(up >= 0, parent[up.clamp(min=0)], up)
    return depth


class UnifiedHGCN(Expert):
    """Tree messages, hyperbolic attention, merchant slice, fusion."""

    name: ClassVar[str] = "unified_hgcn"
    reads: tuple[str, ...] = ("hierarchy_features", *MERCHANT_PARTS)
    title: ClassVar[tuple[str, str]] = ("hierarchy graph", "계층 그래프")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(200_000)
    Params: ClassVar[type[ExpertParams]] = HGCNParams
    node_coordinates: Tensor
    node_ball: Tensor
    node_static: Tensor
    edge_child: Tensor
    edge_parent: Tensor
    node_width: Tensor
    columns: Tensor

    def __init__(self, params: HGCNParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        h, n_merchant = params.node_dim, len(MERCHANT_COLUMNS)
        self.without_merchants = context.own is not None
        self._store_tree(context.hierarchy)
        self.raw_curvature = nn.Parameter(torch.full((len(BALLS),), _inverse_softplus(1.0 - params.min_curvature)))
        self.raw_sharpness = nn.Parameter(torch.full((len(BALLS),), _inverse_softplus(1.0)))
        self.node_in = nn.Linear(max(WIDTHS) + len(BALLS) + 2, h)
        self.rounds = nn.ModuleList(TreeMessages(h, dropout) for _ in range(params.message_rounds))
        self.node_shift = nn.Linear(h, max(WIDTHS))
        self.merchant_shift = nn.Linear(n_merchant, COORDINATES)
        self.merchant_in = nn.Sequential(nn.Linear(n_merchant, params.merchant_dim), nn.SiLU())
        layers: list[nn.Module] = []
        width = COORDINATES + len(BALLS) * (h + 1) + params.merchant_dim
        for hidden in params.fusion_dims:
            layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Dropout(dropout)]
            width = hidden
        self.fusion = nn.Sequential(*layers)
        self.out = nn.Linear(width, params.output_dim)
        with torch.no_grad():  # both shifts start small: at first nodes and customers stand where the data put them
            self.node_shift.weight.mul_(0.1)
            self.merchant_shift.weight.mul_(0.1)

    def _store_tree(self, tree: HierarchyTree) -> None:
        parent = torch.from_numpy(tree.parent.astype("int64"))
        ball = torch.from_numpy(tree.ball.astype("int64"))
        child = torch.nonzero(parent >= 0)[:, 0]
        children = torch.zeros(len(parent)).index_add(0, parent[child], torch.ones(len(child)))
        static = torch.stack([0.25 * _depths(parent), torch.log1p(children)], dim=1)
        self.register_buffer("node_coordinates", torch.from_numpy(tree.coords.astype("float32")))
        self.register_buffer("node_ball", ball)
        self.register_buffer("node_static", torch.cat([functional.one_hot(ball, len(BALLS)).float(), static], dim=1))
        self.register_buffer("edge_child", child)
        self.register_buffer("edge_parent", parent[child])
        widths = torch.tensor(WIDTHS)[ball][:, None]
        self.register_buffer("node_width", (torch.arange(max(WIDTHS)) < widths).float(), persistent=False)
        self.register_buffer("columns", torch.tensor(MERCHANT_COLUMNS), persistent=False)
        for i in range(len(BALLS)):
            self.register_buffer(f"nodes_{i}", torch.nonzero(ball == i)[:, 0], persistent=False)

    def last_layer(self) -> nn.Linear:
        return self.out

    def curvatures(self) -> Tensor:
        """[3] learned curvature c > 0 of the MCC, product and region ball."""
        c: Tensor = functional.softplus(self.raw_curvature) + self.params.min_curvature
        return c

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Tree nodes after the messages: states [n, H] and points [n, 8] inside their ball at the learned curvature."""
        c = self.curvatures()[self.node_ball][:, None]
        tangent = logmap0(self.node_coordinates, 1.0)
        h = torch.tanh(self.node_in(torch.cat([tangent, self.node_static], dim=1)))
        points = expmap0(tangent, c)
        ends = self.edge_child, self.edge_parent
        weight = torch.exp(-distance(points[ends[0]], points[ends[1]], c[ends[0], 0]))
        for block in self.rounds:
            h = block(h, *ends, weight)
        # coordinates beyond a ball's width stay zero, so that a point keeps its dimension
        return h, expmap0(tangent + self.node_shift(h) * self.node_width, c)

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        if self.without_merchants:
            merchant = inputs.features.new_zeros(inputs.rows_held, len(MERCHANT_COLUMNS))
        else:
            merchant = cleared(inputs.features[:, self.columns], inputs.any_present(MERCHANT_PARTS))
        raw = inputs.hierarchy_features
        coordinates = merchant.new_zeros(inputs.rows_held, COORDINATES) if raw is None else raw
        with full_precision(merchant):
            merchant = widen(merchant)
            # columns of absent parts are zero by contract; coordinates may hold anything where they are absent
            coordinates = cleared(widen(coordinates), inputs.present("hierarchy_features"))
            c, sharpness = self.curvatures(), functional.softplus(self.raw_sharpness)
            states, points = self.nodes()
            shifts = torch.split(self.merchant_shift(merchant), list(WIDTHS), dim=1)
            joined: list[Tensor] = []
            radii: list[Tensor] = []
            for i, block in enumerate(torch.split(coordinates, list(WIDTHS), dim=1)):
                tangent = logmap0(block, 1.0) + shifts[i]
                point = expmap0(tangent, c[i])
                index = self.get_buffer(f"nodes_{i}")
                gaps = pairwise_distance(point, points[index][:, : WIDTHS[i]], c[i])
                attention = torch.softmax(-sharpness[i] * gaps, dim=1)
                expected = (attention * gaps).sum(dim=1, keepdim=True)
                joined += [tangent, attention @ states[index], expected]
                radii.append(tangent.norm(dim=1))
        out = self.out(self.fusion(torch.cat([*joined, self.merchant_in(merchant)], dim=1)))
        internals = {
            "curvature": c.detach().expand(inputs.rows_held, -1),
            "tangent_radius": torch.stack(radii, dim=1).detach(),
            "node_distance": torch.cat(joined[2::3], dim=1).detach(),
        }
        return out, ExpertAux(internals=internals)


def _inverse_softplus(y: float) -> float:
    return float(torch.log(torch.expm1(torch.tensor(y))))
