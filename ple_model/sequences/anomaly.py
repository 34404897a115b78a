"""How unexpected a series' last steps are: each is told from all others, and what the encoder could not tell is its error.

Every third block of steps is hidden, three times, until each step has been told once without being seen; an error is in
deviations of the series and is divided by what the errors of a reference of customers are in that channel on average, so that
a channel which nobody can tell counts no more than the rest. A customer's score is the root mean square of the steps in
question, and what is shown is its percentile among the reference: 99 says that one customer in a hundred there was as hard to
explain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.series import Series

Array = NDArray[np.float64]
TURNS = 3
"""One step in three is hidden at a time, close to the share that is hidden in training."""
LAST_STEPS = 14
CAP = 1e6
"""No error counts for more: one step may not make a score that is no number."""


@dataclass(frozen=True, eq=False)
class AnomalyScale:
    """What is usual among the customers of a reference."""

    channel: Array
    """[C] mean absolute error of a step."""
    scores: Array
    """[N] their scores, ascending."""
    last: int

    def percentile(self, scores: Array) -> Array:
        """Share in percent of the reference with a lower score (half of those with an equal one); NaN stays NaN."""
        below = np.searchsorted(self.scores, scores, "left") + np.searchsorted(self.scores, scores, "right")
        return np.where(np.isnan(scores), np.nan, 50.0 * below / max(1, len(self.scores)))


@torch.no_grad()
def step_errors(encoder: SequenceEncoder, series: Series) -> Array:
    """Absolute error [B, L, C] of every step told from the others, in deviations of the series; NaN where not seen. L is the
    encoder's length."""
    fitted = series.fitted(encoder.length)
    block = min(encoder.config.patches) if encoder.config.tokens == "multi_patch" else encoder.config.patch
    back = torch.arange(encoder.length - 1, -1, -1, device=fitted.values.device) // block  # whole blocks, from the last step on
    out = torch.full_like(fitted.values, torch.nan)
    for turn in range(TURNS):
        hidden = (back % TURNS == turn).expand(len(fitted), -1)
        encoded = encoder(fitted, hidden)
        told = encoder.denormalise(encoder.restored(encoded), encoded)
        error = ((told - fitted.values).abs() / encoded.scale).nan_to_num(nan=CAP, posinf=CAP).clamp(max=CAP)
        out = torch.where((hidden & fitted.seen)[..., None], error, out)
    return np.asarray(out.double().cpu().numpy())


def scores_of(errors: Array, channel: Array, last: int = LAST_STEPS) -> Array:
    """Scores [B] of the last steps from errors [B, L, C]; NaN where none of them is seen."""
    relative = (errors[:, -last:] / channel).mean(axis=2)
    there = ~np.isnan(relative)
    squares = np.where(there, relative, 0.0) ** 2
    n = there.sum(axis=1)
    return np.where(n > 0, np.sqrt(squares.sum(axis=1) / np.maximum(n, 1)), np.nan)


def fit_anomaly_scale(encoder: SequenceEncoder, reference: Iterable[Series], last: int = LAST_STEPS) -> AnomalyScale:
    """From the series of a reference of customers. `UserError` where none of their last steps is seen."""
    errors = [step_errors(encoder, s)[:, -last:] for s in reference]
    if not errors or np.isnan(whole := np.concatenate(errors)).all():
        raise UserError(f"no customer of the reference has a seen step among the last {last}: there is no usual error")
    channel = np.nanmean(whole, axis=(0, 1))
    channel = np.where(channel > 1e-9, channel, 1.0)
    scores = scores_of(whole, channel, last)
    return AnomalyScale(channel, np.sort(scores[~np.isnan(scores)]), last)


def anomaly_scores(encoder: SequenceEncoder, series: Series, scale: AnomalyScale) -> Array:
    """Scores [B] of the last steps, NaN where none is seen; `scale.percentile` ranks them."""
    return scores_of(step_errors(encoder, series), scale.channel, scale.last)
