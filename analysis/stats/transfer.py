"""Logit transfer: how large each edge's addition is beside the target's own representation, and what follows when it is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, ratio


@dataclass(frozen=True, eq=False)
class TransferStats(Statistic):
    """E edges "source:target"; the ratio of a row is alpha ||proj|| / ||h_expert||."""

    SAME = frozenset({"edges"})

    edges: tuple[str, ...]
    n: int
    ratio_sum: Array
    """[E]"""
    nonfinite: Array = field(default_factory=lambda: np.zeros(1))
    """[E] rows whose addition or representation is no number: left out of the sums."""

    @property
    def counted(self) -> Array:
        """[E] rows that enter the sums."""
        return np.asarray(self.n - self.nonfinite + np.zeros_like(self.ratio_sum))

    @property
    def mean_ratio(self) -> Array:
        return np.asarray(ratio(self.ratio_sum, self.counted))


@dataclass(frozen=True)
class DoseResponse:
    """The mean answer of an edge's target while the source is set to each value of a grid.

    `source` is the forced value entering the edge (a probability; for a vector source, the probability moved onto one class).
    `target` is the target's mean prediction in `scale` units; `spread` the target's standard deviation over rows.
    """

    edge: str
    source: tuple[float, ...]
    target: tuple[float, ...]
    spread: float
    n: int
    scale: str = "prediction"

    @property
    def range(self) -> float:
        """Largest minus smallest mean answer over the source's range."""
        return max(self.target) - min(self.target) if self.target else float("nan")

    @property
    def relative_range(self) -> float:
        """The range in standard deviations of the target over rows; 0 means that the source's size does not matter."""
        return self.range / self.spread if self.spread > 1e-12 else float("nan")


def row_ratios(added: Mapping[str, NDArray[np.floating]], expert: Mapping[str, NDArray[np.floating]]) -> dict[str, Array]:
    """edge -> [B] alpha ||proj|| / ||h_expert|| of the target. added: edge -> [B, O]; expert: task -> [B, O]."""
    out = {}
    for edge, value in added.items():
        own = np.linalg.norm(expert[edge.split(":")[1]].astype(np.float64), axis=1)
        out[edge] = np.linalg.norm(value.astype(np.float64), axis=1) / np.maximum(own, 1e-12)
    return out


def measure(added: Mapping[str, NDArray[np.floating]], expert: Mapping[str, NDArray[np.floating]], n: int) -> TransferStats:
    """One batch of n rows; see `row_ratios`."""
    ratios = row_ratios(added, expert)
    known = {e: np.isfinite(r) for e, r in ratios.items()}
    ratios = {e: r[known[e]] for e, r in ratios.items()}
    return TransferStats(
        edges=tuple(added),
        n=n,
        ratio_sum=np.array([r.sum() for r in ratios.values()], dtype=np.float64),
        nonfinite=np.array([(~k).sum() for k in known.values()], dtype=np.float64),
    )
