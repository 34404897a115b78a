"""Rows of encoded customers, and of what a model says: joined, taken out of a larger batch, or as tensors by name that a file
can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ple_model.output import Encoded, PLEClusterOutput


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


def recorded_alone(output: PLEClusterOutput) -> PLEClusterOutput:
    """Without what no statistic, column or sample reads: much of an output, and in the experts' internals most of it."""
    none = output.gate_logits[:, :0]
    sae = output.sae
    return replace(
        output,
        encoded=replace(output.encoded, expert_aux={}),
        logits={},
        gate_logits=none,
        encoder_outputs=none,
        tower_inputs={},
        sae=None if sae is None else replace(sae, pre_activation=sae.latent[:, :0]),
    )


def joined(outputs: Sequence[PLEClusterOutput]) -> PLEClusterOutput:
    """The rows of several `recorded_alone`, one after the other."""
    found: PLEClusterOutput = outputs[0] if len(outputs) == 1 else _joined(outputs, {})
    return found


def _joined(values: Sequence[Any], known: dict[tuple[int, ...], Tensor]) -> Any:
    """`known`: what was joined already; some tensors are part of an output twice."""
    first = values[0]
    if isinstance(first, Tensor):
        key = tuple(map(id, values))
        if key not in known:
            known[key] = torch.cat(tuple(values))
        return known[key]
    if isinstance(first, Mapping):
        return {k: _joined([v[k] for v in values], known) for k in first}
    if is_dataclass(first) and not isinstance(first, type):
        return replace(first, **{f.name: _joined([getattr(v, f.name) for v in values], known) for f in fields(first)})
    return first


def to_tensors(encoded: Encoded) -> dict[str, Tensor]:
    """By name; of `rows_alone`, which has no internals of experts."""
    found: dict[str, Tensor] = {}
    for f in fields(Encoded):
        value = getattr(encoded, f.name)
        if isinstance(value, Mapping):
            found |= {f"{f.name}:{k}": v for k, v in value.items()}
        elif value is not None:
            found[f.name] = value
    return found


def of_tensors(tensors: Mapping[str, Tensor]) -> Encoded:
    """The inverse of `to_tensors`. `TypeError` where one is missing."""
    values: dict[str, Any] = {f.name: {} for f in fields(Encoded) if "Mapping" in str(f.type)}
    for name, value in tensors.items():
        field_name, colon, key = name.partition(":")
        if colon:
            values[field_name][key] = value
        else:
            values[field_name] = value
    return Encoded(**values)
