"""A direct path to the brand query (`direct_path.brand_query`): a linear map of the customer's graph embedding.

LightGCN's own answer to "what will this customer buy?" is a product of the customer's embedding and the item's (He et al.,
SIGIR 2020). Experts, gates and heads of a few units hand little of that product on, and the keys of some hundred brands, which
start at random, turn slowly at the rate that suits the rest of the network. So a map of the embedding is added to the tower's
query and fitted together with the keys before the first step, as the linear map of the columns is (`linear_start`):

- the fit is that of the task itself, InfoNCE of normalised queries and keys, by AdamW over a few epochs of a falling rate;
- the rate is chosen on held-out customers of the training split, by the loss with the share of it that helps beside popularity,
  held back by a standard error;
- where no rate is better there than popularity, nothing is fitted and the task starts as it would without.

Afterwards keys and queries have the length that keys are drawn with, so that training turns them no faster than it would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.batch import PLEClusterInput
from ple_model.experts.reads import cleared
from ple_model.fields import FIELD_SHAPES
from ple_model.layers.precision import widen
from ple_model.losses import BrandTable, nll

FIELD = "collaborative_features"
RATES = (1e-3, 3e-3, 1e-2)
FALLBACK = 3e-3
"""Where there is nobody to choose by."""
FEW = 20
"""Purchases, held-out or to learn from, below which nothing is chosen or fitted."""
EPOCHS, DECAY = 8, 0.1
BATCHES, LARGEST = 64, 512
"""Steps an epoch at least, and rows a step at most."""
PIECE = 4096
SHARES = tuple(i / 10 for i in range(11))
ERRORS = 1.0
"""Standard errors that a rate is held back by, as shares are (`blend`)."""

Progress = Callable[[float, str], None]


class BrandQuery(nn.Module):
    """`forward` gives what is added to the raw query, [B, dim]; for a customer without an embedding the same for all."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = FIELD_SHAPES[FIELD][0]
        self.linear = nn.Linear(self.width, dim)

    def embedding(self, inputs: PLEClusterInput) -> Tensor:
        """[B, width], zero where a customer has none."""
        e = inputs.collaborative_features
        if e is None:
            return inputs.features.new_zeros(inputs.rows_held, self.width)
        return cleared(e, inputs.present(FIELD))

    def forward(self, inputs: PLEClusterInput) -> Tensor:
        out: Tensor = self.linear(self.embedding(inputs).to(self.linear.weight.dtype))
        return out

    @torch.no_grad()
    def start_at(self, found: BrandStart) -> None:
        self.linear.weight.copy_(found.weight)
        self.linear.bias.copy_(found.bias)


@dataclass(frozen=True, eq=False)
class BrandStart:
    """`embedding @ weight.T + bias` [n, dim] are raw queries, `keys` [brands, dim] what they are compared with; `rate` of AdamW
    that was chosen; `share` of the queries' word and `loss` over popularity's with it, on the held-out customers (NaN: nobody
    to choose by)."""

    weight: Tensor
    bias: Tensor
    keys: Tensor
    rate: float
    share: float
    loss: float


def fit_brand_start(
    embedding: Tensor, brand: Tensor, watch: Tensor, table: BrandTable, seed: int, progress: Progress | None = None
) -> BrandStart | None:
    """`embedding` [n, width], zero where absent; `brand` [n], -1 where nothing was bought; `watch` [n]: rows of held-out
    customers; `table`: the task's keys, whose sizes and temperature count and which is not changed. None where too few
    purchases tell, or popularity says more. No random state is touched."""
    tell = progress or (lambda share, what: None)
    bought = brand >= 0
    x, y, held = embedding[bought].float(), brand[bought].long(), watch[bought]
    scale = float(x.square().mean().sqrt())
    brands, dim = table.keys.shape
    if int((~held).sum()) < FEW or brands < 2 or not scale > 0:
        return None
    x = x / scale
    fit = _QueryFit(brands, dim, table.temperature, table.candidates, seed)
    rate, share, loss = FALLBACK, 1.0, math.nan
    if int(held.sum()) >= FEW:
        share, least = 0.0, 0.0
        for i, tried in enumerate(RATES):
            for done in fit.run(x[~held], y[~held], tried):
                tell((i + done) / (len(RATES) + 1), "brands: rate")
            best, bound, told = fit.judged(x[held], y[held])
            if bound < least:
                rate, share, least, loss = tried, best, bound, told
        if share == 0:
            return None
    for done in fit.run(x, y, rate):
        tell((len(RATES) + done) / (len(RATES) + 1), "brands: all rows")
    return fit.found(x, scale, rate, share, loss)


class _QueryFit:
    """One fit after another of the same sizes, each from the same start."""

    def __init__(self, brands: int, dim: int, temperature: float, candidates: int, seed: int) -> None:
        self.brands, self.dim, self.temperature, self.candidates, self.seed = brands, dim, temperature, candidates, seed

    def run(self, x: Tensor, y: Tensor, rate: float) -> Iterator[float]:
        """The share of the work that is done, after each epoch."""
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(self.seed)
            counts = tuple(torch.bincount(y, minlength=self.brands).tolist())
            self.table = BrandTable(self.brands, self.dim, counts, self.temperature, self.candidates, blend=True)
            with torch.no_grad():
                self.table.keys.div_(math.sqrt(self.dim))  # of length one: they turn as fast as the rate says
            self.linear = nn.Linear(x.shape[1], self.dim)
            groups = [
                {"params": [self.linear.weight, self.table.keys], "weight_decay": DECAY},
                {"params": [self.linear.bias], "weight_decay": 0.0},
            ]
            rows = max(1, min(LARGEST, len(x) // BATCHES))
            optimizer = torch.optim.AdamW(groups, lr=rate)
            falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(x) // rows))
            order = torch.Generator().manual_seed(self.seed)
            for epoch in range(EPOCHS):
                for chosen in torch.split(torch.randperm(len(x), generator=order), rows):
                    optimizer.zero_grad(set_to_none=True)
                    self.table.loss(self._query(x[chosen]), y[chosen]).mean().backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    falling.step()
                yield (epoch + 1) / EPOCHS

    def _query(self, x: Tensor) -> Tensor:
        return F.normalize(self.linear(x), dim=-1)

    @torch.no_grad()
    def judged(self, x: Tensor, y: Tensor) -> tuple[float, float, float]:
        """(the share of the queries' word that is surest to help, the upper bound of what it loses more than popularity, its
        loss over popularity's) on these rows."""
        parts = []
        for rows, brand in zip(torch.split(x, PIECE), torch.split(y, PIECE), strict=True):
            said = self.table.similarities(self._query(rows))
            parts.append(torch.stack([nll(self.table.taken(said, share), brand).double() for share in SHARES]))
        losses = torch.cat(parts, dim=1)
        more = losses - losses[:1]
        bound = more.mean(dim=1) + ERRORS * more.std(dim=1) / math.sqrt(len(y))
        best = int(bound.argmin())
        return SHARES[best], float(bound[best]), float(losses[best].mean() / losses[0].mean())

    @torch.no_grad()
    def found(self, x: Tensor, scale: float, rate: float, share: float, loss: float) -> BrandStart:
        length = math.sqrt(self.dim)
        raw = torch.cat([self.linear(rows).square().sum(dim=1) for rows in torch.split(x, PIECE)])
        by = length / max(float(raw.mean().sqrt()), 1e-12)
        keys = F.normalize(widen(self.table.keys), dim=-1) * length
        return BrandStart(self.linear.weight * (by / scale), self.linear.bias * by, keys.detach(), rate, share, loss)
