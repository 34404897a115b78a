"""Customers encoded together of whom an expert sees the same: it runs once for all of them.

Most questions about a customer change a little and ask again: one group of inputs or one fact is the reference's, all others
are the customer's. Of some hundred such rows the experts that read sequences, diagrams or a graph see only a few different
ones, and they are nearly all of what encoding costs. The answers are those of the model for each row alone, which in evaluation
depends on no other row.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from ple_model.presence import is_part, plain_name


def encode_distinct(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> Encoded:
    """`model.encode(inputs)` without what experts say of their own (`expert_aux`). For a model in evaluation, and rows that no
    gradient is asked of: what is run once has one gradient."""
    return model.encode(inputs, {name: _distinct(model, name, inputs) for name in model.expert_names})


def _distinct(model: PLEClusterAdaTT, expert: str, inputs: PLEClusterInput) -> tuple[Tensor, Tensor]:
    """(rows [m] in all of which the expert sees something else, which of them each row is like [n])."""
    seen: list[Tensor] = []
    for key in model.experts[expert].reads:  # type: ignore[union-attr]
        seen.append(inputs.present(key)[:, None])
        if is_part(key):
            if (part := plain_name(key)) in inputs.parts:
                seen.append(inputs.features[:, inputs.parts[part]])
            continue
        for name in (key, f"{key.removesuffix('_diagrams')}_mask"):
            value: Tensor | None = getattr(inputs, name, None)
            if value is not None:
                seen.append(value.flatten(1))
    texts = [np.ascontiguousarray(t.detach().cpu().numpy()) for t in seen]
    first: dict[bytes, int] = {}
    alike = np.empty(len(inputs), dtype=np.int64)
    rows: list[int] = []
    for i in range(len(inputs)):
        said = b"|".join(t[i].tobytes() for t in texts)
        alike[i] = first.setdefault(said, len(rows))
        if alike[i] == len(rows):
            rows.append(i)
    return torch.tensor(rows, device=inputs.device), torch.from_numpy(alike).to(inputs.device)
