"""RawScaleExpert: the un-normalised power-law columns (reference, "RawScaleExpert", v3.3).

Signed log, then standardisation per column with training statistics, which keeps the scale *between customers*; a LayerNorm
over the raw columns would erase it. The statistics are buffers of the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.errors import UserError
from ple_model.experts.base import Expert, ExpertAux, ExpertParams, ReferenceSize
from ple_model.experts.reads import RAW_PARTS, cleared
from ple_model.layers.precision import full_precision, widen


@dataclass(frozen=True)
class RawScaleParams(ExpertParams):
    hidden_dim: int = field(default=48, metadata={"help": "Width of the first layer, before LayerNorm."})
    mlp_dim: int = field(default=64, metadata={"help": "Hidden width of the MLP after it."})


def statistics(values: tuple[float, ...], n: int, default: float, name: str) -> Tensor:
    if not values:
        return torch.full((n,), default)
    if len(values) != n:
        raise UserError(f"context {name}: {len(values)} values, expected {n}, one a raw power-law column")
    return torch.tensor(values, dtype=torch.float32)


class RawScale(Expert):
    """Signed log -> standardise -> Linear -> LayerNorm -> MLP."""

    name: ClassVar[str] = "raw_scale"
    reads: tuple[str, ...] = RAW_PARTS
    title: ClassVar[tuple[str, str]] = ("raw amounts", "원래 척도의 금액")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(12_000)
    Params: ClassVar[type[ExpertParams]] = RawScaleParams
    raw_mean: Tensor
    raw_std: Tensor

    def __init__(self, params: RawScaleParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        n = context.n_features - context.n_normalized
        std = statistics(context.raw_std, n, 1.0, "raw_std")
        self.register_buffer("raw_mean", statistics(context.raw_mean, n, 0.0, "raw_mean"))
        # a column that is constant on the training split says nothing: leave its scale alone instead of dividing by zero
        self.register_buffer("raw_std", torch.where(std > 1e-6, std, torch.ones_like(std)))
        self.body = nn.Sequential(
            nn.Linear(n, params.hidden_dim),
            nn.LayerNorm(params.hidden_dim),
            nn.SiLU(),
            nn.Linear(params.hidden_dim, params.mlp_dim),
            nn.SiLU(),
            nn.Dropout(dropout),
        )
        self.out = nn.Linear(params.mlp_dim, params.output_dim)

    def last_layer(self) -> nn.Linear:
        return self.out

    def standardise(self, raw: Tensor) -> Tensor:
        """Raw columns [B, n] -> signed log in training standard deviations [B, n]."""
        with full_precision(raw):
            raw = widen(raw)
            return (raw.sign() * torch.log1p(raw.abs()) - self.raw_mean) / self.raw_std

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        z = self.standardise(cleared(inputs.features[:, self.n_normalized :], self.present(inputs)))
        tail = {"mean_scale": z.mean(dim=1), "largest_deviation": z.abs().amax(dim=1)}
        return self.out(self.body(z)), ExpertAux(internals={k: v.detach() for k, v in tail.items()})
