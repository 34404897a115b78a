"""How unexpected a series' last steps are: each is told from all others, and what the encoder could not tell is its error.

Every third block of steps is hidden, three times, until each step has been told once without being seen. An error is in
deviations of the series and is divided by what the training customers' errors are in that channel on average, so that a
channel which nobody can tell counts no more than the rest. Customers differ more in how well they can be told at all than one
of them from one month to the next, so the last steps are held against the same customer's steps before: the score is the
logarithm of the ratio of the two root mean squares, taken as its distance from the training customers' median. Both ways count:
a customer who falls silent, or whose days are copies of each other, is easier to tell than before. What is shown is the score's
percentile among the training customers: 99 says that one training customer in a hundred had changed as much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.errors import UserError
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.series import Series

Array = NDArray[np.float64]
TURNS = 3
"""One step in three is hidden at a time, close to the share that is hidden in training."""
LAST_STEPS = 14
MOST = 4096
"""Training customers that say what is usual: a percentile of a few thousand is known to less than one."""
LEAST = 1e-3
"""A thousandth of the usual error: what is told better than that is told exactly."""
CAP = 1e6
"""No error counts for more: one step may not make a score that is no number."""


@dataclass(frozen=True, eq=False)
class AnomalyScale:
    """What is usual among the training customers."""

    channel: Array
    """[C] mean absolute error of a step."""
    centre: float
    """Median of the logarithm of last over earlier error."""
    scores: Array
    """[N] their scores, ascending."""
    last: int

    def percentile(self, scores: Array) -> Array:
        """Share in percent of the training customers with a lower score (half of those with an equal one); NaN stays NaN."""
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


def change_of(errors: Array, channel: Array, last: int = LAST_STEPS) -> Array:
    """[B] logarithm of the last steps' error over that of the steps before, from errors [B, L, C]; NaN where no last step is
    seen. Who has no steps before is held against what is usual."""
    relative = (errors / channel).mean(axis=2)
    late, early = _root_mean_square(relative[:, -last:]), _root_mean_square(relative[:, :-last])
    early = np.where(np.isnan(early), 1.0, early)
    return np.asarray(np.log(np.maximum(late, LEAST) / np.maximum(early, LEAST)))


def _root_mean_square(x: Array) -> Array:
    """[B] over the steps [B, L] that are there; NaN where none is."""
    there = ~np.isnan(x)
    n = there.sum(axis=1)
    total = (np.where(there, x, 0.0) ** 2).sum(axis=1)
    return np.where(n > 0, np.sqrt(total / np.maximum(n, 1)), np.nan)


def fit_anomaly_scale(encoder: SequenceEncoder, training: Iterable[Series], last: int = LAST_STEPS) -> AnomalyScale:
    """From the series of the training customers, `MOST` of them at most. `UserError` where none of their last steps is seen."""
    errors: list[Array] = []
    for series in training:
        errors.append(step_errors(encoder, series))
        if sum(map(len, errors)) >= MOST:
            break
    if not errors or np.isnan((whole := np.concatenate(errors)[:MOST])[:, -last:]).all():
        raise UserError(f"no training customer has a seen step among the last {last}: there is no usual error to compare with")
    channel = np.nanmean(whole, axis=(0, 1))
    channel = np.where(channel > 1e-9, channel, 1.0)
    change = change_of(whole, channel, last)
    centre = float(np.nanmedian(change))
    return AnomalyScale(channel, centre, np.sort(np.abs(change[~np.isnan(change)] - centre)), last)


def anomaly_scores(encoder: SequenceEncoder, series: Series, scale: AnomalyScale) -> Array:
    """Scores [B] of the last steps, NaN where none is seen; `scale.percentile` ranks them."""
    return np.asarray(np.abs(change_of(step_errors(encoder, series), scale.channel, scale.last) - scale.centre))


def unexpected_steps(encoder: SequenceEncoder, series: Series, scale: AnomalyScale) -> Tensor:
    """Error of each step [B, L] in multiples of what is usual, for a page that marks the days; NaN where not seen."""
    return torch.from_numpy((step_errors(encoder, series) / scale.channel).mean(axis=2))
