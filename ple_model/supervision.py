"""A second way for the tasks to teach the shared experts (`training.expert_supervision`).

What a task wants of an expert reaches it through its gate, its group encoder, its own layers and its tower, and each of these
has to learn too. Beside a fitted map (`direct_path.start: fitted`) most tasks want nothing but noise, and on small banks an
expert may never learn what one task alone would need of it: on about half of them `channel`, which sequences tell, stayed at
its map.

So in training a linear map a task reads what all experts say, ungated, adds it to what the direct path says (which it does
not change), and is judged by the task's own loss over a constant's (deep supervision: Lee et al., AISTATS 2015). No prediction
reads these maps: what a gate, an encoder or a head makes of the experts is as it was, and only the experts feel them. Off in
the reference's presets, which do not know it. Not the contrastive task, whose query is a direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.layers.precision import widen
from ple_model.tasks import TaskSpec


class ExpertHeads(nn.Module):
    """`forward` gives the raw outputs {task: [B, out_dim]} from `shared` [B, width] and, where there is one, what the direct
    path says, {task: [B, out_dim]}, through which no gradient goes."""

    def __init__(self, tasks: Mapping[str, TaskSpec], dims: Sequence[int]) -> None:
        super().__init__()
        self.slices: dict[str, slice] = {}
        width = 0
        for name, spec in tasks.items():
            if spec.kind != "contrastive":
                self.slices[name] = slice(width, width + spec.out_dim)
                width += spec.out_dim
        self.linear = nn.Linear(sum(dims), width)
        with torch.no_grad():
            self.linear.weight.mul_(0.1)  # the first predictions are the direct path's
            self.linear.bias.zero_()

    def forward(self, shared: Tensor, direct: Mapping[str, Tensor]) -> dict[str, Tensor]:
        said = widen(F.linear(widen(shared), widen(self.linear.weight), widen(self.linear.bias)))
        return {n: said[:, w] + widen(direct[n]).detach() if n in direct else said[:, w] for n, w in self.slices.items()}
