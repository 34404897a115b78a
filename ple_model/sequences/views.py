"""What a series is changed into for learning without labels: hidden patches, crops, and views of the same customer.

Random numbers come from torch's own generator, so that a resumed training draws what it would have drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ple_model.sequences.series import Series


def hidden_patches(series: Series, patch: int, share: float) -> Tensor:
    """[B, L, C] bool: the same share of each channel's patches (aligned at the last step), others in every series and
    channel; one at least, and of several not all."""
    batch, length, channels = series.values.shape
    count = -(-length // patch)
    order = torch.rand(batch, count, channels, device=series.values.device).argsort(dim=1).argsort(dim=1)
    chosen = order < max(1, min(count - 1, round(share * count)))
    return chosen.repeat_interleave(patch, dim=1)[:, -length:]


def overlapping_crops(length: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two crops [first, stop) that share at least half of the steps (TS2Vec: Yue et al., AAAI 2022)."""
    shared = int(torch.randint(length // 2, length + 1, ()))
    first = int(torch.randint(0, length - shared + 1, ()))
    before, after = int(torch.randint(0, first + 1, ())), int(torch.randint(first + shared, length + 1, ()))
    return (before, first + shared), (first, after)


def cropped(series: Series, crop: tuple[int, int]) -> Series:
    """The same places, absent outside of the crop."""
    steps = torch.arange(series.values.shape[1], device=series.values.device)
    return Series(series.values, series.seen & (steps >= crop[0]) & (steps < crop[1]))


def jittered(series: Series, jitter: float, scaling: float) -> Series:
    """Noise of `jitter` deviations on each value, and one factor a channel of deviation `scaling` around 1."""
    values, there = series.values, series.seen[..., None]
    count = there.sum(dim=1, keepdim=True).clamp(min=1)
    center = values.sum(dim=1, keepdim=True) / count
    spread = (torch.where(there, (values - center).square(), 0.0).sum(dim=1, keepdim=True) / count).sqrt()
    factor = 1 + scaling * torch.randn_like(center)
    changed = values * factor + jitter * spread * torch.randn_like(values)
    return Series(torch.where(there, changed, 0.0), series.seen)


def warped(series: Series, most: float) -> Series:
    """Time runs unevenly: each step is read up to `most` of the length away, later and earlier in one smooth wave a series;
    values between steps are interpolated, their order stays. A step is seen where the steps that it is read from are."""
    batch, length, _ = series.values.shape
    steps = torch.arange(length, device=series.values.device, dtype=series.values.dtype)
    phase, strength = torch.rand(2, batch, 1, device=steps.device, dtype=steps.dtype)
    # the wave reaches from -2 to 2, since it is 0 at the last step; its slope stays below one: steps never change places
    size = (most * length * strength / 2).clamp(max=0.9 * length / (2 * torch.pi))
    wave = torch.sin(2 * torch.pi * (steps / length + phase)) - torch.sin(2 * torch.pi * (1 + phase))
    at = (steps + size * wave).clamp(0, length - 1)
    low = at.floor().long().clamp(max=length - 2)
    part = (at - low)[..., None]
    wide = low[..., None].expand_as(series.values)
    values = series.values.gather(1, wide) * (1 - part) + series.values.gather(1, wide + 1) * part
    part = part[..., 0]
    seen = (series.seen.gather(1, low) | (part == 1)) & (series.seen.gather(1, low + 1) | (part == 0))
    return Series(torch.where(seen[..., None], values, 0.0), seen)


def shuffled(series: Series) -> Series:
    """Each series' seen steps in a random order: what is left when time means nothing."""
    key = torch.rand_like(series.values[..., 0]).masked_fill(~series.seen, 2.0)
    order = key.argsort(dim=1)  # seen steps first, in random order
    rank = series.seen.long().cumsum(dim=1) - 1
    place = order.gather(1, rank.clamp(min=0))
    values = series.values.gather(1, place[..., None].expand_as(series.values))
    return Series(torch.where(series.seen[..., None], values, 0.0), series.seen)


def half_measured(series: Series) -> Tensor:
    """[B, L] bool: the earlier half of each series' seen steps."""
    rank = series.seen.long().cumsum(dim=1)
    return series.seen & (2 * rank <= rank[:, -1:])


def pooled_pairs(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbouring places [B, T, D] merged by their maximum -> [B, ceil(T / 2), D], seen where either was."""
    odd = values.shape[1] % 2
    low = functional.pad(values.masked_fill(~seen[..., None], float("-inf")), (0, 0, 0, odd), value=float("-inf"))
    there = functional.pad(seen, (0, odd))
    pairs = there.shape[1] // 2
    both = there.reshape(-1, pairs, 2).any(dim=2)
    found = low.reshape(-1, pairs, 2, low.shape[2]).amax(dim=2)
    return found.masked_fill(~both[..., None], 0.0), both
