"""Expert outputs: norms, dead dimensions, effective rank and linear CKA from one streamed second-moment matrix.

Effective rank is exp of the entropy of the normalised covariance spectrum (Roy & Vetterli 2007); linear CKA is Kornblith et al.
2019. Rows on zero fallback are left out of every moment: a missing input must not look like a property of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, finite_rows, ratio
from ple_model.profile import column_counts

ZERO = 1e-6
"""An activation smaller than this counts as zero."""
SATURATION = 10.0
"""An activation larger than this drives the softmaxes and norms behind it into their flat part."""


@dataclass(frozen=True, eq=False)
class ExpertStats(Statistic):
    """N experts with widths `dims`, W = sum(dims). All moments are over the rows where the expert has input and is finite."""

    SAME = frozenset({"names", "dims"})

    names: tuple[str, ...]
    dims: tuple[int, ...]
    n: int
    present: Array
    """[N] rows with at least one input field."""
    nonfinite: Array
    """[N] rows with a NaN or Inf in the output."""
    joint: Array
    """[N, N] rows where both experts count."""
    sum_given: Array
    """[N, W] sum of every dimension over the rows where expert j counts."""
    outer: Array
    """[W, W] sum of outer products."""
    norm_sum: Array
    norm_sq: Array
    zeros: Array
    """[W] activations that are zero."""
    saturated: Array
    """[W] activations beyond `SATURATION`."""

    def slices(self) -> dict[str, slice]:
        ends = np.cumsum(self.dims)
        return {n: slice(int(e - d), int(e)) for n, d, e in zip(self.names, self.dims, ends, strict=True)}

    @property
    def counted(self) -> Array:
        """[N] rows that enter the moments."""
        return np.diag(self.joint)

    @property
    def fallback_share(self) -> Array:
        return np.asarray(1 - ratio(self.present, np.full(len(self.names), self.n)))

    @property
    def norm_mean(self) -> Array:
        return np.asarray(ratio(self.norm_sum, self.counted))

    @property
    def norm_std(self) -> Array:
        variance = ratio(self.norm_sq, self.counted) - self.norm_mean**2
        return np.asarray(np.sqrt(np.maximum(variance, 0)))

    def mean(self, name: str) -> Array:
        i = self.names.index(name)
        return np.asarray(ratio(self.sum_given[i, self.slices()[name]], self.counted[i]))

    def covariance(self, a: str, b: str | None = None) -> Array:
        """[dim_a, dim_b] covariance over the rows where both count."""
        b = a if b is None else b
        i, j = self.names.index(a), self.names.index(b)
        si, sj = self.slices()[a], self.slices()[b]
        n = self.joint[i, j]
        if n == 0:
            return np.full((self.dims[i], self.dims[j]), np.nan)
        # an expert's block is zero where it does not count, so outer[si, sj] already is the sum over joint rows
        return np.asarray(self.outer[si, sj] / n - np.outer(self.sum_given[j, si] / n, self.sum_given[i, sj] / n))

    def variance(self, name: str) -> Array:
        """[dim] variance of each dimension."""
        return np.maximum(np.diag(self.covariance(name)), 0)

    def dead_share(self, name: str, tolerance: float = 1e-8) -> float:
        """Share of dimensions that (nearly) never change; the tolerance is on the variance."""
        v = self.variance(name)
        return float(np.mean(v < tolerance)) if np.isfinite(v).all() else float("nan")

    def effective_rank(self, name: str) -> float:
        """exp(H(spectrum / trace)): 1 for one direction, dim for a sphere; 0 for a constant output, NaN without rows."""
        spectrum = self._spectrum(name)
        if spectrum is None:
            return float("nan")
        mass = spectrum.sum()
        if mass <= 1e-12:
            return 0.0
        p = spectrum[spectrum > 0] / mass
        return float(np.exp(-(p * np.log(p)).sum()))

    def outside_leading(self, name: str) -> float:
        """Share of the variance outside the leading direction: 0 for one direction, 1 - 1/dim for a sphere; NaN without any."""
        spectrum = self._spectrum(name)
        mass = 0.0 if spectrum is None else spectrum.sum()
        return float(1 - spectrum.max() / mass) if spectrum is not None and mass > 1e-12 else float("nan")

    def _spectrum(self, name: str) -> NDArray[np.float64] | None:
        """[dim] variances along the principal directions; None without rows."""
        c = self.covariance(name)
        return np.clip(np.linalg.eigvalsh((c + c.T) / 2), 0, None) if np.isfinite(c).all() else None

    def zero_rate(self, name: str) -> float:
        """Share of zero activations among the rows with input."""
        i = self.names.index(name)
        return float(ratio(self.zeros[self.slices()[name]].sum(), self.counted[i] * self.dims[i]))

    def saturation(self, name: str) -> float:
        i = self.names.index(name)
        return float(ratio(self.saturated[self.slices()[name]].sum(), self.counted[i] * self.dims[i]))

    def cka(self) -> Array:
        """[N, N] linear CKA over jointly present rows: ||C_ij||^2 / (||C_ii|| ||C_jj||); NaN where it is undefined."""
        n = len(self.names)
        own = [np.linalg.norm(self.covariance(a)) for a in self.names]
        out = np.full((n, n), np.nan)
        for i, a in enumerate(self.names):
            for j, b in enumerate(self.names):
                scale = own[i] * own[j]
                if np.isfinite(scale) and scale > 1e-12 and self.joint[i, j] > 1:
                    out[i, j] = min(1.0, float(np.linalg.norm(self.covariance(a, b)) ** 2 / scale))
        return out


def measure(outputs: Mapping[str, NDArray[np.floating]], present: Mapping[str, NDArray[np.bool_]]) -> ExpertStats:
    """Statistics of one batch. outputs: expert -> [B, dim]; present: expert -> [B] bool."""
    names = tuple(outputs)
    dims = tuple(int(outputs[e].shape[1]) for e in names)
    n = len(next(iter(outputs.values()))) if names else 0
    finite = {e: finite_rows(outputs[e]) for e in names}
    there = np.stack([present[e].astype(bool) for e in names], 1)
    ok = there & np.stack([finite[e] for e in names], 1)
    counted = [outputs[e] if ok[:, i].all() else np.where(ok[:, i, None], outputs[e], 0) for i, e in enumerate(names)]
    blocks = [b.astype(np.float64) for b in counted]
    x = np.concatenate(blocks, 1)
    size = np.abs(x)
    size[~np.repeat(ok, dims, axis=1)] = np.nan  # neither zero nor saturated
    norms = np.stack([np.linalg.norm(b, axis=1) for b in blocks], 1)
    weight = ok.astype(np.float64)
    return ExpertStats(
        names=names,
        dims=dims,
        n=n,
        present=there.sum(0).astype(np.float64),
        nonfinite=np.stack([~finite[e] for e in names], 1).sum(0).astype(np.float64),
        joint=weight.T @ weight,
        sum_given=weight.T @ x,
        outer=x.T @ x,
        norm_sum=norms.sum(0),
        norm_sq=(norms**2).sum(0),
        zeros=column_counts(size < ZERO),
        saturated=column_counts(size > SATURATION),
    )
