"""A forecast head on an encoder as it is, in closed form: the ridge regression of what came next on the tokens of all places.

Nothing of the encoder is trained, so a head costs one pass over the series and a linear system of the tokens' size; its
strength is the one with the lowest error on series that it was not fitted to. Errors are in deviations of each series, so that
a customer of large amounts owns no more of the fit than one of small ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ple_model.errors import UserError
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.heads import ForecastHead
from ple_model.sequences.series import Series

STRENGTHS = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5)
"""Weight of |w|^2 beside the sum of squared errors over series and channels."""
PIECE = 128


@dataclass(frozen=True)
class CutSeries:
    """Series without their last steps, and these: future [B, H, C], seen [B, H] bool."""

    past: Series
    future: Tensor
    seen: Tensor

    def __len__(self) -> int:
        return len(self.past)

    @property
    def horizon(self) -> int:
        return int(self.future.shape[1])

    def rows(self, index: Tensor | slice) -> CutSeries:
        return CutSeries(self.past.rows(index), self.future[index], self.seen[index])

    def pieces(self) -> Iterator[CutSeries]:
        for first in range(0, len(self), PIECE):
            yield self.rows(slice(first, first + PIECE))


def cut_before(series: Series, horizon: int) -> CutSeries:
    """Each series cut before its last `horizon` steps. `UserError` where nothing would be left to look back on."""
    if not 0 < horizon < series.values.shape[1]:
        raise UserError(f"horizon: {horizon} is not valid, it must be between 1 and {series.values.shape[1] - 1}")
    past = Series(series.values[:, :-horizon], series.seen[:, :-horizon])
    return CutSeries(past, series.values[:, -horizon:], series.seen[:, -horizon:])


@torch.no_grad()
def fit_forecast_head(
    encoder: SequenceEncoder, fit: CutSeries, watched: CutSeries, strengths: tuple[float, ...] = STRENGTHS
) -> ForecastHead:
    """The head fitted to `fit` that is best on `watched`. `UserError` where no series of either was seen before and after its
    cut."""
    place = encoder.place
    gram = told = torch.zeros(0)
    for x, y in _rows(encoder, fit):
        gram, told = (x.T @ x, x.T @ y) if not gram.numel() else (gram + x.T @ x, told + x.T @ y)
    if not gram.numel():
        raise UserError("no series is seen before and after its cut: there is nothing to fit a forecast to")
    ruled = torch.ones(len(gram), dtype=gram.dtype, device=gram.device)
    ruled[-1] = 0.0  # the offset is free
    best: tuple[float, Tensor] | None = None
    for strength in strengths:
        weights = torch.linalg.solve(gram + torch.diag(strength * ruled), told)
        error = _error(encoder, watched, weights)
        if best is None or error < best[0]:
            best = error, weights
    assert best is not None
    head = ForecastHead(encoder, fit.horizon).to(place.device, place.dtype)
    head.out.weight.copy_(best[1][:-1].T)
    head.out.bias.copy_(best[1][-1])
    return head.eval()


@torch.no_grad()
def forecast_ahead(encoder: SequenceEncoder, head: ForecastHead, past: Series) -> tuple[Tensor, Tensor]:
    """(forecast [B, H, C] in the units of the series, deviation of each series and channel [B, 1, C])."""
    said, scale = [], []
    for first in range(0, len(past), PIECE):
        piece = past.rows(slice(first, first + PIECE))
        encoded = encoder(piece)
        said.append(head(encoder, piece, encoded))
        scale.append(encoded.scale.to(said[-1].dtype))
    return torch.cat(said), torch.cat(scale)


def _rows(encoder: SequenceEncoder, cut: CutSeries) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens with a constant [rows, places * width + 1] and what came next [rows, H], a row a series and channel; double."""
    head = ForecastHead(encoder, cut.horizon)
    for piece in cut.pieces():
        whole = piece.rows(piece.past.seen.any(dim=1) & piece.seen.all(dim=1))
        if not len(whole):
            continue
        encoded = encoder(whole.past)
        x = head.flat(encoded).flatten(0, 1).double()
        y = encoder.normalise(whole.future, encoded).transpose(1, 2).flatten(0, 1).double()
        yield torch.cat([x, torch.ones_like(x[:, :1])], dim=1), y


def _error(encoder: SequenceEncoder, watched: CutSeries, weights: Tensor) -> float:
    total, n = 0.0, 0
    for x, y in _rows(encoder, watched):
        total, n = total + float((x @ weights - y).square().sum()), n + y.numel()
    if not n:
        raise UserError("no series is seen before and after its cut: there is nothing to choose a forecast by")
    return total / n
