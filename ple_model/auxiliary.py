"""Cold-start and anonymous customers: their few static features are mixed into shared_concat (reference, "auxiliary
projections").

A row of segment cold_start (anonymous) whose `coldstart_features` (`anonymous_features`) are there gets, block by block,
`(1 - g) * block + g * projection` with a learned gate g in (0, 1) that reads shared_concat. Every other row is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.fields import FIELD_SHAPES, SEGMENTS

SOURCES = {"cold_start": "coldstart_features", "anonymous": "anonymous_features"}


class AuxiliaryProjection(nn.Module):
    """`forward` gives shared_concat [B, width] with cold-start and anonymous rows mixed."""

    block_of: Tensor

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        width = sum(dims)
        self.projections = nn.ModuleDict({s: nn.Linear(FIELD_SHAPES[f][0], width) for s, f in SOURCES.items()})
        self.gates = nn.ModuleDict({s: nn.Linear(width, len(dims)) for s in SOURCES})
        blocks = [i for i, d in enumerate(dims) for _ in range(d)]
        self.register_buffer("block_of", torch.tensor(blocks, dtype=torch.long), persistent=False)

    def forward(self, shared: Tensor, inputs: PLEClusterInput) -> Tensor:
        if inputs.customer_segment is None:
            return shared
        out = shared
        for segment, field in SOURCES.items():
            value: Tensor | None = getattr(inputs, field)
            if value is None:
                continue
            chosen = (inputs.customer_segment == SEGMENTS.index(segment)) & inputs.present(field)
            value = torch.where(chosen[:, None], value, torch.zeros_like(value))
            gate = torch.sigmoid(self.gates[segment](shared)).index_select(1, self.block_of)
            mixed = torch.lerp(shared.to(gate.dtype), self.projections[segment](value).to(gate.dtype), gate)
            out = torch.where(chosen[:, None], mixed.to(out.dtype), out)
        return out
