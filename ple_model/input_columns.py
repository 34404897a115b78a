"""What the inputs of some rows look like as columns, and how each input is boiled down to a few directions.

The columns are those of `own_rows.columns_of`, and of a sequence the channels' means over the first, second and last third of
its steps too, so that a sequence that was turned round is another one. A column is centred at its training median, divided by
the distance of its deciles, and squashed (asinh), so that no customer's fortune decides over a direction; directions are the
principal components of an input's columns among the training rows that have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ple_model.fields import FIELD_SHAPES
from ple_model.own_rows import columns_of

if TYPE_CHECKING:
    from torch import Tensor

    from ple_model.batch import PLEClusterInput

SEQUENCES = ("txn_seq", "session_seq")
THIRDS = ("first", "second", "last")
ALL = slice(None)
DIRECTIONS = 6
CLIP = 5.0
"""Standard deviations after squashing beyond which a value counts as this."""
Array = NDArray[np.float64]
Values = NDArray[np.float32]


def input_columns(inputs: PLEClusterInput, names: Sequence[str]) -> tuple[list[tuple[str, str]], Values]:
    """([c] (input, column), values [n, c], NaN where a row lacks the input)."""
    return beside(*columns_of(inputs, names), *thirds(inputs))


def thirds(inputs: PLEClusterInput) -> tuple[list[tuple[str, str]], Values]:
    """Means of the sequences' channels over the first, second and last third of their steps."""
    found: list[tuple[str, str]] = []
    blocks: list[Values] = [np.zeros((len(inputs), 0), dtype=np.float32)]
    for field in SEQUENCES:
        held = getattr(inputs, field)
        if held is None:
            continue
        there = np.asarray(inputs.present(field).cpu().numpy(), dtype=bool)
        steps = held.float().cpu().tensor_split(len(THIRDS), dim=1)
        found += [(field, f"{field}[{j}] {third} third") for third in THIRDS for j in range(FIELD_SHAPES[field][1])]
        block = np.concatenate([s.mean(1).numpy() for s in steps], axis=1)
        blocks.append(np.where(there[:, None], block, np.nan).astype(np.float32))
    return found, np.concatenate(blocks, axis=1)


def activity(inputs: PLEClusterInput, rows: Tensor | slice = ALL) -> dict[str, Array]:
    """[rows that have it, steps] of each sequence 1 where a step has an event; of these rows."""
    found: dict[str, Array] = {}
    for field in SEQUENCES:
        held = getattr(inputs, field)
        if held is not None:
            there = np.asarray(inputs.present(field)[rows].cpu().numpy(), dtype=bool)
            size = held[rows].abs() @ held.new_ones(held.shape[2])  # quicker than a test of each channel
            found[field] = np.asarray((size != 0).cpu().numpy()[there], dtype=np.float64)
    return found


def beside(
    columns: Sequence[tuple[str, str]], values: Values, more: Sequence[tuple[str, str]], block: Values
) -> tuple[list[tuple[str, str]], Values]:
    """What `columns_of` gave without its flags of presence, and the thirds of sequences beside it."""
    kept = [j for j, (_, name) in enumerate(columns) if not name.endswith(" is there")]
    return [*(columns[j] for j in kept), *more], np.concatenate([values[:, kept], block], axis=1)


@dataclass(frozen=True, eq=False)
class Directions:
    """How columns become directions: P directions of K inputs, each input's side by side."""

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    column_key: NDArray[np.int64]
    """[c] number of each column's input"""
    middle: Values
    """[c] median of the training rows that have the input"""
    scale: Values
    """[c] half the distance of the deciles"""
    mean: Values
    """[c] of the squashed column"""
    deviation: Values
    basis: Values
    """[c, DIRECTIONS] of the column's input, unit variance in training; zero beyond the input's rank"""

    def of(self, key: str) -> NDArray[np.int64]:
        """Numbers of the columns of an input."""
        return np.flatnonzero(self.column_key == self.keys.index(key))

    def slice(self, key: str) -> slice:
        i = self.keys.index(key)
        return slice(i * DIRECTIONS, (i + 1) * DIRECTIONS)

    def squashed(self, values: Values, columns: NDArray[np.int64]) -> Array:
        """[n, len(columns)] standard deviations of the squashed columns; NaN stays."""
        x = np.arcsinh((values - self.middle[columns]) / self.scale[columns])
        return np.asarray(np.clip((x - self.mean[columns]) / self.deviation[columns], -CLIP, CLIP), dtype=np.float64)

    def project(self, key: str, values: Values) -> Array:
        """[n, DIRECTIONS] of one input's own columns [n, its columns]; NaN where the row lacks any of them."""
        columns = self.of(key)
        return np.asarray(self.squashed(values, columns) @ self.basis[columns])

    def all(self, values: Values) -> Array:
        """[n, P] of all columns [n, c]."""
        return np.concatenate([self.project(k, values[:, self.of(k)]) for k in self.keys], axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "column_key": self.column_key.astype(np.int16), "middle": self.middle, "scale": self.scale, "mean": self.mean,
            "deviation": self.deviation, "basis": self.basis,
        }  # fmt: skip

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], keys: Sequence[str], columns: Sequence[str]) -> Directions:
        names = ("middle", "scale", "mean", "deviation", "basis")
        a, b, c, d, e = (np.asarray(arrays[k], dtype=np.float32) for k in names)
        return Directions(tuple(keys), tuple(columns), arrays["column_key"].astype(np.int64), a, b, c, d, e)


def _quantiles(values: Values, at: Sequence[float]) -> NDArray[np.floating]:
    """[len(at), c] of the numbers of each column: of those without a gap together, of the others (`nanquantile`) one by one."""
    gaps = np.isnan(values).any(0)
    out = np.empty((len(at), values.shape[1]))
    out[:, ~gaps] = np.quantile(values[:, ~gaps], at, axis=0)
    out[:, gaps] = np.nanquantile(values[:, gaps], at, axis=0)
    return out


def fit_directions(columns: Sequence[tuple[str, str]], values: Values) -> Directions:
    """Directions of training rows [n, c]."""
    keys = tuple(dict.fromkeys(k for k, _ in columns))
    column_key = np.array([keys.index(k) for k, _ in columns], dtype=np.int64)
    known = np.isfinite(values).any(0)
    found = np.where(np.isfinite(values), values, np.nan)
    found[:, ~known] = 0.0
    low, middle, high = _quantiles(found, (0.1, 0.5, 0.9))
    wide = np.nanstd(found, axis=0)
    scale = (high - low) / 2
    scale = np.where(scale > 1e-9, scale, np.where(wide > 1e-9, wide, 1.0))
    x = np.arcsinh((found - middle) / scale)
    mean, deviation = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    deviation = np.where(deviation > 1e-6, deviation, 1.0)
    basis = np.zeros((len(columns), DIRECTIONS))
    u = np.clip((x - mean) / deviation, -CLIP, CLIP)
    for i in range(len(keys)):
        own = np.flatnonzero(column_key == i)
        rows = u[:, own][np.isfinite(u[:, own]).all(1)]
        if len(rows) > len(own) // 4 + 10:
            spectrum, vectors = np.linalg.eigh(np.cov(rows.T).reshape(len(own), len(own)))
            best = [j for j in np.argsort(spectrum)[::-1][:DIRECTIONS] if spectrum[j] > 1e-3]
            basis[own[:, None], np.arange(len(best))] = vectors[:, best] / np.sqrt(spectrum[best])
    plain = (np.asarray(v, dtype=np.float32) for v in (middle, scale, mean, deviation, basis))
    return Directions(keys, tuple(n for _, n in columns), column_key, *plain)
