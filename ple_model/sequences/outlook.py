"""What an encoder's outlook said of steps that have come since, beside what they held."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.sequences.encoder import EncodedSeries, SequenceEncoder
from ple_model.sequences.series import Series

Array = NDArray[np.float64]
CAP = 1e6
"""No error and no surprise counts for more: one step may not make a score that is no number."""


@torch.no_grad()
def surprises(encoder: SequenceEncoder, series: Series, last: int) -> Array:
    """[B, S (C + 1)] of the last steps, in S runs of them, each as long as the outlook tells of or as there are.

    Of a run: the distance of its mean from what was expected by channel, in deviations of the series before it, and how
    unlikely its silence was, or that it was not silent, in nats. NaN where nothing of a run is seen, or before it fewer steps
    than the longest run that the outlook tells of: of a customer who has just come there is nothing to expect. [B, 0] without
    an outlook."""
    if encoder.outlook is None:
        return np.zeros((len(series), 0))
    fitted = series.fitted(encoder.length)
    told: dict[int, EncodedSeries] = {}
    found: list[torch.Tensor] = []
    for w, length in enumerate(encoder.config.ahead):
        for back in range(last, 0, -length):
            first = encoder.length - back
            if back not in told:
                told[back] = encoder(Series(fitted.values[:, :first], fitted.seen[:, :first]))
            run = slice(first, first + min(length, back))
            known = fitted.seen[:, run].any(dim=1) & (fitted.seen[:, :first].sum(dim=1) >= max(encoder.config.ahead))
            found.append(_surprise(told[back], w, fitted.values[:, run], fitted.seen[:, run], known))
    return np.asarray(torch.cat(found, dim=1).double().cpu().numpy())


def _surprise(before: EncodedSeries, w: int, values: torch.Tensor, seen: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """[B, C + 1]; NaN where it is not `known` [B]."""
    assert before.outlook is not None
    expected, silence = before.outlook[:, w, :-1], before.outlook[:, w, -1]
    mean = torch.where(seen[..., None], values, 0.0).sum(dim=1) / seen.sum(dim=1, keepdim=True).clamp(min=1)
    distance = (mean - before.center[:, 0]) / before.scale[:, 0] - expected
    nothing = ~((values != 0) & seen[..., None]).flatten(1).any(dim=1)
    unlikely = torch.nn.functional.softplus(torch.where(nothing, -silence, silence))
    whole = torch.cat([distance, unlikely[:, None]], dim=1).nan_to_num(nan=CAP, posinf=CAP, neginf=-CAP).clamp(-CAP, CAP)
    return torch.where(known[:, None], whole, torch.nan)
