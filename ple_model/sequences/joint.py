"""One embedding, several heads, one loss: forecast and class learnt together where their labels are there.

A row without a label adds nothing to that head's loss and nothing to its gradient. The two losses are weighed as the tasks
of the model are (`LossWeighting`: Kendall et al. 2018), each divided by what a constant loses. `sharing`: `hard`, both heads
stand on one encoder; `soft`, each has its own and an L2 tie of their weights pulls them together (Duong et al. 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.errors import UserError, did_you_mean
from ple_model.losses import LossWeighting, masked_mean
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.heads import ClassifyHead, ForecastHead
from ple_model.sequences.series import Series

HEADS = ("forecast", "classify")
Sharing = Literal["hard", "soft"]


@dataclass(frozen=True)
class JointLabels:
    """future [B, H, C], future_seen [B, H] (all False: no forecast label); classes [B], -1 where there is none."""

    future: Tensor
    future_seen: Tensor
    classes: Tensor


@dataclass(frozen=True)
class JointLoss:
    """raw and count [2] of forecast and class; tie: the soft sharing's penalty, 0 with one encoder; total: what is
    minimised."""

    raw: Tensor
    count: Tensor
    tie: Tensor
    total: Tensor


@dataclass(frozen=True)
class _HeadWeight:
    weight: float = 1.0


class JointModel(nn.Module):
    """`make` builds an encoder; soft sharing calls it twice and starts both from the same weights."""

    def __init__(
        self, make: Callable[[], SequenceEncoder], horizon: int, classes: int, *, sharing: Sharing = "hard", tie: float = 1e-3,
        constant: dict[str, float] | None = None, limit: float = 4.0, weighting: Literal["all", "recent"] = "all",
        pooling: Literal["mean", "max"] = "mean",
    ) -> None:  # fmt: skip
        super().__init__()
        if sharing not in ("hard", "soft"):
            raise UserError(f"sharing: '{sharing}' is not valid{did_you_mean(str(sharing), ('hard', 'soft'))}")
        self.sharing, self.tie = sharing, tie
        first = make()
        self.encoders = nn.ModuleList([first])
        if sharing == "soft":
            second = make()
            second.load_state_dict(first.state_dict())
            self.encoders.append(second)
        self.forecast_head = ForecastHead(first, horizon, weighting=weighting)
        self.classify_head = ClassifyHead(first, classes, pooling=pooling)
        self.weighting = LossWeighting({h: _HeadWeight() for h in HEADS}, constant or {}, "uncertainty", limit)

    def encoder(self, head: str) -> SequenceEncoder:
        """The encoder under a head."""
        found = self.encoders[min(HEADS.index(head), len(self.encoders) - 1)]
        assert isinstance(found, SequenceEncoder)
        return found

    def forward(self, series: Series) -> tuple[Tensor, Tensor]:
        """(forecast [B, H, C] in units of the series, class scores [B, K])."""
        below = self.encoder("forecast")
        encoded = below(series)
        other = encoded if self.sharing == "hard" else self.encoder("classify")(series)
        return self.forecast_head(below, series, encoded), self.classify_head(other)

    def losses(self, series: Series, labels: JointLabels) -> JointLoss:
        """Mean squared error of the seen future, cross-entropy of the known classes, weighed into one."""
        forecast, scores = self(series)
        there = labels.future_seen[..., None].expand_as(forecast)
        squared, n_future = masked_mean((forecast - torch.where(there, labels.future, forecast.detach())).square(), there)
        known = labels.classes >= 0
        entropy, n_class = masked_mean(F.cross_entropy(scores, labels.classes.clamp_min(0), reduction="none"), known)
        raw, count = torch.stack([squared, entropy]), torch.stack([n_future, n_class])
        tie = self._tie()
        total = self.weighting(raw, count, torch.ones_like(raw)).sum() + self.tie * tie
        return JointLoss(raw, count, tie, total)

    def _tie(self) -> Tensor:
        """Squared distance of the two encoders' weights."""
        zero = next(self.parameters()).new_zeros(())
        if self.sharing == "hard":
            return zero
        pairs = zip(self.encoders[0].parameters(), self.encoders[1].parameters(), strict=True)
        return sum(((a - b).square().sum() for a, b in pairs), zero)
