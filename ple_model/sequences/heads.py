"""Thin heads on one embedding of a series: what comes next, and what kind it is.

A forecast needs the details of every patch, so nothing is pooled before its linear map (PatchTST, section 3.1); a class
needs the shape of the whole, so its tokens are pooled. Both stand on `EncodedSeries`, so one encoder serves several of them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ple_model.sequences.encoder import EncodedSeries, SequenceEncoder, pool
from ple_model.sequences.series import Series

RECENT = 4.0
"""Patches over which the starting weight of `recent` falls to 1/e."""


class ForecastHead(nn.Module):
    """All tokens of a channel -> its next `horizon` steps, through the exact inverse of the instance norm.

    `weighting`: `recent` scales the tokens by a learned factor a place, which starts highest at the last one. `linear`: a
    linear map of the normalised look-back is added, for a start from a fitted one (`start_from`); the tokens then tell what
    it misses.
    """

    def __init__(
        self, encoder: SequenceEncoder, horizon: int, *, weighting: Literal["all", "recent"] = "all", linear: bool = False,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.horizon, self.variate = horizon, encoder.config.tokens == "variate"
        places = 1 if self.variate else encoder.patches
        self.place_log_weight: nn.Parameter | None = None
        if weighting == "recent" and places > 1:
            self.place_log_weight = nn.Parameter(-torch.arange(places - 1, -1, -1.0) / RECENT)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(places * encoder.config.width, horizon)
        self.linear = nn.Linear(encoder.length, horizon, bias=False) if linear else None

    @torch.no_grad()
    def start_from(self, weights: Tensor) -> None:
        """Begin as the linear forecast whose weights are [length, horizon], of the deviations from a series' own level: the
        tokens add nothing yet. The map itself is not trained."""
        assert self.linear is not None, "the head has no linear part"
        self.linear.weight.copy_(weights.t()).requires_grad_(False)
        self.out.weight.zero_()
        self.out.bias.zero_()

    def flat(self, encoded: EncodedSeries) -> Tensor:
        """[B, C, places * width] what the linear map reads: the tokens of each channel, 0 where nothing was seen."""
        tokens = torch.where(encoded.token_seen[..., None], encoded.tokens, torch.zeros_like(encoded.tokens))
        if self.place_log_weight is not None:
            tokens = tokens * self.place_log_weight.exp()[:, None]
        return tokens[:, 0] if self.variate else tokens.flatten(2)

    def forward(self, encoder: SequenceEncoder, series: Series, encoded: EncodedSeries) -> Tensor:
        """Forecast [B, horizon, C] in the units of the series."""
        steps: Tensor = self.out(self.dropout(self.flat(encoded)))
        if self.linear is not None:
            fitted = series.fitted(encoder.length)
            past = torch.where(
                fitted.seen[..., None], encoder.normalise(fitted.values, encoded), torch.zeros_like(fitted.values)
            )
            steps = steps + self.linear(past.transpose(1, 2))
        return encoder.denormalise(steps.transpose(1, 2), encoded)


class ClassifyHead(nn.Module):
    """The tokens of each channel pooled over the seen places -> one score a class."""

    def __init__(self, encoder: SequenceEncoder, classes: int, *, pooling: Literal["mean", "max"] = "mean") -> None:
        super().__init__()
        self.pooling = pooling
        groups = 1 if encoder.config.tokens == "variate" else encoder.channels
        self.out = nn.Linear(groups * encoder.config.width, classes)

    def forward(self, encoded: EncodedSeries) -> Tensor:
        """Scores [B, classes]; a series of which nothing is seen gets the bias."""
        if self.pooling == "mean":
            pooled = pool(encoded.tokens, encoded.token_seen)
        else:
            hidden = encoded.tokens.masked_fill(~encoded.token_seen[..., None], -math.inf)
            pooled = hidden.amax(dim=2)
            pooled = torch.where(torch.isfinite(pooled), pooled, torch.zeros_like(pooled))
        scores: Tensor = self.out(pooled.flatten(1))
        return scores


class ForecastModel(nn.Module):
    """An encoder with a forecast head, from look-backs to forecasts."""

    def __init__(self, encoder: SequenceEncoder, head: ForecastHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, past: Tensor, seen: Tensor | None = None) -> Tensor:
        """[B, L, C], seen [B, L] (default: all) -> [B, horizon, C]."""
        series = Series.whole(past) if seen is None else Series(past, seen)
        forecast: Tensor = self.head(self.encoder, series, self.encoder(series))
        return forecast
