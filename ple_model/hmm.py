"""HMM triple-mode routing: three behaviour models of a customer, projected and handed to the tasks that read them
(reference, "HMM Triple-Mode Routing").

Projector per mode: SiLU(LayerNorm(Linear(16 -> 32))). A row without a mode gets the mode's learned default embedding, which
starts at 0. Absence is decided by `PLEClusterInput.present`, so that an all-zero row is absent only where nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.tasks import HMM_MODES


class HMMProjectors(nn.Module):
    """`forward` gives (projected {mode: [B, proj_dim]}, default {mode: [B] bool, true where the default embedding stands})."""

    def __init__(self, input_dim: int, proj_dim: int, modes: Sequence[str] = HMM_MODES) -> None:
        super().__init__()
        self.modes = list(modes)
        self.hmm_projectors = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(input_dim, proj_dim), nn.LayerNorm(proj_dim), nn.SiLU()) for m in self.modes}
        )
        self.hmm_default_embeddings = nn.ParameterDict({m: nn.Parameter(torch.zeros(proj_dim)) for m in self.modes})

    def forward(self, inputs: PLEClusterInput) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        projected: dict[str, Tensor] = {}
        default: dict[str, Tensor] = {}
        for mode in self.modes:
            value: Tensor | None = getattr(inputs, f"hmm_{mode}")
            embedding: Tensor = self.hmm_default_embeddings[mode]
            absent = ~inputs.present(f"hmm_{mode}")
            if value is None:
                out = embedding.expand(inputs.rows_held, -1)
            else:
                # an absent row may hold anything, NaN included: blank it before the projector, not only after
                value = torch.where(absent[:, None], torch.zeros_like(value), value)
                out = self.hmm_projectors[mode](value)
                out = torch.where(absent[:, None], embedding.to(out.dtype), out)
            projected[mode] = out
            default[mode] = absent
        return projected, default


def apply_override(
    projectors: HMMProjectors, projected: Mapping[str, Tensor], override: Mapping[str, str]
) -> dict[str, Tensor]:
    """`projected` with some modes replaced by their default embedding ('default') or by zeros ('zero')."""
    out = dict(projected)
    for mode, how in override.items():
        embedding: Tensor = projectors.hmm_default_embeddings[mode]
        out[mode] = torch.zeros_like(out[mode]) if how == "zero" else embedding.to(out[mode].dtype).expand_as(out[mode])
    return out
