"""The 50 `mamba_temporal` columns: a small Mamba-2 encoder of half a year of weekly activity, trained by forecasting and then
frozen.

Input: 26 weeks of log sums of spend, purchases, sessions and deposits, standardised on the training split. Every step predicts
the next week's four numbers (squared error); the hidden vector after the last week is the customer's summary (Dao & Gu 2024 for
the block).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ple_model.errors import UserError
from ple_model.files import read_tensors, write_tensors
from ple_model.layers.selective_scan import Mamba2Block

FloatArray = NDArray[np.float32]
WEEKS, WIDTH = 26, 50
FIT_ROWS, STEPS, BATCH = 6_000, 150, 256
MIN_ROWS = 32


def weekly_series(daily: FloatArray) -> FloatArray:
    """[n, 365, channels] daily sums -> [n, 26, channels] log weekly sums, the last week ends the day before the cut-off."""
    n, _, channels = daily.shape
    return np.asarray(np.log1p(np.maximum(daily[:, -7 * WEEKS :].reshape(n, WEEKS, 7, channels).sum(axis=2), 0)))


class Forecaster(nn.Module):
    """[B, 26, channels] standardised -> (hidden [B, 26, 50], forecast of the next step [B, 26, channels])."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lift = nn.Linear(channels, WIDTH)
        self.block = Mamba2Block(WIDTH, 8, 5, 3, 13)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.norm(self.block(self.lift(x)))
        return hidden, self.head(hidden)


@dataclass(frozen=True)
class WeekEncoder:
    """The frozen encoder with the standardisation of its input. `loss` is its forecasting error, `naive` that of the training
    mean."""

    centre: FloatArray
    scale: FloatArray
    model: Forecaster
    loss: float
    naive: float

    def encode(self, daily: FloatArray) -> FloatArray:
        """[n, 50] from daily sums [n, 365, channels]."""
        x = torch.from_numpy((weekly_series(daily) - self.centre) / self.scale)
        with torch.inference_mode():
            pieces = [self.model(part)[0][:, -1] for part in torch.split(x, 1024)]
        return torch.cat(pieces).numpy() if pieces else np.zeros((0, WIDTH), np.float32)

    def save(self, path: Path) -> None:
        """Write safetensors."""
        state = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        numbers = torch.tensor([self.loss, self.naive], dtype=torch.float64)
        scaling = {"centre": torch.from_numpy(self.centre), "scale": torch.from_numpy(self.scale)}
        write_tensors(path, {**state, **scaling, "error": numbers})

    @staticmethod
    def load(path: Path) -> WeekEncoder:
        """Read what `save` wrote; `UserError` names a missing or damaged file."""
        tensors, _ = read_tensors(path)
        try:
            centre, scale, error = tensors["centre"].numpy(), tensors["scale"].numpy(), tensors["error"]
            model = Forecaster(len(centre)).eval()
            model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        except (KeyError, RuntimeError) as e:
            raise UserError(f"{path} is damaged: {e}") from e
        return WeekEncoder(centre, scale, model, float(error[0]), float(error[1]))


def fit_encoder(daily: FloatArray, seed: int = 0, steps: int = STEPS) -> WeekEncoder | None:
    """Train on daily sums of active training rows; None for too few of them."""
    if len(daily) < MIN_ROWS:
        return None
    rng = np.random.default_rng(seed)
    series = weekly_series(daily[np.sort(rng.permutation(len(daily))[:FIT_ROWS])])
    centre = series.mean(axis=(0, 1)).astype(np.float32)
    scale = series.std(axis=(0, 1)).astype(np.float32)
    scale = np.where(scale > 1e-6, scale, 1).astype(np.float32)
    x = torch.from_numpy((series - centre) / scale)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Forecaster(x.shape[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = x[torch.randint(0, len(x), (min(BATCH, len(x)),), generator=g)]
        loss = (model(batch[:, :-1])[1] - batch[:, 1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval().requires_grad_(False)
    with torch.inference_mode():
        parts = torch.split(x, 1024)
        error = float(torch.cat([(model(p[:, :-1])[1] - p[:, 1:]).square().mean(dim=(1, 2)) for p in parts]).mean())
    return WeekEncoder(centre, scale, model, error, float(x[:, 1:].square().mean()))
