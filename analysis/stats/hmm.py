"""HMM triple mode: who lives on the default embedding, and whether real projections differ from each other and from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, ratio


@dataclass(frozen=True, eq=False)
class HmmStats(Statistic):
    """M modes, projections of width P. `default` rows use the learned embedding; moments are over the real rows."""

    SAME = frozenset({"modes", "embedding"})

    modes: tuple[str, ...]
    n: int
    default: Array
    """[M] rows on the default embedding."""
    real_sum: Array
    """[M, P]"""
    real_sq: Array
    """[M, P]"""
    norm_sum: Array
    """[M] sum of the norms of real projections."""
    embedding: Array
    """[M, P] the learned default embeddings; they start at 0."""
    nonfinite: Array = field(default_factory=lambda: np.zeros(1))
    """[M] rows whose real projection is no number: left out of the moments."""

    @property
    def default_rate(self) -> Array:
        return np.asarray(ratio(self.default, np.full_like(self.default, self.n)))

    @property
    def real(self) -> Array:
        """[M] rows with a real projection that is a number."""
        return self.n - self.default - self.nonfinite

    @property
    def real_mean(self) -> Array:
        return np.asarray(ratio(self.real_sum, np.broadcast_to(self.real[:, None], self.real_sum.shape)))

    @property
    def spread(self) -> Array:
        """[M] root mean square distance of a real projection from their mean: 0 when they are all the same."""
        mean_sq = ratio(self.real_sq, np.broadcast_to(self.real[:, None], self.real_sq.shape))
        return np.asarray(np.sqrt(np.maximum(mean_sq - self.real_mean**2, 0).sum(1)))

    @property
    def real_norm(self) -> Array:
        return np.asarray(ratio(self.norm_sum, self.real))

    @property
    def default_norm(self) -> Array:
        """[M] norm of the default embedding, which is also its distance from its initial value 0."""
        return np.asarray(np.linalg.norm(self.embedding, axis=1))

    @property
    def cosine(self) -> Array:
        """[M] cosine between the default embedding and the mean real projection; NaN where either is zero."""
        m = self.real_mean
        scale = np.linalg.norm(m, axis=1) * self.default_norm
        return np.asarray(ratio((m * self.embedding).sum(1), np.where(np.isfinite(scale), scale, 0)))


def measure(
    projected: Mapping[str, NDArray[np.floating]],
    default: Mapping[str, NDArray[np.bool_]],
    embedding: Mapping[str, NDArray[np.floating]],
) -> HmmStats:
    """projected: mode -> [B, P]; default: mode -> [B] bool; embedding: mode -> [P]."""
    modes = tuple(projected)
    n = len(next(iter(projected.values()))) if modes else 0
    lost = {m: ~np.isfinite(projected[m]).all(1) & ~default[m] for m in modes}
    real = {m: np.where((default[m] | lost[m])[:, None], 0, projected[m]).astype(np.float64) for m in modes}
    return HmmStats(
        modes=modes,
        n=n,
        default=np.array([default[m].sum() for m in modes], dtype=np.float64),
        real_sum=np.stack([real[m].sum(0) for m in modes]),
        real_sq=np.stack([(real[m] ** 2).sum(0) for m in modes]),
        norm_sum=np.array([np.linalg.norm(real[m], axis=1).sum() for m in modes]),
        embedding=np.stack([np.asarray(embedding[m], dtype=np.float64) for m in modes]),
        nonfinite=np.array([lost[m].sum() for m in modes], dtype=np.float64),
    )
