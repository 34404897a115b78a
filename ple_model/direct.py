"""A direct path from the columns to every task's raw output, beside the experts (`direct_path`).

It is off in the reference's presets, which do not know it. Gates, group encoders and heads of a few units let through little of
a plain effect of one column, which a linear model sees at once. So two simple answers are added to the towers': a linear map of
all columns, and a small network shared by the tasks (a wide part beside a deep one: Cheng et al., DLRS 2016). What needs
sequences, diagrams, graphs or hierarchies is left to the experts.

Columns enter as they are normalised, raw amounts as signed logarithms in training standard deviations, both within `LIMIT`;
parts that a row does not have are zero there. With `path_dropout` a share of the training rows goes without the path, so that
the experts do not starve beside it.

With `start: fitted` the map is what a linear model by itself would be (`linear_start`), the small network adds nothing at
first, and `ridge` draws the map back to what was fitted. With `rate: 0` it stays that for good: what everything else learns is
what is left. Towers start at their usual size: at a tenth of it about half of the trainings never learnt what sequences alone
tell (docs/learning.md).

With `bends` a task may bend some columns (`bends`): its map is then linear in their pieces. They are fitted with it and stay.

With `blend: validation` a task takes of what the towers and the small network add to the map only a share, between 0 and 1,
which the validation rows choose at the end of each epoch (`blend`); in training it takes all.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.batch import PLEClusterInput
from ple_model.bend_start import Bent
from ple_model.bends import ColumnBends
from ple_model.brand_query import FIELD, BrandQuery
from ple_model.config import DirectPathConfig
from ple_model.context import ModelContext
from ple_model.experts.raw_scale import statistics
from ple_model.experts.reads import cleared
from ple_model.layers.precision import full_precision, widen
from ple_model.presence import part_key
from ple_model.tasks import TaskSpec

LIMIT = 5.0
"""Standard deviations beyond which a column counts as at the limit: one wild value must not decide a linear answer."""


class DirectPath(nn.Module):
    """`forward` gives what is added to the raw outputs of all towers, [B, sum of out_dim] in the order of tasks; `slices` says
    which columns are a task's. A contrastive task has none: its query is a direction, to which a sum of columns adds little.
    What is added to its query, where the config asks for it, comes last."""

    raw_mean: Tensor
    raw_std: Tensor
    fitted: Tensor | None
    blend: Tensor | None
    """[tasks of `slices`] what a task takes of all that is added to the map."""

    def __init__(self, tasks: Mapping[str, TaskSpec], context: ModelContext, params: DirectPathConfig) -> None:
        super().__init__()
        self.params = params
        self.parts = dict(context.parts)
        self.n_normalized = context.n_normalized
        n_raw = context.n_features - context.n_normalized
        std = statistics(context.raw_std, n_raw, 1.0, "raw_std")
        self.register_buffer("raw_mean", statistics(context.raw_mean, n_raw, 0.0, "raw_mean"))
        self.register_buffer("raw_std", torch.where(std > 1e-6, std, torch.ones_like(std)))
        self.slices: dict[str, slice] = {}
        start = 0
        for name, spec in tasks.items():
            if spec.kind != "contrastive":
                self.slices[name] = slice(start, start + spec.out_dim)
                start += spec.out_dim
        self.width = start
        brands = next((n for n, s in tasks.items() if s.kind == "contrastive"), None) if params.brand_query else None
        self.query_task = brands
        """The contrastive task, where its query is added to."""
        with torch.random.fork_rng(devices=[]):  # what comes after it starts as it would without
            self.query = BrandQuery(tasks[brands].out_dim) if brands is not None else None
        self.linear = nn.Linear(context.n_features, start)
        self.register_buffer("fitted", torch.zeros(start, context.n_features) if params.start == "fitted" else None)
        self.linear.requires_grad_(params.rate > 0)
        self.register_buffer("blend", torch.ones(len(self.slices)) if params.blend == "validation" else None)
        bends = min(params.bends, context.n_features)
        self.bends = ColumnBends(self.slices, start, bends, params.bend_pieces) if bends else None
        layers: list[nn.Module] = []
        width = context.n_features
        for hidden in params.hidden_dims:
            layers += [nn.Linear(width, hidden), nn.SiLU(), nn.Dropout(params.dropout)]
            width = hidden
        self.body = nn.Sequential(*layers, nn.Linear(width, start)) if layers else None
        with torch.no_grad():
            self.linear.weight.mul_(0.1)  # what is not learnt yet says little

    @property
    def fields(self) -> tuple[str, ...]:
        """Input fields that it reads."""
        return ("features",) if self.query is None else ("features", FIELD)

    def columns(self, inputs: PLEClusterInput) -> Tensor:
        """[B, columns] as the path reads them."""
        x = inputs.features
        if inputs.presence is not None:
            x = torch.cat([cleared(x[:, where], inputs.present(part_key(p))) for p, where in self.parts.items()], dim=1)
        with full_precision(x):
            x = widen(x)
            raw = x[:, self.n_normalized :]
            raw = (raw.sign() * torch.log1p(raw.abs()) - self.raw_mean) / self.raw_std
            found: Tensor = torch.cat([x[:, : self.n_normalized], raw], dim=1).clamp(-LIMIT, LIMIT)
            return found

    def blends(self) -> dict[str, float]:
        """By task what it takes of all that is added to the map; empty where each takes all by config."""
        return {} if self.blend is None else dict(zip(self.slices, self.blend.tolist(), strict=True))

    @torch.no_grad()
    def set_blends(self, found: Mapping[str, float]) -> None:
        """Tasks that are not in `found` take all."""
        if self.blend is not None:
            self.blend.copy_(torch.tensor([found.get(task, 1.0) for task in self.slices]))

    def share(self, task: str) -> Tensor | None:
        """What `task` takes, as a scalar; None where it takes all by config."""
        return None if self.blend is None else self.blend[list(self.slices).index(task)]

    def add(self, task: str, tower: Tensor, said: Tensor) -> Tensor:
        """A tower's raw output with what the path says (`forward`) for this task."""
        if task == self.query_task:
            return tower + said[:, self.width :]
        if task not in self.slices:
            return tower
        share = self.share(task)
        return (tower if share is None else share.to(tower.dtype) * tower) + said[:, self.slices[task]]

    def penalty(self) -> Tensor:
        """Ridge penalty of the linear map. In the loss and not a decay of AdamW: that one is as strong on a weight which every
        row pushes as on one that noise moves, and the map has hundreds of weights a class for few thousand rows."""
        weight = widen(self.linear.weight)
        return self.params.ridge * (weight if self.fitted is None else weight - widen(self.fitted)).square().sum()

    @torch.no_grad()
    def start_at(self, weight: Tensor, bias: Tensor) -> None:
        """Put the linear map at `weight` [width, columns] and `bias` [width], with nothing from the small network beside it."""
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
        if self.fitted is not None:
            self.fitted.copy_(weight)
        if self.body is not None:
            last = self.body[-1]
            assert isinstance(last, nn.Linear)
            last.weight.zero_()
            last.bias.zero_()

    @property
    def bend_sizes(self) -> tuple[int, int] | None:
        """(columns a task may bend, pieces of each), None without bends."""
        return None if self.bends is None else (self.bends.columns.shape[1], self.params.bend_pieces)

    @torch.no_grad()
    def start_bends(self, found: Mapping[str, Bent]) -> None:
        """Put every task's bends at what was fitted; what they say at their lowest cuts goes to the map's offsets."""
        if self.bends is None:
            return
        for i, (task, where) in enumerate(self.slices.items()):
            self.bends.columns[i] = found[task].columns
            self.bends.cuts[i] = found[task].cuts
            self.bends.weight[where] = found[task].weight.to(self.bends.weight.dtype)
            self.linear.bias[where] += found[task].offset.to(self.linear.bias.device)

    def forward(self, inputs: PLEClusterInput) -> Tensor:
        x = self.columns(inputs).to(inputs.features.dtype)
        out: Tensor = self.linear(F.dropout(x, self.params.column_dropout, self.training))
        if self.bends is not None:
            out = out + self.bends(x)
        if self.body is not None:
            out = out + self._taken(self.body(x))
        if self.query is not None:
            out = torch.cat([out, self.query(inputs).to(out.dtype)], dim=1)
        if self.training and self.params.path_dropout > 0:
            out = out * (torch.rand(inputs.rows_held, 1, device=out.device) >= self.params.path_dropout)
        return out

    def _taken(self, added: Tensor) -> Tensor:
        """[B, width] of which each task takes its share."""
        if self.blend is None:
            return added
        task_of = [i for i, w in enumerate(self.slices.values()) for _ in range(w.stop - w.start)]
        return added * self.blend.to(added.dtype)[task_of]

    def map(self, inputs: PLEClusterInput) -> Tensor:
        """[B, width] what the linear map says by itself, with its bends."""
        x = self.columns(inputs).to(inputs.features.dtype)
        found: Tensor = self.linear(x)
        return found if self.bends is None else found + self.bends(x)
