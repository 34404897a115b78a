"""Task experts: a shared encoder per task group, a cluster embedding and a head per task (reference,
"GroupTaskExpertBasket", v3.2).

Fast form. With block scaling followed by a linear layer, `W (w_i h_i) = w_i (W_i h_i)`: each expert block is projected once per
group, and the gates mix the group_hidden-wide results per task by one batched product. The scaled [B, tasks, width] tensor is
never built. The cluster embedding joins after the encoder (its soft-routing section and its constructor agree on that).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.stacked import StackedLayerNorm, StackedLinear
from ple_model.tasks import TaskSpec


def cluster_weights(ids: Tensor, probs: Tensor | None, probs_present: Tensor, n_clusters: int) -> Tensor:
    """[B, n_clusters] mixing weights: the posteriors where a row has them (soft routing), one-hot of the id elsewhere."""
    hard = torch.zeros(ids.shape[0], n_clusters, device=ids.device).scatter_(1, ids.long()[:, None], 1.0)
    return hard if probs is None else torch.where(probs_present[:, None], probs.to(hard.dtype), hard)


def _span(positions: list[int]) -> slice | list[int]:
    """A slice where the positions are consecutive, as they are when tasks come group by group: a view in place of a copy."""
    first, n = positions[0], len(positions)
    return slice(first, first + n) if positions == list(range(first, first + n)) else positions


def _products(blocks: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """[B, experts, out]: each block [B, d] through its rows [d, out] of a weight. Where no gradient is wanted, products are
    written where they belong, which spares a copy of them all."""
    first, plain = blocks[0], not (torch.is_grad_enabled() or torch.is_autocast_enabled(blocks[0].device.type))
    if not plain or torch.compiler.is_compiling() or first.dtype != rows[0].dtype:
        return torch.stack([b @ w for b, w in zip(blocks, rows, strict=True)], dim=1)
    out = first.new_empty(first.shape[0], len(blocks), rows[0].shape[1])
    for i, (b, w) in enumerate(zip(blocks, rows, strict=True)):
        torch.mm(b, w, out=out[:, i])
    return out


class GroupTaskExpertBasket(nn.Module):
    """`forward` gives (task experts [B, tasks, output_dim], encoder outputs [B, tasks, group_output_dim])."""

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        dims: Sequence[int],
        hmm_dim: int,
        hidden_dim: int,
        encoder_dim: int,
        cluster_dim: int,
        output_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.dims = list(dims)
        self.width = sum(dims)
        self.hidden_dim = hidden_dim
        self.encoder_dim = encoder_dim
        self.dropout = dropout
        self.groups = sorted({t.group for t in tasks.values()}, key=lambda g: [t.group for t in tasks.values()].index(g))
        names = self.tasks
        self.members = {g: [i for i, n in enumerate(names) if tasks[n].group == g] for g in self.groups}
        self.modes = {g: [tasks[names[i]].hmm_mode for i in self.members[g]] for g in self.groups}
        # tasks come out group by group; this restores config order
        order = [i for g in self.groups for i in self.members[g]]
        self._restore = [order.index(i) for i in range(len(order))]

        n = len(self.groups)
        bound = 1 / math.sqrt(self.width + hmm_dim)
        # rows: shared blocks then HMM; columns: group by group, so that a block is projected for all groups in one product
        self.encoder_weight = nn.Parameter(torch.empty(self.width + hmm_dim, n * hidden_dim).uniform_(-bound, bound))
        self.encoder_bias = nn.Parameter(torch.empty(n, hidden_dim).uniform_(-bound, bound))
        self.encoder_norm = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(n))
        self.encoder_out = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden_dim, encoder_dim), nn.LayerNorm(encoder_dim), nn.SiLU(), nn.Dropout(dropout))
            for _ in range(n)
        )
        self.head = StackedLinear(len(tasks), encoder_dim + cluster_dim, output_dim)
        self.head_norm = StackedLayerNorm(len(tasks), output_dim)

    def forward(
        self, shared: Tensor, gates: Tensor, hmm: Mapping[str, Tensor], clusters: Tensor, _weights: Tensor,
        only: Collection[str] | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """shared [B, width]; gates [B, tasks, experts] (block scale included); hmm {mode: [B, hmm_dim]}; clusters [B,
        cluster_dim]. `only`: tasks that are asked for; the encoders of groups without one of them say nothing (zero)."""
        hidden = self.hidden_dim
        asked = {g for g in self.groups if only is None or any(self.tasks[i] in only for i in self.members[g])}
        # [B, experts, groups * hidden]: each block through its rows of every group's first layer
        blocks = torch.split(shared, self.dims, dim=1)
        at = {g: i for i, g in enumerate(g for g in self.groups if g in asked)}
        weight: Tensor = self.encoder_weight
        if len(asked) < len(self.groups):
            weight = torch.cat(
                [w for g, w in zip(self.groups, torch.split(weight, hidden, dim=1), strict=True) if g in asked], dim=1
            )
        rows = torch.split(weight[: self.width], self.dims, dim=0)
        products = _products(blocks, rows)
        gates = gates.to(products.dtype)
        hmm_weight = weight[self.width :]

        encoded: list[Tensor] = []
        for g, group in enumerate(self.groups):
            if group not in asked:
                encoded.append(products.new_zeros(shared.shape[0], len(self.members[group]), self.encoder_dim))
                continue
            columns = slice(at[group] * hidden, (at[group] + 1) * hidden)
            mixed = torch.bmm(gates[:, _span(self.members[group])], products[:, :, columns])  # [B, group tasks, hidden]
            used = list(dict.fromkeys(self.modes[group]))
            context = {m: torch.addmm(self.encoder_bias[g], hmm[m], hmm_weight[:, columns]) for m in used}
            if len(used) == 1:
                mixed = mixed + context[used[0]][:, None]
            else:
                mixed = mixed + torch.stack([context[m] for m in self.modes[group]], dim=1)
            x = F.dropout(F.silu(self.encoder_norm[g](mixed)), self.dropout, self.training)
            encoded.append(self.encoder_out[g](x))
        encoder_outputs = torch.cat(encoded, dim=1)[:, _span(self._restore)]  # [B, tasks, encoder_dim], config order

        # the cluster embedding is the same for every task: project it for all heads at once instead of copying it to each
        enc, clu = self.head.weight[:, : self.encoder_dim], self.head.weight[:, self.encoder_dim :]
        y = torch.baddbmm(self.head.bias, encoder_outputs.transpose(0, 1), enc) + torch.matmul(clusters, clu)
        return F.silu(self.head_norm(y)).transpose(0, 1), encoder_outputs


class ClusterTaskExpertBasket(nn.Module):
    """The legacy basket: an independent two-layer MLP per task and cluster, kept for comparison (`use_group_encoder: false`).

    Soft routing mixes the sub-heads' outputs with the cluster weights. There is no shared encoder: encoder outputs are the
    task experts themselves.
    """

    def __init__(
        self, tasks: Mapping[str, TaskSpec], dims: Sequence[int], hmm_dim: int, hidden_dim: int, n_clusters: int, output_dim:
        int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dims = list(dims)
        self.modes = [t.hmm_mode for t in tasks.values()]
        self.n_clusters, self.hidden_dim = n_clusters, hidden_dim
        self.first = StackedLinear(len(tasks), sum(dims) + hmm_dim, n_clusters * hidden_dim)
        self.second = StackedLinear(len(tasks) * n_clusters, hidden_dim, output_dim)
        self.dropout = dropout

    def forward(
        self, shared: Tensor, gates: Tensor, hmm: Mapping[str, Tensor], _clusters: Tensor, weights: Tensor,
        _only: Collection[str] | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """As `GroupTaskExpertBasket.forward`, of all tasks; `weights` [B, n_clusters] are the cluster mixing weights."""
        out: list[Tensor] = []
        second = self.second.weight.view(len(self.modes), self.n_clusters, self.hidden_dim, -1)
        bias = self.second.bias.view(len(self.modes), self.n_clusters, -1)
        blocks = torch.split(shared, self.dims, dim=1)
        for t, mode in enumerate(self.modes):
            x = torch.cat([b * gates[:, t, i : i + 1].to(b.dtype) for i, b in enumerate(blocks)] + [hmm[mode]], dim=1)
            h = F.silu(torch.addmm(self.first.bias[t], x, self.first.weight[t]))
            h = F.dropout(h, self.dropout, self.training).view(-1, self.n_clusters, self.hidden_dim)
            # sum_c p_c (h_c W_c + b_c): weight the hidden units first, then one product over (cluster, hidden)
            h = (h * weights[:, :, None].to(h.dtype)).flatten(1)
            out.append(h @ second[t].flatten(0, 1) + weights.to(h.dtype) @ bias[t])
        experts = torch.stack(out, dim=1)
        return experts, experts
