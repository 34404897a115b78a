"""Logit transfer: an earlier task's prediction is added to a later task's tower input, along a DAG (reference, "Logit
Transfer").

`h_tower = h_expert + alpha * SiLU(LayerNorm(Linear(pred_source)))`. The type of an edge fixes only what enters: p (sequential),
1 - p (inverse) or the output vector (feature). The order is Kahn's (1962); a cycle is a configuration error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.config import TransferEdge
from ple_model.errors import UserError
from ple_model.tasks import TaskSpec

NORM_GAIN = 0.1
"""Start of the LayerNorm's gain: the edge starts small."""


@dataclass(frozen=True)
class Edge:
    """An active edge of the transfer DAG."""

    source: str
    target: str
    type: str

    @property
    def key(self) -> str:
        return f"{self.source}:{self.target}"


def active_edges(transfers: Sequence[TransferEdge], tasks: Mapping[str, TaskSpec]) -> tuple[list[Edge], list[str]]:
    """Edges between enabled tasks, and a warning for each that is skipped because an end is disabled."""
    edges: list[Edge] = []
    warnings: list[str] = []
    for e in transfers:
        off = [name for name in (e.source, e.target) if name not in tasks]
        if off:
            warnings.append(
                f"logit transfer {e.source} -> {e.target} is skipped: "
                + (f"'{off[0]}' is disabled" if len(off) == 1 else f"'{off[0]}' and '{off[1]}' are disabled")
            )
        else:
            edges.append(Edge(e.source, e.target, e.type))
    return edges, warnings


def topological_order(names: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """Kahn's order; ties keep the order of `names`. `UserError` naming the cycle if there is one."""
    waiting = {n: sum(e.target == n for e in edges) for n in names}
    ready = [n for n in names if waiting[n] == 0]
    order: list[str] = []
    while ready:
        node = ready.pop(0)
        order.append(node)
        for e in edges:
            if e.source == node:
                waiting[e.target] -= 1
                if waiting[e.target] == 0:
                    ready.append(e.target)
    if len(order) < len(names):
        cycle = " -> ".join(_find_cycle([n for n in names if n not in order], edges))
        raise UserError(f"task_relationships.transfers: the edges form a cycle, {cycle}; remove one of them")
    return order


def _find_cycle(left: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """A cycle among the nodes that Kahn's algorithm could not place: walk backwards (each has a source left) until one
    repeats."""
    path = [left[0]]
    while True:
        source = next(e.source for e in edges if e.target == path[-1] and e.source in left)
        if source in path:
            loop = [*path[path.index(source) :], source]
            return loop[::-1]
        path.append(source)


def levels(order: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Tasks by the longest path that leads to them: those of one level can run together."""
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = max((depth[e.source] + 1 for e in edges if e.target == name), default=0)
    return [[n for n in order if depth[n] == d] for d in range(max(depth.values(), default=-1) + 1)]


class LogitTransfer(nn.Module):
    """One projection an edge. `forward` gives `alpha * SiLU(LayerNorm(Linear(source)))` [B, output_dim] as it is added."""

    def __init__(
        self, edges: Sequence[Edge], tasks: Mapping[str, TaskSpec], output_dim: int, strength: float, detach: bool
    ) -> None:
        super().__init__()
        self.strength = strength
        self.detach = detach
        # module names may not hold a colon: it separates source and target everywhere else
        self.linears = nn.ModuleDict({_module_key(e): nn.Linear(tasks[e.source].out_dim, output_dim) for e in edges})
        self.norms = nn.ModuleDict({_module_key(e): nn.LayerNorm(output_dim) for e in edges})
        self.start()

    @torch.no_grad()
    def start(self) -> None:
        for norm in self.norms.values():
            assert isinstance(norm, nn.LayerNorm)
            norm.weight.fill_(NORM_GAIN)

    def forward(self, edge: Edge, prediction: Tensor, scale: float = 1.0) -> Tensor:
        """`prediction` is the source's [B] or [B, out_dim]; `scale` multiplies alpha (0 cuts the edge)."""
        x = prediction.detach() if self.detach else prediction
        x = x[:, None] if x.dim() == 1 else x
        if edge.type == "inverse":
            x = 1 - x
        key = _module_key(edge)
        return self.strength * scale * F.silu(self.norms[key](self.linears[key](x)))


def _module_key(edge: Edge) -> str:
    return f"{edge.source}__{edge.target}"
