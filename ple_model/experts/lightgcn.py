"""LightGCN head: the customer's precomputed embedding of the customer x merchant graph (He et al., SIGIR 2020).

The propagation itself runs when the dataset is built; here a light head reads the direction of the embedding (tastes) and, as a
number of its own, its length (popularity and activity, which LightGCN encodes in the norm).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.experts.base import Expert, ExpertAux, ExpertParams, ReferenceSize
from ple_model.experts.reads import cleared
from ple_model.fields import FIELD_SHAPES


@dataclass(frozen=True)
class LightGCNParams(ExpertParams):
    hidden_dim: int = field(default=144, metadata={"help": "Hidden width of the head."})


class LightGCN(Expert):
    """Embedding and its log-length -> Linear -> LayerNorm -> SiLU -> Linear."""

    name: ClassVar[str] = "lightgcn"
    reads: tuple[str, ...] = ("collaborative_features",)
    title: ClassVar[tuple[str, str]] = ("collaborative graph", "협업 그래프")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(20_000)
    Params: ClassVar[type[ExpertParams]] = LightGCNParams

    def __init__(self, params: LightGCNParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        self.width = FIELD_SHAPES["collaborative_features"][0]
        self.body = nn.Sequential(
            nn.Linear(self.width + 1, params.hidden_dim), nn.LayerNorm(params.hidden_dim), nn.SiLU(), nn.Dropout(dropout)
        )
        self.out = nn.Linear(params.hidden_dim, params.output_dim)

    def last_layer(self) -> nn.Linear:
        return self.out

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        e = inputs.collaborative_features
        if e is None:
            e = inputs.features.new_zeros(inputs.rows_held, self.width)
        e = cleared(e, self.present(inputs))
        # the root's gradient at a zero embedding is not a number
        length = e.square().sum(dim=1, keepdim=True).clamp(min=1e-12).sqrt()
        out = self.out(self.body(torch.cat([e, torch.log1p(length)], dim=1)))
        return out, ExpertAux(internals={"embedding_norm": length.detach()[:, 0]})
