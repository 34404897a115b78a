"""What AdamW decays, and what it does not."""

from __future__ import annotations

from typing import Any

import torch

from ple_model.model import PLEClusterAdaTT


def optimizer_groups(model: PLEClusterAdaTT) -> list[dict[str, Any]]:
    """AdamW's groups: the model's weights, what is not decayed (scales, offsets, s_k, embeddings of absence), the sparse
    autoencoder. Shared experts that are frozen are in none; frozen gates are (a parameter without gradient is passed over), so
    that a freeze in the middle of a phase does not change the optimizer's state."""
    groups = model.parameter_groups()
    sae = {id(q) for q in groups["sae"]}
    out = {id(q) for q in model.experts.parameters()} if model.shared_frozen else set()
    named = [(n, q) for n, q in model.named_parameters() if id(q) not in out]
    direct = {id(model.direct.linear.weight)} if model.direct is not None else set()
    decayed = [q for n, q in named if id(q) not in sae | direct and not _is_offset(n, q)]
    plain = [q for n, q in named if id(q) not in sae and _is_offset(n, q)]
    assert len(decayed) + len(plain) + len(direct) + len(sae) + len(out) == len(groups["main"]) + len(groups["sae"])
    found: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    if model.direct is not None:
        # no decay: its penalty is a part of the loss (`DirectPath.penalty`)
        rate = model.config.direct_path.rate * model.config.training.learning_rate
        found.append({"params": [model.direct.linear.weight], "lr": rate, "weight_decay": 0.0})
    if sae:
        found.append({"params": groups["sae"], "lr": model.config.sae.learning_rate, "weight_decay": 0.0})
    return found


def _is_offset(name: str, parameter: torch.nn.Parameter) -> bool:
    return parameter.dim() < 2 or name.rsplit(".", 1)[-1] in ("bias", "gain", "encoder_bias")
