"""Windows of a series for forecasting: a look-back and the horizon after it, in the parts of a split by time.

`ETT_HOURLY` is the split of the ETT benchmark (Zhou et al. 2021, "Informer"): 12, 4 and 4 months of 30 days, every channel
standardised by the training part; a part's first window looks back into the part before it. The number of test windows is what
published figures differ in: the loaders of several papers drop the last batch where it is not full, so `dropping_last` says how
many windows those measured.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.sequences.plain_series import PlainSeries, read_series
from ple_model.sequences.series import Series

Floats = NDArray[np.float32]
REAL_DATA = "PLE_REAL_DATA"
"""Environment variable: the folder of public data sets."""
LOADER_BATCH = 128
"""Batch of the published loaders, whose last incomplete one was dropped."""


@dataclass(frozen=True)
class TimeSplit:
    """Steps of the three parts, in their order from the series' first step on; what follows is not used."""

    train: int
    validation: int
    test: int


ETT_HOURLY = TimeSplit(12 * 30 * 24, 4 * 30 * 24, 4 * 30 * 24)


@dataclass(frozen=True, eq=False)
class Windows:
    """Look-backs [N, L, C] and what followed [N, H, C], views into one array; `seen` [N, L] and `target_seen` [N, H]."""

    past: Floats
    future: Floats
    seen: NDArray[np.bool_]
    target_seen: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.past)

    def thinned(self, every: int) -> Windows:
        """Every `every`-th window."""
        return self._rows(slice(None, None, every))

    def drawn(self, every: int, seed: int = 0) -> Windows:
        """One window in `every`, at random: each n-th would begin on the same weekday or hour."""
        if every <= 1:
            return self
        rows = np.random.default_rng(seed).choice(len(self), -(-len(self) // every), replace=False)
        return self._rows(np.sort(rows))

    def dropping_last(self, batch: int = LOADER_BATCH) -> Windows:
        """Without the last batch, if it is not full."""
        n = len(self) // batch * batch
        return self._rows(slice(n))

    def _rows(self, rows: slice | NDArray[np.int64]) -> Windows:
        return Windows(self.past[rows], self.future[rows], self.seen[rows], self.target_seen[rows])


@dataclass(frozen=True, eq=False)
class SplitWindows:
    """The windows of the three parts, standardised by the training part's mean and standard deviation [C]."""

    train: Windows
    validation: Windows
    test: Windows
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def split_windows(series: PlainSeries, split: TimeSplit, lookback: int, horizon: int) -> SplitWindows:
    """`UserError` where the series is shorter than the split or a part has no window."""
    ends = np.cumsum([split.train, split.validation, split.test])
    if len(series) < ends[-1]:
        raise UserError(f"the series has {len(series):,} steps, the split needs {ends[-1]:,}")
    known = series.values[: split.train][series.seen[: split.train]]
    if not len(known):
        raise UserError("no step of the training part is seen")
    mean, std = known.mean(axis=0), known.std(axis=0)
    std = np.where(np.ptp(known, axis=0) > 0, std, 1.0)  # 0.1 has a deviation of 1e-17 from the mean of many
    values = np.where(series.seen[:, None], (series.values - mean) / std, 0.0).astype(np.float32)
    starts = (0, int(ends[0]) - lookback, int(ends[1]) - lookback)
    parts = []
    for name, start, end in zip(("training", "validation", "test"), starts, ends.tolist(), strict=True):
        if start < 0 or end - start < lookback + horizon:
            raise UserError(f"the {name} part has no window of {lookback} steps and {horizon} after it")
        parts.append(windows(values[start:end], series.seen[start:end], lookback, horizon))
    return SplitWindows(parts[0], parts[1], parts[2], mean, std)


def windows(values: Floats, seen: NDArray[np.bool_], lookback: int, horizon: int) -> Windows:
    """Every window of an array [T, C]."""
    whole = sliding_window_view(values, lookback + horizon, axis=0).transpose(0, 2, 1)
    there = sliding_window_view(seen, lookback + horizon)
    return Windows(whole[:, :lookback], whole[:, lookback:], there[:, :lookback], there[:, lookback:])


def real_data(name: str) -> Path:
    """A folder of the public data sets; `UserError` says where it was looked for."""
    root = Path(os.environ.get(REAL_DATA, Path(__file__).parents[3] / "shared" / "data"))
    if not (root / name).is_dir():
        raise UserError(f"no data set '{name}' in {root}; set {REAL_DATA} to the folder that holds it")
    return root / name


def ett(name: str, lookback: int, horizon: int) -> SplitWindows:
    """Windows of ETTh1 or ETTh2, downloaded before into `PLE_REAL_DATA`/ett as Parquet or CSV."""
    folder = real_data("ett")
    file = next((f for end in ("parquet", "csv") if (f := folder / f"{name}.{end}").is_file()), folder / f"{name}.parquet")
    return split_windows(read_series(file, time="date")[0], ETT_HOURLY, lookback, horizon)


def as_series(series: Sequence[PlainSeries]) -> Series:
    """Series of one table as a batch, aligned at their last step; `UserError` where their channels differ."""
    if len({s.channels for s in series}) != 1:
        raise UserError(f"{len(series)} series with different channels make no batch")
    whole = Series.ragged([torch.from_numpy(s.values).float() for s in series])
    seen = Series.ragged([torch.from_numpy(s.seen)[:, None].float() for s in series])
    return Series(whole.values, whole.seen & (seen.values[..., 0] > 0))
