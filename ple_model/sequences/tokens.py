"""From steps to tokens and back.

* `PatchTokens`: one token a run of steps and channel (PatchTST: Nie et al., ICLR 2023), channel-independent.
* `MultiPatchTokens`: at each place patches of several lengths that end there, weighed by a learned softmax.
* `VariateTokens`: one token a channel (iTransformer: Liu et al., ICLR 2024).

Each reads beside a step's value whether it was given, so that an absent day is no zero; a token none of whose steps was given
is not seen, and whoever mixes tokens passes over it. Patches are aligned at the last step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ple_model.errors import UserError
from ple_model.sequences.config import EncoderConfig


def windows(x: Tensor, size: int, stride: int, count: int) -> Tensor:
    """The last `count` windows of x [B, L, C], the last one ending at the last step -> [B, C, count, size]; zero-padded before
    the first step."""
    pad = (count - 1) * stride + size - x.shape[1]
    x = functional.pad(x.transpose(1, 2), (pad, 0)) if pad >= 0 else x.transpose(1, 2)[:, :, -pad:]
    return x.unfold(2, size, stride)


class Tokens(nn.Module, ABC):
    """values, given [B, L, C] -> tokens [B, groups, count, width], and from tokens back to steps."""

    groups: int
    count: int
    spans: tuple[tuple[int, int], ...]
    """Steps [first, stop) that each of the `count` tokens stands for; the whole series where a token is a channel."""

    @abstractmethod
    def forward(self, values: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens [B, G, P, D], seen [B, G, P] bool)."""

    @abstractmethod
    def restore(self, tokens: Tensor) -> Tensor:
        """Steps [B, L, C] that the tokens speak for, in normalised units."""


class PatchTokens(Tokens):
    def __init__(self, width: int, channels: int, length: int, patch: int, stride: int) -> None:
        super().__init__()
        if patch > length:
            raise UserError(f"encoder.patch: {patch} is not valid, it must be at most the length of the series ({length})")
        self.length, self.patch, self.stride, self.groups = length, patch, stride, channels
        self.count = -(-(length - patch) // stride) + 1
        ends = [length - (self.count - 1 - i) * stride for i in range(self.count)]
        self.spans = tuple((max(0, end - patch), end) for end in ends)
        self.embed = nn.Linear(2 * patch, width)
        self.head = nn.Linear(width, patch)

    def forward(self, values: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        there = windows(given.to(values.dtype), self.patch, self.stride, self.count)
        tokens = self.embed(torch.cat([windows(values, self.patch, self.stride, self.count), there], dim=3))
        return tokens, there.any(dim=3)

    def restore(self, tokens: Tensor) -> Tensor:
        pieces: Tensor = self.head(tokens)  # [B, C, P, patch]
        if self.stride == self.patch:
            return pieces.flatten(2)[:, :, -self.length :].transpose(1, 2)
        size = (self.count - 1) * self.stride + self.patch
        shape = {"output_size": (1, size), "kernel_size": (1, self.patch), "stride": (1, self.stride)}
        flat = pieces.flatten(0, 1).transpose(1, 2)  # [BC, patch, P]
        total = functional.fold(flat, **shape)
        times = functional.fold(torch.ones_like(flat[:1]), **shape)
        steps = (total / times).view(*pieces.shape[:2], size)[:, :, -self.length :]
        return steps.transpose(1, 2)


class MultiPatchTokens(Tokens):
    def __init__(self, width: int, channels: int, length: int, patches: list[int]) -> None:
        super().__init__()
        self.patches = sorted(patches)
        if self.patches[-1] > length:
            rule = f"each must be at most the length of the series ({length})"
            raise UserError(f"encoder.patches: {self.patches[-1]} is not valid, {rule}")
        self.finest = PatchTokens(width, channels, length, self.patches[0], self.patches[0])
        self.groups, self.count, self.spans = channels, self.finest.count, self.finest.spans
        self.longer = nn.ModuleList(nn.Linear(2 * p, width) for p in self.patches[1:])
        self.score = nn.Parameter(torch.zeros(len(self.patches)))

    @property
    def shares(self) -> Tensor:
        """[lengths] how much each patch length counts, shortest first; sums to 1."""
        return torch.softmax(self.score, dim=0)

    def forward(self, values: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        tokens, seen = self.finest(values, given)
        shares = self.shares
        tokens = tokens * shares[0]
        flags = given.to(values.dtype)
        for share, size, embed in zip(shares[1:], self.patches[1:], self.longer, strict=True):
            there = windows(flags, size, self.patches[0], self.count)
            tokens = tokens + share * embed(torch.cat([windows(values, size, self.patches[0], self.count), there], dim=3))
            seen = seen | there.any(dim=3)
        return tokens, seen

    def restore(self, tokens: Tensor) -> Tensor:
        steps: Tensor = self.finest.restore(tokens)
        return steps


class VariateTokens(Tokens):
    def __init__(self, width: int, channels: int, length: int) -> None:
        super().__init__()
        self.groups, self.count = 1, channels
        self.spans = ((0, length),) * channels
        self.embed = nn.Linear(2 * length, width)
        self.head = nn.Linear(width, length)

    def forward(self, values: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        steps = torch.cat([values, given.to(values.dtype)], dim=1).transpose(1, 2)  # [B, C, 2L]
        return self.embed(steps)[:, None], given.any(dim=1)[:, None]

    def restore(self, tokens: Tensor) -> Tensor:
        steps: Tensor = self.head(tokens[:, 0]).transpose(1, 2)
        return steps


def make_tokens(config: EncoderConfig, channels: int, length: int) -> Tokens:
    """The tokens that the configuration asks for. `UserError` where a patch is longer than the series."""
    if config.tokens == "variate":
        return VariateTokens(config.width, channels, length)
    if config.tokens == "multi_patch":
        return MultiPatchTokens(config.width, channels, length, config.patches)
    return PatchTokens(config.width, channels, length, config.patch, config.stride)
