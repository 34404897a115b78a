"""DeepFM (Guo et al., IJCAI 2017) over the normalised columns, each a field with an embedding of its own (reference,
v3.11).

Second order: sum over pairs <v_i, v_j> x_i x_j, in O(n k) as half of square-of-sum minus sum-of-squares (Rendle 2010); it is
kept as the k-vector before the sum over k (bi-interaction pooling, He and Chua 2017), which the output layer weighs.
Deep part: a layer over the flattened field embeddings v_i x_i is linear in x with weight W_i v_i, so it is written as a layer
over x itself: the same functions at a k-th of the cost.
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
from ple_model.layers.precision import full_precision, widen
from ple_model.searchable import SEARCH, OneOf


@dataclass(frozen=True)
class DeepFMParams(ExpertParams):
    embedding_dim: int = field(default=16, metadata={"help": "k: width of each field's embedding.", SEARCH: OneOf((8, 16, 32))})
    deep_dims: list[int] = field(default_factory=lambda: [192, 128], metadata={"help": "Hidden widths of the deep part."})


def fm_second_order(x: Tensor, v: Tensor) -> Tensor:
    """Bi-interaction [B, k]: sum over pairs i < j of (v_i * v_j) x_i x_j, for x [B, n] and v [n, k]."""
    s = x @ v
    return 0.5 * (s * s - (x * x) @ (v * v))


class DeepFM(Expert):
    """First order + second order + deep part, joined by the output layer."""

    name: ClassVar[str] = "deepfm"
    reads: tuple[str, ...] = NORMALIZED_PARTS
    title: ClassVar[tuple[str, str]] = ("feature interactions", "특성 상호작용")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(169_000)
    Params: ClassVar[type[ExpertParams]] = DeepFMParams

    def __init__(self, params: DeepFMParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        n, k = self.n_normalized, params.embedding_dim
        self.first_order = nn.Linear(n, 1)
        # variance 1/n an entry makes the second order of n unit-variance columns of order one
        self.field_embeddings = nn.Parameter(torch.randn(n, k) * n**-0.5)
        self.second_norm = nn.LayerNorm(k)
        layers: list[nn.Module] = []
        width = n
        for hidden in params.deep_dims:
            layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Dropout(dropout)]
            width = hidden
        self.deep = nn.Sequential(*layers)
        self.out = nn.Linear(1 + k + width, params.output_dim)

    def last_layer(self) -> nn.Linear:
        return self.out

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        x = cleared(inputs.features[:, : self.n_normalized], self.present(inputs))
        first = self.first_order(x)
        with full_precision(x):  # squares of sums leave the range of half precision
            second = fm_second_order(widen(x), self.field_embeddings)
        out = self.out(torch.cat([first, self.second_norm(second), self.deep(x)], dim=1))
        internals = {"first_order": first.detach()[:, 0], "second_order": second.detach().sum(dim=1)}
        return out, ExpertAux(internals=internals)
