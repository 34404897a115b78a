"""How unexpected a series' last steps are: what the encoder could not tell of them, against what it usually cannot.

Every third block of steps is hidden, three times, until each step has been told once without being seen; an error is in
deviations of the series. Of the last steps the mean and the largest error of each channel count, and where the encoder has an
outlook, how far the means of these steps are from those that it expected the day before they began, and how unlikely their
silence, or that there was none. A customer's score is the Mahalanobis distance of these numbers from those of usual customers:
what goes with each other there and not here counts, and days that are easier to tell than anybody's count too. The covariance
is shrunk (Ledoit & Wolf 2004). What is shown is the percentile of the score among a reference of customers: 99 says that one
customer in a hundred there was as hard to explain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.outlook import CAP, surprises
from ple_model.sequences.series import Series

Array = NDArray[np.float64]
TURNS = 3
"""One step in three is hidden at a time, close to the share that is hidden in training."""
LAST_STEPS = 14


LEAST_ERROR = 1e-3
"""Errors below a thousandth of a deviation are all alike."""


@dataclass(frozen=True, eq=False)
class AnomalyScale:
    """What is usual of the D numbers of a customer's last steps (`signs`), and the scores of a reference."""

    channel: Array
    """[C] mean absolute error of a step."""
    center: Array
    """[D] mean."""
    spread: Array
    """[D] deviation, 1 where there is none; infinite where nothing is known."""
    precision: Array
    """[D, D] inverse of the shrunk covariance of the numbers in their deviations."""
    scores: Array
    """[N] of the reference, ascending."""
    last: int

    def of(self, signs: Array) -> Array:
        """Scores [B] of numbers [B, D]; one that is unknown is taken as usual, and NaN where all are."""
        known = ~np.isnan(signs)
        z = np.where(known, (signs - self.center) / self.spread, 0.0)
        distance = np.sqrt(np.maximum(np.einsum("bi,ij,bj->b", z, self.precision, z), 0.0))
        return np.where(known.any(axis=1), distance, np.nan)

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


def signs(encoder: SequenceEncoder, series: Series, errors: Array, last: int = LAST_STEPS) -> Array:
    """[B, D] numbers of the last steps of series [B, L, C] with errors [B, at least the last, C]; NaN where none is seen."""
    late = errors[:, -last:]
    there = ~np.isnan(late)
    count = there.sum(axis=1)
    mean = np.where(there, late, 0.0).sum(axis=1) / np.maximum(count, 1)
    largest = np.where(there, late, 0.0).max(axis=1)
    told = np.log(np.maximum(np.concatenate([mean, largest], axis=1), LEAST_ERROR))
    ahead = surprises(encoder, series, last)
    unseen = (count == 0).any(axis=1)[:, None]
    return np.where(unseen, np.nan, np.concatenate([told, np.arcsinh(ahead)], axis=1))


def fit_anomaly_scale(
    encoder: SequenceEncoder, reference: Iterable[Series], last: int = LAST_STEPS, usual: Iterable[Series] | None = None
) -> AnomalyScale:
    """Scores of a reference, in terms of what is usual among other customers: nobody of it is ranked by a covariance that its
    own numbers shaped. Without others every second customer of the reference says what is usual, and the rest are ranked.
    `UserError` where none of their last steps is seen."""
    mine = _measured(encoder, reference, last)
    theirs = None if usual is None else _measured(encoder, usual, last)
    if mine is not None and theirs is None and len(mine[0]) > 1:
        theirs, mine = (mine[0][::2], mine[1][::2]), (mine[0][1::2], mine[1][1::2])
    found = mine if theirs is None else theirs
    if mine is None or found is None:
        raise UserError(f"no customer of the reference has a seen step among the last {last}: there is no usual error")
    errors, numbers = found
    channel = np.nanmean(errors, axis=(0, 1))
    center, spread = _usual(numbers)
    scale = AnomalyScale(
        np.where(channel > 1e-9, channel, 1.0), center, spread, _precision(numbers, center, spread), np.zeros(0), last
    )
    scores = scale.of(mine[1])
    return replace(scale, scores=np.sort(scores[~np.isnan(scores)]))


def _usual(numbers: Array) -> tuple[Array, Array]:
    """(center, spread) [D] of numbers [N, D]; a number that nobody has counts for nothing (infinite spread)."""
    nobody = np.isnan(numbers).all(axis=0)
    known = np.where(nobody, 0.0, numbers)
    spread = np.nanstd(known, axis=0)
    return np.nanmean(known, axis=0), np.where(nobody, np.inf, np.where(spread > 1e-6, spread, 1.0))


def _measured(encoder: SequenceEncoder, customers: Iterable[Series], last: int) -> tuple[Array, Array] | None:
    """(errors [N, last, C], signs [N, D]) of those with a seen last step; None where nobody has one."""
    errors, numbers = [], []
    for series in customers:
        errors.append(step_errors(encoder, series)[:, -last:])
        numbers.append(signs(encoder, series, errors[-1], last))
    if not errors:
        return None
    whole = np.concatenate(errors)
    some = ~np.isnan(whole).all(axis=(1, 2))
    return (whole[some], np.concatenate(numbers)[some]) if some.any() else None


def _precision(numbers: Array, center: Array, spread: Array) -> Array:
    """[D, D]; of a single customer nothing is known of what goes together."""
    if len(numbers) < 2:
        return np.eye(len(center))
    from sklearn.covariance import LedoitWolf  # late: scikit-learn

    z = np.where(np.isnan(numbers), 0.0, (numbers - center) / spread)
    return np.asarray(LedoitWolf(assume_centered=True).fit(z).precision_, np.float64)


def anomaly_scores(encoder: SequenceEncoder, series: Series, scale: AnomalyScale) -> Array:
    """Scores [B] of the last steps, NaN where none is seen; `scale.percentile` ranks them."""
    return scale.of(signs(encoder, series, step_errors(encoder, series), scale.last))
