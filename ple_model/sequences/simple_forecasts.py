"""What a forecast is held against: the last value, the last season, a ridge regression on the look-back, and DLinear.

The ridge regression is one linear map of the look-back shared by all channels, after each window's own mean is taken away, so
that it says how far a linear model goes; its strength is the one with the lowest error on the validation part. DLinear (Zeng et
al. 2023, "Are Transformers Effective for Time Series Forecasting?") is two such maps, of a moving average and of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.errors import UserError
from ple_model.sequences.windows import SplitWindows, Windows

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Seen = NDArray[np.bool_]
Forecast = Callable[[Floats, Seen], Floats]
"""Look-backs [N, L, C] and which of their steps are seen [N, L] -> forecasts [N, H, C]; what is not seen is not read."""
STRENGTHS = (1e2, 1e3, 1e4, 1e5)
"""Weight of |w|^2 beside the sum of squared errors; the sum over some 50,000 rows of a unit variance."""
PIECE = 512
TREND_WINDOW = 25
"""Steps of DLinear's moving average, as published."""


@dataclass(frozen=True)
class ForecastError:
    """Means over windows, steps and channels of the squared and the absolute error, of what was standardised."""

    mse: float
    mae: float


def forecast_error(forecast: Forecast, test: Windows) -> ForecastError:
    """The error on these windows, in pieces: memory does not grow with them. Steps that are not seen do not count; NaN where
    none is seen: nothing is known of it."""
    squared, absolute, n = 0.0, 0.0, 0
    for past, seen, future, there in _pieces(test):
        error = (forecast(past, seen) - future).astype(np.float64)[there]
        squared, absolute, n = squared + float((error**2).sum()), absolute + float(np.abs(error).sum()), n + error.size
    return ForecastError(squared / n, absolute / n) if n else ForecastError(math.nan, math.nan)


def everywhere(forecast: Forecast, windows: Windows) -> Floats:
    """[N, H, C] the forecasts of these windows."""
    return np.concatenate([forecast(past, seen) for past, seen, _, _ in _pieces(windows)])


def _pieces(w: Windows) -> Iterator[tuple[Floats, Seen, Floats, Seen]]:
    for first in range(0, len(w), PIECE):
        rows = slice(first, first + PIECE)
        yield np.array(w.past[rows]), np.array(w.seen[rows]), w.future[rows], w.target_seen[rows]


def level_of(past: Floats, seen: Seen) -> Floats:
    """[N, 1, C] mean of the seen steps of each look-back; 0 where there is none."""
    there = seen[:, :, None]
    total = np.where(there, past, 0.0).sum(axis=1, keepdims=True)
    return np.asarray(total / np.maximum(there.sum(axis=1, keepdims=True), 1), np.float32)


def last_value(horizon: int) -> Forecast:
    """Nothing changes from the last step that is seen on."""

    def forecast(past: Floats, seen: Seen) -> Floats:
        last = past.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)  # of a look-back without a seen step its last one, 0
        return np.repeat(past[np.arange(len(past)), last][:, None], horizon, axis=1)

    return forecast


def last_season(horizon: int, season: int) -> Forecast:
    """The last `season` steps go on repeating; in place of one that is not seen, that of the latest season that has it, or else
    the last step that is seen."""

    def forecast(past: Floats, seen: Seen) -> Floats:
        out = last_value(horizon)(past, seen)
        for back in range(past.shape[1] // season, 0, -1):
            at = past.shape[1] - back * season + np.arange(horizon) % season
            out = np.where(seen[:, at, None], past[:, at], out)
        return out

    return forecast


@dataclass(frozen=True, eq=False)
class Ridge:
    """forecast = mean of the look-back + weights [L, H] of the deviations from it, 0 where a step is not seen."""

    weights: Array
    strength: float

    def __call__(self, past: Floats, seen: Seen) -> Floats:
        level = level_of(past, seen)
        moved = np.einsum(
            "nlc,lh->nhc",
            np.where(seen[:, :, None], past - level, 0.0).astype(np.float32),
            self.weights.astype(np.float32),
            optimize=True,
        )
        return np.asarray(moved + level, np.float32)


def fit_ridge(data: SplitWindows, strengths: tuple[float, ...] = STRENGTHS) -> Ridge:
    """Closed form from the training windows that are seen whole; the best strength on the validation part. `UserError` where no
    step of that is seen."""
    if len(strengths) > 1 and not data.validation.target_seen.any():
        raise UserError(
            "no step after a look-back of the validation part is seen: nothing to choose the strength of a ridge by"
        )
    gram, told = _moments(data.train)
    best: tuple[float, Ridge] | None = None
    for strength in strengths:
        weights = cho_solve(cho_factor(gram + strength * np.eye(len(gram))), told)
        ridge = Ridge(weights, strength)
        if len(strengths) == 1:
            return ridge
        error = forecast_error(ridge, data.validation).mse
        if best is None or error < best[0]:
            best = error, ridge
    assert best is not None
    return best[1]


def _moments(w: Windows) -> tuple[Array, Array]:
    """X'X [L, L] and X'Y [L, H] over windows and channels."""
    lookback, horizon = w.past.shape[1], w.future.shape[1]
    gram, told = np.zeros((lookback, lookback)), np.zeros((lookback, horizon))
    for first in range(0, len(w), PIECE):
        rows = slice(first, first + PIECE)
        whole = w.seen[rows].all(axis=1) & w.target_seen[rows].all(axis=1)
        past, future = w.past[rows][whole], w.future[rows][whole]
        level = past.mean(axis=1, keepdims=True)
        x = (past - level).transpose(0, 2, 1).reshape(-1, lookback)
        y = (future - level).transpose(0, 2, 1).reshape(-1, horizon)
        gram += x.T @ x
        told += x.T @ y
    return gram, told


class DLinear(nn.Module):
    """Two linear maps of the look-back, of its moving average and of what is left, shared by the channels."""

    def __init__(self, lookback: int, horizon: int) -> None:
        super().__init__()
        self.trend, self.rest = nn.Linear(lookback, horizon), nn.Linear(lookback, horizon)
        for layer in (self.trend, self.rest):
            nn.init.constant_(layer.weight, 1 / lookback)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """[B, L, C], seen [B, L] -> [B, H, C]; a step that is not seen is the mean of those that are."""
        there = seen[..., None]
        level = torch.where(there, past, 0.0).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
        x = torch.where(there, past, level).transpose(1, 2)
        half = (TREND_WINDOW - 1) // 2
        trend = F.avg_pool1d(F.pad(x, (half, TREND_WINDOW - 1 - half), mode="replicate"), TREND_WINDOW, stride=1)
        forecast: Tensor = self.trend(trend) + self.rest(x - trend)
        return forecast.transpose(1, 2)


def of_module(module: nn.Module) -> Forecast:
    """A module ([B, L, C], seen [B, L] -> [B, H, C]) as a forecast."""

    @torch.no_grad()
    def forecast(past: Floats, seen: Seen) -> Floats:
        first = next(module.parameters())
        given = torch.from_numpy(past).to(first.device, first.dtype), torch.from_numpy(seen).to(first.device)
        out: Tensor = module.eval()(*given)
        return out.float().cpu().numpy()

    return forecast
