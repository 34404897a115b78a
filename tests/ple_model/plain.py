"""The heads written out plainly, task by task, as the reference draws them: what the stacked form must equal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.basket import GroupTaskExpertBasket
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    var = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5) * gain + bias


def plain_decode(model: PLEClusterAdaTT, encoded: Encoded) -> dict[str, dict[str, Tensor]]:
    """Gate weights, task experts, tower inputs and logits by task, in eval mode, one task at a time."""
    out: dict[str, dict[str, Tensor]] = {"gates": {}, "experts": {}, "tower_inputs": {}, "logits": {}, "predictions": {}}
    for name in model.execution_order:
        k = model.task_names.index(name)
        gate = plain_gate(model, encoded.shared_concat, k)
        scaled = scale_blocks(model, encoded.shared_concat, gate)
        expert = plain_task_expert(model, torch.cat([scaled, encoded.hmm_projected[model.tasks[name].hmm_mode]], 1), encoded, k)
        received = torch.zeros_like(expert)
        for edge in model.edges:
            if edge.target == name:
                p = out["predictions"][edge.source].detach()
                p = p[:, None] if p.dim() == 1 else p
                p = 1 - p if edge.type == "inverse" else p
                linear = model.transfer.linears[f"{edge.source}__{name}"]
                norm = model.transfer.norms[f"{edge.source}__{name}"]
                y = layer_norm(p @ linear.weight.T + linear.bias, norm.weight, norm.bias)
                received = received + model.config.task_relationships.transfer_strength * y * torch.sigmoid(y)
        x = expert + received
        out["gates"][name], out["experts"][name], out["tower_inputs"][name] = gate, expert, x
        for linear, norm in zip(model.towers.hidden, model.towers.norms, strict=True):
            x = F.silu(layer_norm(x @ linear.weight[k] + linear.bias[k], norm.gain[k], norm.bias[k]))
        rows = model.towers.slices[name]
        logits = x @ model.towers.out_weight[rows].T + model.towers.out_bias[rows]
        if model.direct is not None and model.tasks[name].kind != "contrastive":
            assert encoded.direct is not None
            first = sum(t.out_dim for t in list(model.tasks.values())[:k] if t.kind != "contrastive")
            logits = logits + encoded.direct[:, first : first + model.tasks[name].out_dim]
        elif model.direct is not None and model.config.direct_path.brand_query:
            assert encoded.direct is not None
            logits = logits + encoded.direct[:, -model.tasks[name].out_dim :]  # what is added to the query comes last
        out["logits"][name] = logits
        kind = model.tasks[name].kind
        out["predictions"][name] = {
            "binary": lambda z: 1 / (1 + torch.exp(-z[:, 0])),
            "multiclass": lambda z: torch.exp(z) / torch.exp(z).sum(1, keepdim=True),
            "contrastive": lambda z: z / z.norm(dim=1, keepdim=True),
            "regression": lambda z: z[:, 0],
        }[kind](logits)
    return out


def plain_gate(model: PLEClusterAdaTT, shared: Tensor, k: int) -> Tensor:
    n = len(model.expert_names)
    weight = model.cgc.linear.weight[k * n : (k + 1) * n]
    logits = shared @ weight.T + model.cgc.linear.bias[k * n : (k + 1) * n]
    e = torch.exp(logits / model.config.cgc.temperature)
    return e / e.sum(1, keepdim=True)


def scale_blocks(model: PLEClusterAdaTT, shared: Tensor, gate: Tensor) -> Tensor:
    blocks, start = [], 0
    mean = sum(model.dims) / len(model.dims)
    for i, d in enumerate(model.dims):
        factor = (mean / d) ** 0.5 if model.config.cgc.dim_normalize else 1.0
        blocks.append(shared[:, start : start + d] * gate[:, i : i + 1] * factor)
        start += d
    return torch.cat(blocks, 1)


def plain_task_expert(model: PLEClusterAdaTT, x: Tensor, encoded: Encoded, k: int) -> Tensor:
    basket = model.basket
    if not isinstance(basket, GroupTaskExpertBasket):
        out = 0.0
        hidden, n = basket.hidden_dim, basket.n_clusters
        for c in range(n):
            columns = slice(c * hidden, (c + 1) * hidden)
            h = F.silu(x @ basket.first.weight[k][:, columns] + basket.first.bias[k][:, columns])
            y = h @ basket.second.weight[k * n + c] + basket.second.bias[k * n + c]
            out = out + encoded.cluster_weights[:, c : c + 1] * y
        return out
    group = model.tasks[model.task_names[k]].group
    g = basket.groups.index(group)
    columns = slice(g * basket.hidden_dim, (g + 1) * basket.hidden_dim)
    norm, rest = basket.encoder_norm[g], basket.encoder_out[g]
    h = F.silu(layer_norm(x @ basket.encoder_weight[:, columns] + basket.encoder_bias[g], norm.weight, norm.bias))
    h = F.silu(layer_norm(h @ rest[0].weight.T + rest[0].bias, rest[1].weight, rest[1].bias))
    y = torch.cat([h, encoded.cluster_embedding], 1) @ basket.head.weight[k] + basket.head.bias[k]
    return F.silu(layer_norm(y, basket.head_norm.gain[k], basket.head_norm.bias[k]))
