"""Training a module that forecasts: windows in shuffled batches, early stopping on the validation part, its best weights kept.

The validation error before the first step counts too, so a module that starts from a fitted map ends no worse than it began.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ple_model.sequences.simple_forecasts import forecast_error, of_module
from ple_model.sequences.windows import SplitWindows, Windows


@dataclass(frozen=True)
class FitSettings:
    """How a forecast is trained."""

    epochs: int = 10
    batch: int = 64
    rate: float = 1e-3
    every: int = 1
    """Of the training windows every how many are used."""
    patience: int = 3
    """Epochs without a better validation error after which training ends."""
    validation_every: int = 1
    weight_decay: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class FitRecord:
    """Validation errors (MSE), the first of before training, and the epoch whose weights were kept (0: those it began with)."""

    validation: tuple[float, ...]
    kept: int


def fit_forecast(
    module: nn.Module, data: SplitWindows, settings: FitSettings, hear: Callable[[int, float], None] | None = None
) -> FitRecord:
    """Train `module` ([B, L, C], seen [B, L] -> [B, H, C]) in place on mean squared error."""
    generator = torch.Generator().manual_seed(settings.seed)
    first = next(module.parameters())
    train, watched = data.train.thinned(settings.every), data.validation.thinned(settings.validation_every)
    optimizer = torch.optim.AdamW(module.parameters(), settings.rate, weight_decay=settings.weight_decay)
    steps = max(1, settings.epochs * -(-len(train) // settings.batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=steps, pct_start=0.3)
    errors = [forecast_error(of_module(module), watched).mse]
    best, kept = copy.deepcopy(module.state_dict()), 0
    for epoch in range(1, settings.epochs + 1):
        module.train()
        order = torch.randperm(len(train), generator=generator).numpy()
        for start in range(0, len(order), settings.batch):
            past, seen, future, there = _batch(train, order[start : start + settings.batch], first)
            error = (module(past, seen) - future).square() * there
            optimizer.zero_grad(set_to_none=True)
            (error.sum() / (there.sum() * future.shape[2]).clamp_min(1)).backward()
            optimizer.step()
            schedule.step()
        errors.append(forecast_error(of_module(module), watched).mse)
        if hear is not None:
            hear(epoch, errors[-1])
        if errors[-1] < errors[kept]:
            best, kept = copy.deepcopy(module.state_dict()), epoch
        elif epoch - kept >= settings.patience:
            break
    module.load_state_dict(best)
    return FitRecord(tuple(errors), kept)


def _batch(w: Windows, rows: NDArray[np.int64], like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Look-backs, whether each of their steps is seen [B, L], futures, and whether each step of these is [B, H, 1]."""
    past, future = (torch.from_numpy(a[rows]).to(like.device, like.dtype) for a in (w.past, w.future))
    there = torch.from_numpy(w.target_seen[rows])[:, :, None].to(like.device, like.dtype)
    return past, torch.from_numpy(w.seen[rows]).to(like.device), future, there
