"""One task's way from encoded customers to its answer, by itself: for who asks one task again and again, with gradients.

`decode(task=...)` answers the same in the form that suits every task at once: all gates, heads and towers, stacked, and every
intermediate returned. A dozen rows cost the number of small operations, not their size. So here only the gates, encoders,
heads, towers and edges that lead to the task run, each a plain layer over weights that were cut out beforehand. The gates scale
the experts' blocks and one product projects them, `W (w h)`; the stacked form mixes projected blocks, which is the same number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.basket import GroupTaskExpertBasket
from ple_model.layers.precision import widen
from ple_model.model import PLEClusterAdaTT
from ple_model.towers import predict
from ple_model.transfer import Edge


@dataclass(frozen=True)
class _Layer:
    """SiLU(LayerNorm(x @ weight + bias)): weight [in, out]; bias, gain and offset [out]."""

    weight: Tensor
    bias: Tensor
    gain: Tensor
    offset: Tensor
    eps: float = 1e-5

    def __call__(self, x: Tensor) -> Tensor:
        return self.finish(torch.addmm(self.bias, x, self.weight))

    def finish(self, y: Tensor) -> Tensor:
        return F.silu(F.layer_norm(y, self.bias.shape, self.gain, self.offset, self.eps))


@dataclass(frozen=True)
class _Step:
    """What one task of the way takes of the model's weights."""

    name: str
    mode: str
    gate: tuple[Tensor, Tensor]
    """Weight [experts, width], bias [experts]."""
    first: _Layer
    """The group encoder's first layer over the blocks alone; `context` [hmm, hidden] is what it does with the HMM mode."""
    context: Tensor
    second: _Layer
    head: _Layer
    """Over the encoder's output alone; `cluster` [cluster, O] is what it does with the cluster embedding."""
    cluster: Tensor
    tower: tuple[_Layer, ...]
    out: tuple[Tensor, Tensor]
    """Weight [out, hidden], bias [out]."""
    edges: tuple[Edge, ...]


class TaskPath:
    """One task of a model in eval mode: calling it gives (raw output [B, out], prediction as `predict` gives it). Weights are
    views of the model's: they move with them in place, and gradients go to what is asked alone."""

    def __init__(self, model: PLEClusterAdaTT, task: str) -> None:
        """`ValueError` for a model that has the legacy basket (`fits`) or is in training mode."""
        if not self.fits(model) or model.training:
            raise ValueError("a path of one task needs a model with group encoders, in eval mode")
        assert isinstance(model.basket, GroupTaskExpertBasket)
        self.model, self.task = model, task
        widths = torch.tensor(model.dims, device=model.cgc.block_scale.device)
        scale = model.cgc.block_scale
        self.spread = torch.diag(scale).repeat_interleave(widths, dim=1)
        """[experts, width]: gates @ spread is what each column of shared_concat is multiplied by."""
        wanted = model.sources[task]
        self.steps = [_step(model, model.basket, n) for level in model.levels for n in level if n in wanted]

    @staticmethod
    def fits(model: PLEClusterAdaTT) -> bool:
        return isinstance(model.basket, GroupTaskExpertBasket)

    def __call__(
        self, shared: Tensor, hmm: Mapping[str, Tensor], clusters: Tensor, direct: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """shared [B, width]; hmm {mode: [B, P]}; clusters [B, C]; direct [B, D], or None for a model without a direct path."""
        model, temperature = self.model, self.model.cgc.temperature
        said: dict[str, Tensor] = {}
        for step in self.steps:
            gates = widen(F.linear(shared, *step.gate))
            gates = torch.softmax(gates if temperature == 1 else gates / temperature, dim=-1)
            scaled = shared * (gates.to(shared.dtype) @ self.spread)
            at_first = torch.addmm(step.first.bias, hmm[step.mode], step.context)
            x = step.second(step.first.finish(torch.addmm(at_first, scaled, step.first.weight)))
            at_head = torch.addmm(step.head.bias, clusters, step.cluster)
            x = step.head.finish(torch.addmm(at_head, x, step.head.weight))
            for edge in step.edges:
                x = x + model.transfer(edge, said[edge.source]).to(x.dtype)
            for layer in step.tower:
                x = layer(x)
            raw = model.with_direct({step.name: F.linear(x, *step.out)}, direct)[step.name]
            said[step.name] = predict(model.tasks[step.name], raw)
        return raw, said[self.task]


def _step(model: PLEClusterAdaTT, basket: GroupTaskExpertBasket, name: str) -> _Step:
    t, n_experts = model.task_names.index(name), len(model.expert_names)
    rows = slice(t * n_experts, (t + 1) * n_experts)
    group = model.tasks[name].group
    g = basket.groups.index(group)
    columns = slice(g * basket.hidden_dim, (g + 1) * basket.hidden_dim)
    first_norm, encoder = basket.encoder_norm[g], basket.encoder_out[g]
    assert isinstance(first_norm, nn.LayerNorm)
    assert isinstance(encoder, nn.Sequential)
    linear, norm = encoder[0], encoder[1]
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.LayerNorm)
    weight, head, towers = basket.encoder_weight.detach(), basket.head, model.towers
    enc = basket.encoder_dim
    tower = [
        _Layer(a.weight[t].detach(), a.bias[t, 0].detach(), b.gain[t, 0].detach(), b.bias[t, 0].detach())  # type: ignore[index]
        for a, b in zip(towers.hidden, towers.norms, strict=True)
    ]
    out = towers.slices[name]
    return _Step(
        name=name,
        mode=basket.modes[group][basket.members[group].index(t)],
        gate=(model.cgc.linear.weight[rows].detach(), model.cgc.linear.bias[rows].detach()),
        first=_Layer(
            weight[: basket.width, columns], basket.encoder_bias[g].detach(), first_norm.weight.detach(),
            first_norm.bias.detach(), first_norm.eps,
        ),
        context=weight[basket.width :, columns],
        second=_Layer(
            linear.weight.detach().T, linear.bias.detach(), norm.weight.detach(), norm.bias.detach(), norm.eps
        ),
        head=_Layer(
            head.weight[t, :enc].detach(), head.bias[t, 0].detach(), basket.head_norm.gain[t, 0].detach(),
            basket.head_norm.bias[t, 0].detach(),
        ),
        cluster=head.weight[t, enc:].detach(),
        tower=tuple(tower),
        out=(towers.out_weight[out].detach(), towers.out_bias[out].detach()),
        edges=tuple(e for e in model.edges if e.target == name),
    )  # fmt: skip
