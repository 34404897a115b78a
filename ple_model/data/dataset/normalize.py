"""Normalisation of the feature columns, fitted on the training split, stored with the dataset and the run.

Per column: those the schema scales by log and heavy-tailed ones pass through sign(x) log(1 + |x|) first; then (x - centre) /
scale with the median and the standard deviation of the values winsorised at the 0.5% and 99.5% quantiles; clipped at +-10.
Empty cells (NaN) and constant columns become 0. The raw power-law columns stay as they are (empty: 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.fields import N_FEATURES
from ple_model.safe_arrays import read_npz, take, write_npz

CONSTANT, LINEAR, SIGNED_LOG, RAW = 0, 1, 2, 3
CLIP = 10.0
FloatArray = NDArray[np.float32]


def signed_log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)))


@dataclass(frozen=True)
class Normalizer:
    """kind [n] (0 constant, 1 linear, 2 signed log, 3 raw), centre [n], scale [n]; n = 734 in a real dataset."""

    kind: NDArray[np.int8]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]

    @staticmethod
    def identity(n: int = N_FEATURES) -> Normalizer:
        """Leaves every column as it is (empty: 0): for data that come normalised."""
        return Normalizer(np.full(n, RAW, np.int8), np.zeros(n), np.ones(n))

    @staticmethod
    def fit(values: NDArray[np.floating], scales: Sequence[str] = ()) -> Normalizer:
        """Fit on the training rows `values` [rows, n] (NaN = empty). `scales` as in the feature schema: 'raw' leaves a column
        alone, 'log' and heavy-tailed ones take the signed log first; default: 'linear'."""
        n = values.shape[1]
        kind, centre, scale = np.full(n, RAW, np.int8), np.zeros(n), np.ones(n)
        for j in range(n):
            wanted = scales[j] if scales else "linear"
            if wanted != "raw":
                x = values[:, j].astype(np.float64)
                kind[j], centre[j], scale[j] = _fit_column(x[np.isfinite(x)], logged=wanted == "log")
        return Normalizer(kind, centre, scale)

    def transform(self, values: NDArray[np.floating]) -> FloatArray:
        """Original units [rows, n] -> model input [rows, n] float32, finite everywhere."""
        x = values.astype(np.float64)
        logged = self.kind == SIGNED_LOG
        x[:, logged] = signed_log(x[:, logged])
        scaled = self.kind != RAW
        x[:, scaled] = np.clip((x[:, scaled] - self.centre[scaled]) / self.scale[scaled], -CLIP, CLIP)
        x[:, self.kind == CONSTANT] = 0.0
        return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)

    def inverse(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Model input [rows, n] -> original units. Cells beyond the clip come back as its edge, empty ones as the centre."""
        x = values.astype(np.float64) * self.scale + self.centre
        logged = self.kind == SIGNED_LOG
        x[:, logged] = np.sign(x[:, logged]) * np.expm1(np.abs(x[:, logged]))
        return x

    def save(self, folder: Path) -> None:
        """Write `normalizer.npz` (temporary file, then rename)."""
        folder.mkdir(parents=True, exist_ok=True)
        write_npz(folder / "normalizer.npz", {"kind": self.kind, "centre": self.centre, "scale": self.scale})

    @staticmethod
    def load(folder: Path) -> Normalizer:
        """Read what `save` wrote; `UserError` names the file that is missing or damaged."""
        path = folder / "normalizer.npz"
        try:
            found = Normalizer(*take(read_npz(path), path, "kind", "centre", "scale"))
            n = len(found.kind)
            if not found.kind.shape == found.centre.shape == found.scale.shape == (n,):
                raise ValueError("its arrays have different lengths")
            if found.kind.dtype.kind not in "iu" or found.centre.dtype.kind != "f" or found.scale.dtype.kind != "f":
                raise ValueError("its arrays are of the wrong type")
            # `transform` makes every cell finite: a scale that is no number would empty its column without a word
            bad = np.flatnonzero(~(np.isfinite(found.centre) & np.isfinite(found.scale)))
            if len(bad):
                raise ValueError(f"the scale of {len(bad)} columns is no number, column {int(bad[0])} for example")
            return found
        except FileNotFoundError as e:
            raise UserError(f"{path} is missing") from e
        except ValueError as e:
            raise UserError(f"{path} is damaged: {e}") from e


def _fit_column(x: NDArray[np.float64], *, logged: bool) -> tuple[int, float, float]:
    """(kind, centre, scale) of the finite values of one column."""
    if x.size == 0 or x.min() == x.max():
        return CONSTANT, float(x[0]) if x.size else 0.0, 1.0
    kind = SIGNED_LOG if logged or _heavy_tailed(x) else LINEAR
    y = signed_log(x) if kind == SIGNED_LOG else x
    low, high = np.quantile(y, [0.005, 0.995])
    scale = float(np.clip(y, low, high).std())
    if not scale > 1e-12 * max(1.0, float(np.abs(y).max())):  # nearly always one value: its rare others decide the scale
        scale = float(y.std())
    if not scale > 0.0:
        return CONSTANT, float(x[0]), 1.0
    return kind, float(np.median(y)), scale


def _heavy_tailed(x: NDArray[np.float64]) -> bool:
    """Is the 99% quantile of |x| over 10 times, or its maximum over 50 times, the median of |x| > 0?"""
    magnitude = np.abs(x)
    body = float(np.median(magnitude[magnitude > 0]))
    return bool(np.quantile(magnitude, 0.99) > 10 * body or magnitude.max() > 50 * body)
