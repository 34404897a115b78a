"""`SequenceEncoder`: a batch of series -> tokens and one embedding a series. Read this first.

    steps given -> instance norm -> tokens (+ spectrum through a gate) -> + channel, place -> body -> tokens, embedding

A hidden step is treated as an absent one, in training and at inference alike: the norm does not measure it, its token carries
nothing but its place. So masked reconstruction, anomaly scores and ragged series are one mechanism.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ple_model.errors import UserError
from ple_model.layers.precision import full_precision, widen
from ple_model.sequences.body import make_body
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.frequency import FrequencyBranch
from ple_model.sequences.norm import InstanceNorm
from ple_model.sequences.series import Series
from ple_model.sequences.tokens import make_tokens


@dataclass(frozen=True)
class EncodedSeries:
    """What an encoder says of a batch. G = channels, or 1 where a token is a channel; P = patches, or channels there."""

    tokens: Tensor
    """[B, G, P, D]"""
    token_seen: Tensor
    """[B, G, P] bool: was any step of the token given?"""
    embedding: Tensor
    """[B, E]: mean over the seen tokens of each channel, the newest ones as they are (a mean does not say when), the level that
    the norm took out, and the outlook where there is one; 0 without any given step."""
    center: Tensor
    scale: Tensor
    """[B, 1, C] what the inverse of the norm needs."""
    attention: Tensor | None = None
    """[B, G, layers, heads, P, P], rows sum to 1, where it was asked for and the body has it."""
    frequency_gate: Tensor | None = None
    """[B, C] in [0, 1]: how much of a channel's spectrum entered."""
    outlook: Tensor | None = None
    """[B, W, C + 1], where it has learnt one, for each number of next steps in `config.ahead`: the mean of these steps by
    channel, in deviations of the series from its mean, and the log-odds that nothing happens in them."""

    @property
    def pooled(self) -> Tensor:
        """[B, G, D] mean over the seen tokens of each group."""
        return pool(self.tokens, self.token_seen)


def pool(tokens: Tensor, seen: Tensor) -> Tensor:
    """Mean over the seen tokens [B, G, P, D] -> [B, G, D]; 0 where none is seen."""
    there = seen.to(tokens.dtype)[..., None]
    return (tokens * there).sum(dim=2) / there.sum(dim=2).clamp(min=1)


class SequenceEncoder(nn.Module):
    """See the module docstring. `channels` and `length` are those of the series; shorter and longer ones are fitted."""

    def __init__(self, config: EncoderConfig, channels: int, length: int) -> None:
        super().__init__()
        if channels < 1 or length < 2:
            raise UserError(f"a series of {channels} channels and {length} steps cannot be encoded")
        self.config, self.channels, self.length = config, channels, length
        width = config.width
        self.norm = InstanceNorm(config.norm, channels, config.min_scale)
        self.tokens = make_tokens(config, channels, length)
        self.unseen = nn.Parameter(0.02 * torch.randn(width))
        self.place = nn.Parameter(torch.empty(self.tokens.count, width))  # counted by `fits_memory` before it is filled
        with torch.no_grad():
            self.place.copy_(0.02 * torch.randn(self.tokens.count, width))
        self.channel = nn.Parameter(0.02 * torch.randn(self.tokens.groups, 1, width))
        self.frequency = FrequencyBranch(length, config.frequencies, width) if config.frequency == "on" else None
        self.body = make_body(config, self.tokens.count)
        told = (channels + 1) * len(config.ahead)
        self.outlook = nn.Linear(self._plain_dim, told) if config.outlook == "on" else None

    @property
    def groups(self) -> int:
        return self.tokens.groups

    @property
    def patches(self) -> int:
        """Tokens a group."""
        return self.tokens.count

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Steps [first, stop) of the fitted series that each token stands for."""
        return self.tokens.spans

    @property
    def newest(self) -> int:
        """How many tokens of each channel, from the last, the embedding holds one by one."""
        return 0 if self.config.tokens == "variate" else min(self.config.newest, self.patches)

    @property
    def _plain_dim(self) -> int:
        tokens = 1 if self.config.tokens == "variate" else self.channels
        return tokens * self.config.width * (1 + self.newest) + 2 * self.channels + 1

    @property
    def embedding_dim(self) -> int:
        return self._plain_dim + (self.outlook.out_features if self.outlook is not None else 0)

    def without_newest(self, embedding: Tensor) -> Tensor:
        """[B, E] -> [B, E']: what holds for all steps alike, for comparing whole series; without the outlook too."""
        mean = (1 if self.config.tokens == "variate" else self.channels) * self.config.width
        return torch.cat([embedding[:, :mean], embedding[:, mean * (1 + self.newest) : self._plain_dim]], dim=1)

    def forward(
        self, series: Series, hidden: Tensor | None = None, *, measured: Tensor | None = None, maps: bool = False
    ) -> EncodedSeries:
        """Encode a batch.

        hidden [B, L] or [B, L, C] bool: steps that are kept from the encoder. measured [B, L] bool: steps that the norm may
        measure (all that are given). maps: return the attention.
        """
        fitted = series.fitted(self.length)
        given = fitted.seen[..., None].expand(-1, -1, self.channels)
        if hidden is not None:
            given = given & ~self._steps(hidden, fill=True)
        ruler = given if measured is None else given & self._steps(measured, fill=False)
        center, scale = self.norm.measure(fitted.values, ruler)
        values = torch.where(given, self.norm(fitted.values, center, scale), 0.0).to(self.place.dtype)

        h, seen = self.tokens(values, given)  # [B, G, P, D]
        gate: Tensor | None = None
        if self.frequency is not None:
            h, gate = self._with_spectrum(h, seen, values)
        h = torch.where(seen[..., None], h, self.unseen) + self.place + self.channel
        mixed, attention = self.body(h.flatten(0, 1), seen.flatten(0, 1), maps)
        tokens = mixed.unflatten(0, h.shape[:2])
        if attention is not None:
            attention = attention.unflatten(0, h.shape[:2])
        embedding, outlook = self._embedding(tokens, seen, given, center, scale), None
        if self.outlook is not None:
            with full_precision(embedding):
                weight, bias = widen(self.outlook.weight), widen(self.outlook.bias)
                told = functional.linear(widen(embedding), weight, bias)
            told = torch.where(given.any(dim=2).any(dim=1, keepdim=True), told, 0.0).to(embedding.dtype)
            embedding = torch.cat([embedding, told], dim=1)
            outlook = told.reshape(-1, len(self.config.ahead), self.channels + 1)
        return EncodedSeries(tokens, seen, embedding, center, scale, attention, gate, outlook)

    def denormalise(self, x: Tensor, encoded: EncodedSeries) -> Tensor:
        """x [B, any steps, C] in normalised units -> units of the series: the exact inverse of the norm."""
        return self.norm.inverse(x, encoded.center, encoded.scale)

    def normalise(self, values: Tensor, encoded: EncodedSeries) -> Tensor:
        """values [B, any steps, C] in the units of the series -> the normalised units of `encoded`."""
        x: Tensor = self.norm(values, encoded.center, encoded.scale)
        return x

    def restored(self, encoded: EncodedSeries) -> Tensor:
        """Steps [B, length, C] that the tokens speak for, in normalised units: the reconstruction of hidden ones."""
        steps: Tensor = self.tokens.restore(encoded.tokens)
        return steps

    def _steps(self, mask: Tensor, *, fill: bool) -> Tensor:
        """A mask of steps [B, any L] or [B, any L, C] fitted as the series is -> [B, length, 1 or C]."""
        steps = mask[..., None] if mask.dim() == 2 else mask
        missing: int = self.length - steps.shape[1]
        return functional.pad(steps, (0, 0, missing, 0), value=fill) if missing > 0 else steps[:, -self.length :]

    def _with_spectrum(self, h: Tensor, seen: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        assert self.frequency is not None
        if self.config.tokens == "variate":  # a token is a channel
            added, gate = self.frequency(values, h[:, 0])
            return h + added[:, None], gate
        added, gate = self.frequency(values, pool(h, seen))
        return h + added[:, :, None], gate

    def _embedding(self, tokens: Tensor, seen: Tensor, given: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        pooled, first = pool(tokens, seen), self.patches - self.newest
        newest = torch.where(seen[:, :, first:, None], tokens[:, :, first:], 0.0)
        with full_precision(pooled):
            share = given.any(dim=2).to(pooled.dtype).mean(dim=1, keepdim=True)
            level = torch.cat([center.flatten(1), scale.log().flatten(1)], dim=1).to(pooled.dtype)
            whole = torch.cat([widen(pooled).flatten(1), widen(newest).flatten(1), widen(level), widen(share)], dim=1)
            return torch.where(given.any(dim=2).any(dim=1, keepdim=True), whole, 0.0)
