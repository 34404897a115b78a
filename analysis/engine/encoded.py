"""Rows of encoded customers: joined, or taken out of a larger batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ple_model.output import Encoded

if TYPE_CHECKING:
    pass


def concat_encoded(parts: Sequence[Encoded]) -> Encoded:
    """Rows of several `Encoded` joined; auxiliary internals are left out (decode does not read them)."""

    def joined(name: str) -> dict[str, Tensor]:
        return {k: torch.cat([getattr(p, name)[k] for p in parts]) for k in getattr(parts[0], name)}

    direct = [p.direct for p in parts if p.direct is not None]
    return Encoded(
        expert_outputs=joined("expert_outputs"),
        expert_present=joined("expert_present"),
        expert_aux={},
        shared_concat=torch.cat([p.shared_concat for p in parts]),
        hmm_projected=joined("hmm_projected"),
        hmm_default=joined("hmm_default"),
        cluster_embedding=torch.cat([p.cluster_embedding for p in parts]),
        cluster_weights=torch.cat([p.cluster_weights for p in parts]),
        direct=torch.cat(direct) if direct else None,
    )


def rows_alone(encoded: Encoded, index: Tensor | slice) -> Encoded:
    """These rows without the experts' internals, detached and on the CPU."""
    return replace(encoded, expert_aux={}).rows(index).map(lambda t: t.detach().cpu().clone())
