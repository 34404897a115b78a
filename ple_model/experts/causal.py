"""Causal expert: features -> causal variables Z -> a learned weighted DAG A (NOTEARS, Zheng et al., NeurIPS 2018).

Three auxiliary losses shape A, and A alone: reconstruction ||Z - Z A||^2 (each variable is explained by its parents),
acyclicity h(A) = tr(exp(A * A)) - d, and L1 sparsity. Z is data to them, as in NOTEARS: with their gradient the encoder made
all customers' Z alike, which any A explains (effective rank 1.05 of 16 instead of 2.7). Z itself learns from the tasks.
The representation reads Z, what the parents explain (Z A) and what they do not (the residual, an exogenous shock).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.experts.base import Expert, ExpertAux, ExpertParams, ReferenceSize
from ple_model.experts.reads import NORMALIZED_PARTS, cleared
from ple_model.layers.notears import acyclicity
from ple_model.layers.precision import full_precision, widen


@dataclass(frozen=True)
class CausalParams(ExpertParams):
    hidden_dim: int = field(default=128, metadata={"help": "Hidden width of the encoder from features to causal variables."})
    variables: int = field(default=32, metadata={"help": "d: number of causal variables."})
    reconstruction_weight: float = field(
        default=0.1, metadata={"help": "Coefficient of the mean over variables of (Z - ZA)^2.", "low": 0}
    )
    acyclicity_weight: float = field(default=1.0, metadata={"help": "Coefficient of h(A).", "low": 0})
    acyclicity_square_weight: float = field(
        default=5.0,
        metadata={"help": "Coefficient of h(A)^2 / 2, the quadratic penalty of the augmented Lagrangian.", "low": 0},
    )
    sparsity_weight: float = field(
        default=0.001, metadata={"help": "Coefficient of the L1 norm of A (sum of magnitudes).", "low": 0}
    )


class Causal(Expert):
    """Encoder -> Z; A without diagonal; [Z, ZA, Z - ZA] -> output."""

    name: ClassVar[str] = "causal"
    reads: tuple[str, ...] = NORMALIZED_PARTS
    title: ClassVar[tuple[str, str]] = ("causal variables", "인과 변수")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(100_000)
    Params: ClassVar[type[ExpertParams]] = CausalParams
    off_diagonal: Tensor

    def __init__(self, params: CausalParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        d = params.variables
        self.encoder = nn.Sequential(
            nn.Linear(self.n_normalized, params.hidden_dim), nn.LayerNorm(params.hidden_dim), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(params.hidden_dim, d), nn.LayerNorm(d, elementwise_affine=False),
        )  # fmt: skip
        # random, not zero: at A = 0 the gradient of h vanishes, and equal entries would leave every direction undecided
        self.adjacency = nn.Parameter(0.1 * torch.randn(d, d))
        self.register_buffer("off_diagonal", 1.0 - torch.eye(d), persistent=False)
        self.mix = nn.Sequential(nn.Linear(3 * d, params.output_dim), nn.SiLU(), nn.Dropout(dropout))
        self.out = nn.Linear(params.output_dim, params.output_dim)

    def last_layer(self) -> nn.Linear:
        return self.out

    def dag(self) -> Tensor:
        """A [d, d]: entry (i, j) is the weight of the edge from variable i to variable j; the diagonal is zero."""
        return self.adjacency * self.off_diagonal

    def acyclicity(self) -> Tensor:
        """h(A), a scalar >= 0, zero when the graph has no directed cycle."""
        return acyclicity(self.dag())

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        p: CausalParams = self.params
        present = self.present(inputs)
        z = self.encoder(cleared(inputs.features[:, : self.n_normalized], present))
        with full_precision(z):
            a, z = self.dag(), widen(z)
            explained = z @ a
            residual = z - explained
            data = z.detach()  # NOTEARS fits A to given variables; with its gradient Z would shrink to what any A explains
            error = (data - data @ a).square().mean(dim=1)
            rows = present.sum()
            reconstruction = cleared(error, present).sum() / rows.clamp(min=1)
            h = self.acyclicity()
            losses = {
                "reconstruction": p.reconstruction_weight * reconstruction,
                "acyclicity": p.acyclicity_weight * h + 0.5 * p.acyclicity_square_weight * h.square(),
                "sparsity": p.sparsity_weight * a.abs().sum(),
            }
        out = self.out(self.mix(torch.cat([z, explained, residual], dim=1)))
        internals = {"variables": z.detach(), "residual": residual.detach(), "reconstruction_error": error.detach()}
        return out, ExpertAux(losses=losses, internals=internals, means={"reconstruction": rows})
