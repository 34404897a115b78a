"""What the model returns: every named intermediate, explicitly, so that nothing has to be hooked (reference,
"PLEClusterOutput")."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ple_model.evidential import EvidentialOutput
from ple_model.experts.base import ExpertAux
from ple_model.sae import SAEOutput

__all__ = ["Encoded", "EvidentialOutput", "LossBreakdown", "PLEClusterOutput", "SAEOutput"]

D = TypeVar("D")


def _map(value: Any, fn: Callable[[Tensor], Tensor]) -> Any:
    """`value` with `fn` applied to every tensor in it: nested mappings and dataclasses included."""
    if isinstance(value, Tensor):
        return fn(value)
    if isinstance(value, Mapping):
        return {k: _map(v, fn) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed: Any = {f.name: _map(getattr(value, f.name), fn) for f in fields(value)}
        return replace(value, **changed)
    return value


@dataclass(frozen=True)
class Encoded:
    """The expensive half of a forward pass; `decode` needs nothing else. Store it to try interventions or explain cheaply.

    expert_outputs {expert: [B, D]} as the experts gave them; expert_present {expert: [B] bool}, false on fallback rows;
    shared_concat [B, width] after cold-start mixing; hmm_projected {mode: [B, P]}; hmm_default {mode: [B] bool};
    cluster_embedding [B, C]; cluster_weights [B, clusters]; direct [B, sum of out_dim] of the direct path, what
    it adds to the brand query last; None without one.
    """

    expert_outputs: Mapping[str, Tensor]
    expert_present: Mapping[str, Tensor]
    expert_aux: Mapping[str, ExpertAux]
    shared_concat: Tensor
    hmm_projected: Mapping[str, Tensor]
    hmm_default: Mapping[str, Tensor]
    cluster_embedding: Tensor
    cluster_weights: Tensor
    direct: Tensor | None = None

    def __len__(self) -> int:
        return int(self.shared_concat.shape[0])

    def map(self, fn: Callable[[Tensor], Tensor]) -> Encoded:
        """`fn` applied to every tensor, auxiliary losses and internals included."""
        mapped: Encoded = _map(self, fn)
        return mapped

    def to(self, device: torch.device | str) -> Encoded:
        return self.map(lambda t: t.to(device))

    def detach(self) -> Encoded:
        return self.map(lambda t: t.detach())

    def rows(self, index: Tensor | slice) -> Encoded:
        """These rows. Experts' losses are means over the whole batch: they are dropped. Internals without a row dimension
        stay."""
        n = len(self)

        def take(t: Tensor) -> Tensor:
            return t[index] if t.dim() > 0 and t.shape[0] == n else t

        aux = {k: ExpertAux({}, {i: take(t) for i, t in a.internals.items()}) for k, a in self.expert_aux.items()}
        plain = replace(self, expert_aux={})
        return replace(plain.map(lambda t: t[index]), expert_aux=aux)


@dataclass(frozen=True)
class PLEClusterOutput:
    """Tasks are in config order wherever they are a dimension.

    predictions {task}: binary p [B]; multiclass probabilities [B, K]; regression [B] in standard deviations of the label;
    contrastive L2-normalised query [B, 128]. logits {task: [B, out]} raw tower outputs. gate_logits, gate_weights [B, T,
    experts] (weights after any intervention, before `dim_normalize`). shared_concat [B, width] and hmm_projected after any
    intervention. encoder_outputs [B, T, group_output_dim]. task_expert {task: [B, O]}. transfer {'source:target': [B, O]} as
    added. tower_inputs {task: [B, O]}.
    """

    predictions: Mapping[str, Tensor]
    logits: Mapping[str, Tensor]
    gate_logits: Tensor
    gate_weights: Tensor
    shared_concat: Tensor
    hmm_projected: Mapping[str, Tensor]
    encoder_outputs: Tensor
    task_expert: Mapping[str, Tensor]
    transfer: Mapping[str, Tensor]
    tower_inputs: Mapping[str, Tensor]
    encoded: Encoded
    sae: SAEOutput | None = None
    evidential: Mapping[str, EvidentialOutput] = field(default_factory=dict)

    @property
    def sae_latent(self) -> Tensor | None:
        """[B, expansion * width], the reference's field name."""
        return None if self.sae is None else self.sae.latent


@dataclass(frozen=True)
class TaughtLosses:
    """What a teacher adds to a step's loss, 0-dimensional tensors. tasks {task: mean loss against the teacher, in the units of
    the task's own loss}; counts {task: rows it is over}; hint: weighted, None without one; share: of the teacher in a task."""

    tasks: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]
    share: float
    hint: Tensor | None = None

    def mixed(self, task: str, own: Tensor) -> Tensor:
        """The task's loss from that of its labels, `own`; unchanged where the teacher has no such task."""
        return own if task not in self.tasks else (1.0 - self.share) * own + self.share * self.tasks[task]


@dataclass(frozen=True)
class LossBreakdown:
    """All parts of a step's loss, 0-dimensional tensors on the model's device.

    raw {task: masked mean L_k, 0 without labels}; counts {task: labels}; weighted {task: term as it enters the total}; entropy,
    aux {'expert.loss'}, evidential and evidential_kl as they enter the total; sae the unscaled SAE loss.
    """

    raw: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]
    weighted: Mapping[str, Tensor]
    entropy: Tensor
    aux: Mapping[str, Tensor]
    evidential: Tensor
    evidential_kl: Tensor
    sae: Tensor
    sae_weight: float
    total: Tensor
    """The model's loss: everything but the SAE."""
    main: Tensor
    """What moves the main path: without the terms of onlookers, whose inputs are detached."""
    mixed: Mapping[str, Tensor] = field(default_factory=dict)
    """With a teacher, {task: what is trained of it}: the label's loss and the teacher's in the units of `raw`."""
    taught: Mapping[str, Tensor] = field(default_factory=dict)
    """With a teacher, {task: the teacher's part of it alone}, for the log."""

    @property
    def learnt(self) -> Mapping[str, Tensor]:
        """{task: the loss whose gradient trains it}, before weights."""
        return self.mixed or self.raw

    @property
    def sae_total(self) -> Tensor:
        """The SAE's own loss. Its input is detached: `(total + sae_total).backward()` gives both their gradients; clip each
        apart."""
        return self.sae

    @property
    def reported(self) -> Tensor:
        """total + sae.loss_weight * SAE loss: the number to show."""
        return self.total.detach() + self.sae_weight * self.sae.detach()

    def map(self, fn: Callable[[Tensor], Tensor]) -> LossBreakdown:
        """`fn` applied to every term; counts stay."""
        mapped: LossBreakdown = _map(replace(self, counts={}), fn)
        return replace(mapped, counts=self.counts)

    def without(self, lost: Collection[str]) -> LossBreakdown:
        """The same with nothing from the onlookers `lost` ('sae', 'evidential'): their numbers must not spoil a sum."""
        if not lost:
            return self
        zero = torch.zeros_like(self.main)
        gone: dict[str, Any] = dict.fromkeys(("evidential", "evidential_kl") if "evidential" in lost else (), zero)
        gone |= {"total": self.main} if "evidential" in lost else {}
        gone |= {"sae": zero} if "sae" in lost else {}
        return replace(self, **gone)

    def numbers(self) -> dict[str, Any]:
        """Plain numbers for a log, with one transfer from the device: total (as reported), tasks and weighted (only tasks with
        labels), n, entropy, aux, sae, evidential, evidential_kl."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "tasks": self.raw,
            "n": self.counts,
            "weighted": self.weighted,
            "aux": self.aux,
            "": {
                "total": self.reported, "entropy": self.entropy, "sae": self.sae, "evidential": self.evidential,
                "evidential_kl": self.evidential_kl,
            },
        }  # fmt: skip
        flat = torch.stack([v.detach().double() for part in parts.values() for v in part.values()]).tolist()
        values = iter(flat)
        found: dict[str, Any] = {name: {k: next(values) for k in part} for name, part in parts.items()}
        out: dict[str, Any] = {**found.pop(""), **found, "n": {k: int(v) for k, v in found["n"].items()}}
        for name in ("tasks", "weighted"):
            out[name] = {k: v for k, v in out[name].items() if out["n"][k]}
        return out
