"""Optimal-transport expert: how far, and which way, a customer's histogram lies from learned prototype histograms.

The customer is a histogram over m learned support points; entropic optimal transport (Sinkhorn; Cuturi 2013) couples it with
each learned prototype. The representation reads the Wasserstein distances and the transported barycentres: where each support
point's mass is sent by the plans, averaged over prototypes with weights that favour near ones (Ferradans et al. 2014).
The cost is the squared distance of support points divided by its largest value, so that epsilon keeps its meaning as they move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.experts.base import Expert, ExpertAux, ExpertParams, ReferenceSize
from ple_model.experts.reads import NORMALIZED_PARTS, cleared
from ple_model.layers.precision import full_precision, widen
from ple_model.layers.sinkhorn import couple

FLOOR = 1e-6
"""Mass that every support point keeps: the scalings divide by it, forward once and backward squared."""


@dataclass(frozen=True)
class TransportParams(ExpertParams):
    hidden_dim: int = field(default=96, metadata={"help": "Hidden width of the encoder from features to the histogram."})
    support_points: int = field(default=32, metadata={"help": "m: learned support points of the histograms."})
    support_dim: int = field(default=16, metadata={"help": "Width of a support point."})
    prototypes: int = field(default=16, metadata={"help": "Learned prototype histograms."})
    epsilon: float = field(default=0.1, metadata={"help": "Entropic regularisation, relative to the largest cost of 1."})
    iterations: int = field(default=10, metadata={"help": "Sinkhorn iterations."})

    def wrong(self) -> Iterator[tuple[str, str]]:
        if self.epsilon <= 0:
            yield "epsilon", "it must be positive"


class OptimalTransport(Expert):
    """Features -> histogram -> Sinkhorn against prototypes -> distances, transported barycentres -> output."""

    name: ClassVar[str] = "optimal_transport"
    reads: tuple[str, ...] = NORMALIZED_PARTS
    title: ClassVar[tuple[str, str]] = ("prototype distances", "원형과의 거리")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(100_000)
    Params: ClassVar[type[ExpertParams]] = TransportParams

    def __init__(self, params: TransportParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        m, k = params.support_points, params.prototypes
        self.encoder = nn.Sequential(
            nn.Linear(self.n_normalized, params.hidden_dim), nn.LayerNorm(params.hidden_dim), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(params.hidden_dim, m),
        )  # fmt: skip
        self.support = nn.Parameter(torch.randn(m, params.support_dim))
        # peaked enough that prototypes start apart: distances between equal prototypes would stay equal
        self.prototype_logits = nn.Parameter(2.0 * torch.randn(k, m))
        self.distance_norm = nn.LayerNorm(k)
        self.mix = nn.Sequential(
            nn.Linear(k + m * params.support_dim, params.output_dim),
            nn.LayerNorm(params.output_dim),
            nn.SiLU(),
            nn.Dropout(dropout),
        )
        self.out = nn.Linear(params.output_dim, params.output_dim)

    def last_layer(self) -> nn.Linear:
        return self.out

    def cost(self) -> Tensor:
        """[m, m] squared distances between support points, largest value 1."""
        difference = self.support[:, None] - self.support[None]
        squared = difference.square().sum(dim=-1)
        return squared / squared.flatten().amax(dim=0).clamp(min=1e-12)

    def prototypes(self) -> Tensor:
        """[P, m] prototype histograms, rows sum to 1."""
        return torch.softmax(self.prototype_logits, dim=1)

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        p: TransportParams = self.params
        logits = self.encoder(cleared(inputs.features[:, : self.n_normalized], self.present(inputs)))
        with full_precision(logits):
            histogram = torch.softmax(widen(logits), dim=1)
            ends = lifted(histogram), lifted(self.prototypes())
            coupling = couple(*ends, self.cost(), p.epsilon, p.iterations, max_cost=1.0)
            distances = coupling.distances()
            nearness = torch.softmax(-distances / p.epsilon, dim=1)
            # mass times destination, not the destination alone: a support point without mass has none
            moved = coupling.mean_plan(nearness) @ self.support
        out = self.out(self.mix(torch.cat([self.distance_norm(distances), moved.flatten(1)], dim=1)))
        internals = {"histogram": histogram, "prototype_distances": distances, "prototype_nearness": nearness}
        return out, ExpertAux(internals={k: v.detach() for k, v in internals.items()})


def lifted(histogram: Tensor) -> Tensor:
    """Histograms [..., m] with a floor of FLOOR under every entry, rows still sum to 1."""
    return (histogram + FLOOR) / (1.0 + FLOOR * histogram.shape[-1])
