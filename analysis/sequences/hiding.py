"""A customer's series with each block of steps hidden in turn: what the encoder says of it, and how much it needed it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.series import Series


@dataclass(frozen=True, eq=False)
class Hidden:
    """Of one series, fitted to the encoder's length L."""

    restored: Tensor
    """[L, C] in the units of the series; NaN of an encoder that has not learnt to restore steps (`EncoderConfig.restores`)."""
    error: Tensor
    """[L] mean absolute error over the channels, in deviations of the series as measured without the block; NaN where a step
    was not seen, 0 where the encoder has not learnt to restore: what such a head says means nothing."""
    weight: Tensor
    """[K] how far the pooled tokens move without the block, in their own length; 0 where nothing of it was seen."""


def blocks_of(encoder: SequenceEncoder) -> tuple[tuple[int, int], ...]:
    """Steps [first, stop) that are hidden together: a patch each, aligned at the last step, oldest first."""
    c = encoder.config
    size = min(c.patches) if c.tokens == "multi_patch" else min(c.patch, encoder.length)
    ends = range(encoder.length, 0, -size)
    return tuple((max(0, end - size), end) for end in ends)[::-1]


@torch.inference_mode()
def hide_each(encoder: SequenceEncoder, series: Series) -> Hidden:
    """`series` holds one row."""
    fitted = series.fitted(encoder.length)
    blocks = blocks_of(encoder)
    hidden = torch.zeros(len(blocks), encoder.length, dtype=torch.bool)
    for k, (first, stop) in enumerate(blocks):
        hidden[k, first:stop] = True
    many = Series(fitted.values.expand(len(blocks), -1, -1), fitted.seen.expand(len(blocks), -1))
    encoded = encoder(many, hidden)
    said = encoder.denormalise(encoder.restored(encoded), encoded)  # [K, L, C]
    restored = torch.where(hidden[..., None], said, 0.0).sum(dim=0)
    off = ((said - fitted.values).abs() / encoded.scale).mean(dim=2)  # [K, L]
    error = torch.where(hidden, off, 0.0).sum(dim=0)
    if not encoder.config.restores:
        restored, error = torch.full_like(restored, np.nan), torch.zeros_like(error)
    error = torch.where(fitted.seen[0], error, torch.full_like(error, np.nan))
    whole = encoder(fitted).pooled.flatten(1)
    moved = (encoded.pooled.flatten(1) - whole).norm(dim=1) / whole.norm().clamp(min=1e-9)
    there = (hidden & fitted.seen).any(dim=1)
    return Hidden(restored, error, torch.where(there, moved, 0.0))
