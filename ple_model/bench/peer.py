"""`ple bench peer-mmoe` and `peer-ple`: a training step beside torch-rechub's (https://github.com/datawhalechina/torch-rechub),
which builds expert by expert and task by task.

`PLE_PEER` names the folder that has it: `pip install --no-deps --target FOLDER torch-rechub`; it is no dependency of ours. Both
get the same rows, tasks and sizes, Adam and a binary cross entropy of every task: 644 numbers, 16 tasks, experts of 64, towers
of 32.

* `peer-mmoe`: its MMOE (8 experts) beside the modules of our model, `CGCGate` and `TaskTowers` (other mathematics: gates see
  what the experts say, towers have a layer norm), and beside `Stacked`, which computes exactly what it computes.
* `peer-ple`: its PLE of one level (8 shared experts and one of each task) beside `Stacked`, in float32 and bfloat16.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.bench.measure import Row, Settings, Target, agree, interleave
from ple_model.bench.registry import Benchmark
from ple_model.errors import UserError
from ple_model.gate import CGCGate
from ple_model.tasks import TASKS
from ple_model.towers import TaskTowers

PEER = "PLE_PEER"
INPUTS, TASK_COUNT, EXPERTS, WIDTH, TOWER = 644, 16, 8, 64, 32
BATCHES = (1024, 4096)
TOLERANCE = 1e-4
"""Of a float32 step: sums are added in another order."""


class Stacked(nn.Module):
    """What an MMOE or a one-level PLE of torch-rechub computes, with its weights: all experts and gates are columns of one
    linear layer and one batch norm, all towers one batched product. [B, inputs] -> logits [B, tasks]."""

    def __init__(self, specific: Iterable[Any], shared: Iterable[Any], gates: Iterable[Any], towers: Iterable[Any]) -> None:
        """Of the library's MLPs."""
        super().__init__()
        own, common, mixing, heads = ([m.mlp for m in part] for part in (specific, shared, gates, towers))
        self.tasks, self.own = len(mixing), len(own)
        self.columns = len(own + common) * WIDTH
        self.linear, self.norm = _joined([*own, *common, *mixing])
        self.hidden_weight = nn.Parameter(torch.stack([h[0].weight.T for h in heads]))
        self.hidden_bias = nn.Parameter(torch.stack([h[0].bias for h in heads])[:, None])
        self.hidden_norm = _norm([h[1] for h in heads])
        self.out_weight = nn.Parameter(torch.cat([h[4].weight for h in heads]))
        self.out_bias = nn.Parameter(torch.cat([h[4].bias for h in heads]))

    def forward(self, x: Tensor) -> Tensor:
        columns = self.norm(self.linear(x))
        experts = F.relu(columns[:, : self.columns]).view(len(x), -1, WIDTH)
        weights = torch.softmax(columns[:, self.columns :].view(len(x), self.tasks, -1), dim=-1)
        own = self.own // self.tasks
        mixed = torch.bmm(weights[:, :, own:], experts[:, self.own :].to(weights.dtype))
        if own:
            mixed = mixed + weights[:, :, :own] * experts[:, : self.own]
        hidden = torch.baddbmm(self.hidden_bias.to(mixed.dtype), mixed.transpose(0, 1), self.hidden_weight.to(mixed.dtype))
        hidden = F.relu(self.hidden_norm(hidden.transpose(0, 1).reshape(len(x), -1))).view(len(x), self.tasks, TOWER)
        return (hidden * self.out_weight).sum(dim=-1) + self.out_bias


class Ours(nn.Module):
    """Experts as `Stacked` has them, our model's gates and towers."""

    def __init__(self) -> None:
        super().__init__()
        tasks = [t for t, spec in TASKS.items() if spec.kind == "binary"]
        specs = {f"task {i}": TASKS[tasks[0]] for i in range(TASK_COUNT)}
        self.experts = nn.Sequential(nn.Linear(INPUTS, EXPERTS * WIDTH), nn.BatchNorm1d(EXPERTS * WIDTH), nn.ReLU())
        self.gate = CGCGate(list(specs), [f"expert {k}" for k in range(EXPERTS)], [WIDTH] * EXPERTS)
        self.towers = TaskTowers(specs, WIDTH, (TOWER,), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.experts(x)
        weights = self.gate(shared)[1]
        mixed = torch.bmm(weights, shared.view(len(x), EXPERTS, WIDTH)).transpose(0, 1)
        return torch.cat(list(self.towers(mixed, self.towers.tasks).values()), dim=1)


def _norm(parts: list[Any]) -> nn.BatchNorm1d:
    """One batch norm over the channels of several."""
    norm = nn.BatchNorm1d(sum(p.num_features for p in parts))
    with torch.no_grad():
        norm.weight.copy_(torch.cat([p.weight for p in parts]))
        norm.bias.copy_(torch.cat([p.bias for p in parts]))
    return norm


def _joined(layers: list[Any]) -> tuple[nn.Linear, nn.BatchNorm1d]:
    """One linear layer and one batch norm in the place of several, column by column."""
    weight, bias = (torch.cat([getattr(s[0], name) for s in layers]) for name in ("weight", "bias"))
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear, _norm([s[1] for s in layers])


def peer(kind: str) -> tuple[Any, Stacked]:
    """torch-rechub's model of this kind (`MMOE`, `PLE`), and `Stacked` with its weights. `UserError` where it is not there."""
    folder = os.environ.get(PEER)
    if not folder or not (Path(folder) / "torch_rechub").is_dir():
        how = "`pip install --no-deps --target FOLDER torch-rechub` makes one"
        raise UserError(f"{PEER}: '{folder or ''}' is no folder with torch_rechub; {how}")
    if folder not in sys.path:
        sys.path.append(folder)
    features: Any = importlib.import_module("torch_rechub.basic.features")
    models: Any = importlib.import_module(f"torch_rechub.models.multi_task.{kind.lower()}")
    mlp = {"activation": "relu", "dropout": 0.0}
    given = {
        "features": [features.DenseFeature("x", INPUTS)], "task_types": ["classification"] * TASK_COUNT,
        "expert_params": {"dims": [WIDTH], **mlp}, "tower_params_list": [{"dims": [TOWER], **mlp}] * TASK_COUNT,
    }  # fmt: skip
    if kind == "MMOE":
        found = models.MMOE(n_expert=EXPERTS, **given)
        return found, Stacked([], found.experts, found.gates, found.towers)
    found = models.PLE(n_level=1, n_expert_specific=1, n_expert_shared=EXPERTS, **given)
    level = found.cgc_layers[0]
    return found, Stacked(level.experts_specific, level.experts_shared, level.gates_specific, found.towers)


def step(
    model: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer, half: bool
) -> None:
    """A training step. Ours give logits, theirs probabilities."""
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        said = forward(x)
    loss = F.binary_cross_entropy_with_logits if isinstance(model, Stacked | Ours) else F.binary_cross_entropy
    loss(said.float(), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def check(theirs: Any, ours: Stacked, x: Tensor) -> float:
    """Largest difference of probabilities and of the gradient of the inputs, in training mode."""
    found = []
    for said in (lambda v: torch.sigmoid(ours(v)), lambda v: theirs({"x": v})):
        at = x.clone().requires_grad_()
        p = said(at)
        (gradient,) = torch.autograd.grad(p.square().sum(), at)
        found.append({"probabilities": p, "gradient of inputs": gradient})
    return agree("peer", found[0], found[1], TOLERANCE)


def _rows(kind: str, settings: Settings, targets: dict[tuple[int, bool], Target], halves: tuple[bool, ...]) -> list[Row]:
    torch.manual_seed(settings.seed)
    theirs, stacked = peer(kind)
    difference = check(theirs, stacked, torch.randn(256, INPUTS))
    forms: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]] = {
        "plain": (theirs, lambda v: theirs({"x": v})),
        "ours": (stacked, stacked),
    }
    if kind == "MMOE":
        forms["modules"] = (product := Ours(), product)
    optimizers = {name: torch.optim.Adam(model.parameters(), 1e-3) for name, (model, _) in forms.items()}
    rows = []
    for batch in (64,) if settings.quick else BATCHES:
        x, y = torch.randn(batch, INPUTS), (torch.rand(batch, TASK_COUNT) < 0.2).float()
        for half in halves:
            steps = {n: partial(step, m, f, x, y, optimizers[n], half) for n, (m, f) in forms.items()}
            times = interleave(steps, settings.rounds)
            measure = f"training step, batch {batch}{', bfloat16' if half else ''}"
            bound = targets.get((batch, half))
            if kind == "MMOE":
                ratio = times.ratios("plain", "modules")
                rows.append(
                    Row("peer-mmoe", f"{measure}, our gates and towers", sorted(ratio)[len(ratio) // 2], bound,
                        times.median("modules"), times.median("plain"), low=min(ratio), high=max(ratio))
                )  # fmt: skip
                bound, measure = None, f"{measure}, the same mathematics"
            rows.append(times.speedup(f"peer-{kind.lower()}", measure, target=bound, difference=difference))
    return rows


def mmoe(settings: Settings) -> list[Row]:
    return _rows("MMOE", settings, {(4096, False): Target(3.0)}, (False,))


def ple(settings: Settings) -> list[Row]:
    return _rows("PLE", settings, {(1024, False): Target(1.4), (1024, True): Target(1.7)}, (False, True))


BENCHMARKS = (
    Benchmark(
        "peer-mmoe", "gates and towers against torch-rechub's MMOE (PLE_PEER names a folder that has it)", mmoe, proof=True
    ),
    Benchmark("peer-ple", "the same against torch-rechub's PLE, with equal mathematics", ple, proof=True),
)
