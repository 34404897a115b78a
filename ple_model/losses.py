"""Task losses and how they are weighted (reference, "Loss design"; Lin et al. 2017; Huber 1964; van den Oord et al. 2018;
Kendall et al. 2018).

Every loss is computed in float32 (float64 for a float64 model) whatever the autocast state, per row, and averaged over the rows
that have a label. A label is missing where it is -1 (classes, brands) or NaN (regression).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.context import LabelScaler
from ple_model.layers.precision import widen
from ple_model.tasks import TaskSpec
from ple_model.whole_batch import WholeBatch

EPS = 1e-7
"""Probabilities are clamped to [EPS, 1 - EPS]: safe in float32, and the reason why half precision is not used here."""


def focal(p: Tensor, y: Tensor, alpha: float, gamma: float = 2.0) -> Tensor:
    """`-alpha_t (1 - p_t)^gamma log p_t` by row; p, y [B], y in {0, 1} (Lin et al. 2017, eq. 5)."""
    p = widen(p).clamp(EPS, 1 - EPS)
    y = y.to(p.dtype)
    p_t = p * y + (1 - p) * (1 - y)
    alpha_t = alpha * y + (1 - alpha) * (1 - y)
    return -alpha_t * (1 - p_t) ** gamma * torch.log(p_t)


def huber(prediction: Tensor, y: Tensor, delta: float = 1.0) -> Tensor:
    """Huber's loss by row: quadratic within `delta`, linear beyond."""
    return F.huber_loss(widen(prediction), y.to(widen(prediction).dtype), reduction="none", delta=delta)


def mse(prediction: Tensor, y: Tensor) -> Tensor:
    """Squared error by row."""
    return (widen(prediction) - y) ** 2


def nll(logits: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood by row from raw logits [B, K]; 0 where y is -1."""
    return F.nll_loss(F.log_softmax(widen(logits), dim=-1), y.long(), ignore_index=-1, reduction="none")


class BrandTable(nn.Module):
    """Keys of the contrastive task: a learned row a brand, L2-normalised when used. Without brands it holds one unused row.

    With `blend` a model takes only a share of what its queries say over how often each brand is bought in training, which the
    validation rows choose at the end of each epoch (`blend`); in training it takes all."""

    log_q: Tensor
    popularity: Tensor | None
    """[brands] logarithms of the shares that the constant answer has (`row_loss`)."""
    share: Tensor | None

    def __init__(
        self, n_brands: int, dim: int, counts: tuple[int, ...], temperature: float, candidates: int, *, blend: bool = False
    ) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(max(1, n_brands), dim))
        self.temperature = temperature
        self.candidates = candidates
        q = torch.ones(max(1, n_brands))
        if counts:
            q = q + torch.tensor(counts, dtype=torch.float32)  # add-one: a brand never bought in training can still be drawn
        self.register_buffer("log_q", torch.log(q / q.sum()), persistent=False)
        shares = (q.double() - 0.5) / (q.double() - 0.5).sum()
        self.register_buffer("popularity", shares.log().float() if blend else None, persistent=False)
        self.register_buffer("share", torch.ones(()) if blend else None)

    def similarities(self, query: Tensor) -> Tensor:
        """Over temperature, [B, brands]; `query` is L2-normalised."""
        return widen(query) @ F.normalize(widen(self.keys), dim=-1).T / self.temperature

    def logits(self, query: Tensor) -> Tensor:
        """[B, brands] whose softmax is the distribution over brands: similarities, or the share of them that counts beside
        popularity."""
        return self.taken(self.similarities(query), self.share)

    def taken(self, similarities: Tensor, share: Tensor | float | None) -> Tensor:
        """[B, brands] of similarities over temperature, with popularity in the place of what is not taken."""
        if share is None or self.popularity is None:
            return similarities
        return share * similarities + (1 - share) * self.popularity

    @torch.no_grad()
    def set_share(self, share: float) -> None:
        """How much of what queries say counts, from 0 (popularity alone) to 1; nothing where it takes all by config."""
        if self.share is not None:
            self.share.fill_(share)

    @torch.no_grad()
    def start_at(self, keys: Tensor) -> None:
        """Put the keys [brands, dim] where they were fitted."""
        self.keys.copy_(keys)

    def loss(self, query: Tensor, y: Tensor) -> Tensor:
        """InfoNCE by row, 0 where y is -1. All brands are candidates up to `candidates`; beyond that, in training, a sample is
        drawn by training frequency and its bias removed by subtracting log Q (Bengio & Senecal 2008; Yi et al., RecSys
        2019)."""
        if self.keys.shape[0] <= self.candidates or not self.training:
            return torch.cat(
                [nll(self.logits(q), t) for q, t in zip(torch.split(query, 4096), torch.split(y, 4096), strict=True)]
            )
        drawn = torch.multinomial(self.log_q.exp(), self.candidates, replacement=True)
        return self.sampled_loss(query, y, drawn)

    def sampled_loss(self, query: Tensor, y: Tensor, drawn: Tensor) -> Tensor:
        """InfoNCE against the brands `drawn` [S] (with replacement); a draw equal to the row's own brand is left out."""
        present = y >= 0
        own = y.clamp_min(0).long()
        keys = F.normalize(widen(self.keys), dim=-1)
        query = widen(query)
        # S draws of probability Q stand for the sum over all other brands when each counts 1 / (S Q); the own brand is in
        # the sum once and for certain, so it takes no correction
        positive = (query * keys[own]).sum(-1) / self.temperature
        negative = query @ keys[drawn].T / self.temperature - self.log_q[drawn] - math.log(len(drawn))
        negative = negative.masked_fill(drawn[None, :] == own[:, None], float("-inf"))
        loss = torch.logsumexp(torch.cat([positive[:, None], negative], dim=1), dim=1) - positive
        return torch.where(present, loss, torch.zeros_like(loss))


def standardise(y: Tensor, scaler: LabelScaler | None) -> Tensor:
    """A regression label in standard deviations; unchanged without a scaler."""
    y = widen(y)
    return y if scaler is None else (y - scaler.mean) / max(scaler.std, 1e-12)


def label_mask(spec: TaskSpec, y: Tensor) -> Tensor:
    """Bool of y's shape: where the label is there."""
    return ~torch.isnan(y) if spec.kind == "regression" else y >= 0


def masked_mean(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(mean over `mask`, number of labels); 0 where there is none. Masked values may be NaN: they are dropped, not
    multiplied."""
    n = mask.sum()
    return torch.where(mask, values, torch.zeros_like(values)).sum() / n.clamp_min(1), n


def task_loss(
    spec: TaskSpec, prediction: Tensor, logits: Tensor, y: Tensor, brands: BrandTable | None, scaler: LabelScaler | None,
    gamma: float, delta: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(masked mean loss, number of labels) of one task; `y` in original units."""
    mask = label_mask(spec, y)
    if spec.kind == "regression":
        target = standardise(torch.where(mask, y, torch.zeros_like(y)), scaler)
        values = huber(prediction, target, delta) if spec.loss == "huber" else mse(prediction, target)
    elif spec.kind == "binary":
        # from the logit, not from p: sigmoid's gradient survives where a float32 p would have rounded to 0 or 1
        values = focal(torch.sigmoid(widen(logits[:, 0])), y.clamp_min(0), spec.focal_alpha or 0.25, gamma)
    elif spec.kind == "multiclass":
        values = nll(logits, torch.where(mask, y, torch.full_like(y, -1)))
    else:
        assert brands is not None
        values = brands.loss(prediction, y)
    return masked_mean(values, mask)


class Weighed(Protocol):
    """What has a weight among the losses: a task, or a head of a sequence encoder."""

    @property
    def weight(self) -> float: ...


class LossWeighting(nn.Module):
    """Kendall's uncertainty weighting `w_k (exp(-s_k) L_k / constant_k + s_k)`, or fixed weights `w_k L_k / constant_k`.

    L_k is divided by the loss of the constant predictor on the training split: otherwise a rare task's focal loss (about 0.01)
    would sit at the limit of s_k from the start. A task without labels contributes neither L nor s.
    """

    weight: Tensor
    constant: Tensor

    def __init__(self, tasks: Mapping[str, Weighed], constant_loss: Mapping[str, float], strategy: str, limit: float) -> None:
        super().__init__()
        self.strategy = strategy
        self.limit = limit
        self.task_log_vars = nn.Parameter(torch.zeros(len(tasks)))
        self.register_buffer("weight", torch.tensor([t.weight for t in tasks.values()]), persistent=False)
        constants = [constant_loss.get(n, 1.0) for n in tasks]
        self.register_buffer("constant", torch.tensor([c if c > 0 else 1.0 for c in constants]), persistent=False)
        if strategy == "fixed":
            self.task_log_vars.requires_grad_(False)

    def forward(self, losses: Tensor, counts: Tensor, c: Tensor, batch: WholeBatch | None = None) -> Tensor:
        """Weighted terms [tasks] from raw mean losses, label counts and adaTT's coefficients c, all [tasks]. `batch`: of which
        the losses may be a part."""
        ratio = losses / self.constant
        if self.strategy == "uncertainty":
            own = self.task_log_vars if batch is None else batch.once(self.task_log_vars)
            ratio = torch.exp(-self.task_log_vars) * ratio + own
        return torch.where(counts > 0, c * self.weight * ratio, torch.zeros_like(ratio))

    @torch.no_grad()
    def project_(self) -> None:
        """Put s_k back into [-limit, limit]. A clamp in the graph would have no gradient outside and could never come back."""
        self.task_log_vars.clamp_(-self.limit, self.limit)
