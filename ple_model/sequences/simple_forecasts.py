"""What a forecast is held against: the last value, the last season, a ridge regression on the look-back, and DLinear.

The ridge regression is one linear map of the look-back shared by all channels, after each window's own mean is taken away, so
that it says how far a linear model goes; its strength is the one with the lowest error on the validation part. DLinear (Zeng et
al. 2023, "Are Transformers Effective for Time Series Forecasting?") is two such maps, of a moving average and of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.sequences.windows import SplitWindows, Windows

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Forecast = Callable[[Floats], Floats]
"""Look-backs [N, L, C] -> forecasts [N, H, C]."""
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
    """The error on these windows, in pieces: memory does not grow with them. Steps that are not seen do not count."""
    squared, absolute, n = 0.0, 0.0, 0
    for past, future, there in _pieces(test):
        error = (forecast(past) - future).astype(np.float64)[there]
        squared, absolute, n = squared + float((error**2).sum()), absolute + float(np.abs(error).sum()), n + error.size
    return ForecastError(squared / max(n, 1), absolute / max(n, 1))


def _pieces(w: Windows) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]:
    for first in range(0, len(w), PIECE):
        rows = slice(first, first + PIECE)
        yield np.array(w.past[rows]), w.future[rows], w.target_seen[rows]


def last_value(horizon: int) -> Forecast:
    """Nothing changes."""
    return lambda past: np.repeat(past[:, -1:], horizon, axis=1)


def last_season(horizon: int, season: int) -> Forecast:
    """The last `season` steps go on repeating."""

    def forecast(past: NDArray[np.float32]) -> NDArray[np.float32]:
        at = past.shape[1] - season + np.arange(horizon) % season
        return past[:, at]

    return forecast


@dataclass(frozen=True, eq=False)
class Ridge:
    """forecast = mean of the look-back + weights [L, H] of the deviations from it."""

    weights: Array
    strength: float

    def __call__(self, past: NDArray[np.float32]) -> NDArray[np.float32]:
        level = past.mean(axis=1, keepdims=True)
        moved = np.einsum("nlc,lh->nhc", past - level, self.weights.astype(np.float32), optimize=True)
        return np.asarray(moved + level, np.float32)


def fit_ridge(data: SplitWindows, strengths: tuple[float, ...] = STRENGTHS) -> Ridge:
    """Closed form from the training windows that are seen whole; the best strength on the validation part."""
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

    def forward(self, past: Tensor) -> Tensor:
        """[B, L, C] -> [B, H, C]."""
        x = past.transpose(1, 2)
        half = (TREND_WINDOW - 1) // 2
        trend = F.avg_pool1d(F.pad(x, (half, TREND_WINDOW - 1 - half), mode="replicate"), TREND_WINDOW, stride=1)
        forecast: Tensor = self.trend(trend) + self.rest(x - trend)
        return forecast.transpose(1, 2)


def of_module(module: nn.Module) -> Forecast:
    """A module as a forecast."""

    @torch.no_grad()
    def forecast(past: NDArray[np.float32]) -> NDArray[np.float32]:
        first = next(module.parameters())
        out: Tensor = module.eval()(torch.from_numpy(past).to(first.device, first.dtype))
        return out.float().cpu().numpy()

    return forecast
