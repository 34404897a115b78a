"""PersLay expert: the shape of a customer's behaviour, from persistence diagrams (Carriere et al., AISTATS 2020).

Short diagrams (app use, H0 and H1 over 90 days) and long ones (spending, H0 to H2 over twelve months) go through a PersLay
layer per homology index. A row without diagrams falls back to the precomputed summary `tda_features`. Global statistics and
the phase-transition numbers join either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.experts.base import Expert, ExpertAux, ExpertParams, ReferenceSize
from ple_model.experts.reads import cleared
from ple_model.fields import FIELD_SHAPES
from ple_model.layers.persistence import PersLayer, pack, sound
from ple_model.layers.precision import full_precision, widen

SUMMARY = FIELD_SHAPES["tda_features"][0]
STATS = FIELD_SHAPES["tda_global_stats"][0]
PHASE = FIELD_SHAPES["tda_phase_transition"][0]


@dataclass(frozen=True)
class PersLayParams(ExpertParams):
    functions: int = field(
        default=16, metadata={"help": "Gaussian, tent and line functions each, per diagram and homology index."}
    )
    short_homologies: int = field(default=2, metadata={"help": "Homology indices of the short diagrams (H0, H1)."})
    long_homologies: int = field(default=3, metadata={"help": "Homology indices of the long diagrams (H0 to H2)."})
    hidden_dim: int = field(default=96, metadata={"help": "Width of the diagram and of the fallback branch."})
    stats_dim: int = field(default=32, metadata={"help": "Width of the branch over global statistics and phase transition."})


class PersLay(Expert):
    """Packed diagrams per homology index, or the summary fallback; with statistics; -> output."""

    name: ClassVar[str] = "perslay"
    reads: tuple[str, ...] = (
        "tda_short_diagrams", "tda_long_diagrams", "tda_features", "tda_global_stats", "tda_phase_transition",
    )  # fmt: skip
    stands_in: ClassVar[Mapping[str, tuple[str, ...]]] = {"tda_features": ("tda_short_diagrams", "tda_long_diagrams")}
    title: ClassVar[tuple[str, str]] = ("shape of activity", "활동의 형태")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(50_000)
    Params: ClassVar[type[ExpertParams]] = PersLayParams

    def __init__(self, params: PersLayParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        self.short = nn.ModuleList(PersLayer(params.functions) for _ in range(params.short_homologies))
        self.long = nn.ModuleList(PersLayer(params.functions) for _ in range(params.long_homologies))
        width = (3 * params.functions + 2) * (params.short_homologies + params.long_homologies)
        self.diagram_in = nn.Sequential(nn.Linear(width, params.hidden_dim), nn.LayerNorm(params.hidden_dim), nn.SiLU())
        self.summary_in = nn.Sequential(nn.Linear(SUMMARY, params.hidden_dim), nn.LayerNorm(params.hidden_dim), nn.SiLU())
        self.stats_in = nn.Sequential(nn.Linear(STATS + PHASE, params.stats_dim), nn.LayerNorm(params.stats_dim), nn.SiLU())
        self.mix = nn.Sequential(
            nn.Linear(params.hidden_dim + params.stats_dim, params.output_dim), nn.SiLU(), nn.Dropout(dropout)
        )
        self.out = nn.Linear(params.output_dim, params.output_dim)

    def last_layer(self) -> nn.Linear:
        return self.out

    def _pool(self, inputs: PLEClusterInput, horizon: str, layers: nn.ModuleList) -> tuple[Tensor, Tensor, Tensor]:
        """(pooled [B, len(layers) * width], valid points [B], bad points [B]) of the short or long diagrams."""
        n = inputs.rows_held
        points: Tensor | None = getattr(inputs, f"tda_{horizon}_diagrams")
        if points is None:
            none = torch.zeros(n, dtype=torch.long, device=inputs.device)
            width = sum(layer.width for layer in layers)  # type: ignore[misc]
            return widen(inputs.features.new_zeros(n, width)), none, none
        mask: Tensor | None = getattr(inputs, f"tda_{horizon}_mask")
        # without a mask, padding is what is zero throughout
        mask = (points != 0).any(dim=2) if mask is None else mask.bool()
        mask = mask & inputs.present(f"tda_{horizon}_diagrams")[:, None]
        if torch.compiler.is_exporting():
            return self._dense(widen(points), mask, layers)
        packed = pack(widen(points), mask, len(layers))
        pooled = [layer(*points, n) for layer, points in zip(layers, packed.by_homology(), strict=True)]
        return torch.cat(pooled, dim=1), packed.valid, packed.bad

    @staticmethod
    def _dense(points: Tensor, mask: Tensor, layers: nn.ModuleList) -> tuple[Tensor, Tensor, Tensor]:
        """`_pool` over every slot, for a graph that is being exported."""
        good = sound(points, len(layers))
        valid = mask & good
        pooled = [layer.dense(points, valid & (points[:, :, 2] == k)) for k, layer in enumerate(layers)]  # type: ignore[operator]
        return torch.cat(pooled, dim=1), valid.sum(dim=1), (mask & ~good).sum(dim=1)

    def _field(self, inputs: PLEClusterInput, name: str, width: int) -> Tensor:
        value: Tensor | None = getattr(inputs, name)
        if value is None:
            return inputs.features.new_zeros(inputs.rows_held, width)
        return cleared(value, inputs.present(name))

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        with full_precision(inputs.features):
            short, short_valid, short_bad = self._pool(inputs, "short", self.short)
            long, long_valid, long_bad = self._pool(inputs, "long", self.long)
        drawn = short_valid + long_valid > 0
        shape = torch.where(
            drawn[:, None],
            self.diagram_in(torch.cat([short, long], dim=1)),
            self.summary_in(self._field(inputs, "tda_features", SUMMARY)),
        )
        stats = torch.cat(
            [self._field(inputs, "tda_global_stats", STATS), self._field(inputs, "tda_phase_transition", PHASE)], dim=1
        )
        out = self.out(self.mix(torch.cat([shape, self.stats_in(stats)], dim=1)))
        internals = {
            "valid_points": torch.stack([short_valid, long_valid], dim=1),
            "bad_points": torch.stack([short_bad, long_bad], dim=1),
            "from_diagrams": drawn,
        }
        return out, ExpertAux(internals=internals)
