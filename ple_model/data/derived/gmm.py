"""Customer segments: a Gaussian mixture of 20 components (scikit-learn) on a PCA of the behaviour columns.

It reads the normalised parts `BEHAVIOUR` of `features` (what the customer does, not what models say of it), reduced to at
most 16 principal components, and is fitted on a bounded sample of training rows (reference, "GMM clusters"). A component that
holds almost no rows, or whose covariance sits at the regularisation floor, is degenerate and reported in `notes`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from ple_model.schema import PART_SLICES

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
BEHAVIOUR = (
    "rfm",
    "category",
    "transaction_stats",
    "temporal",
    "deposit",
    "credit",
    "digital",
    "product",
    "financial_behavior",
)
N_COMPONENTS = 20
SAMPLE_ROWS = 20_000
REG_COVAR = 1e-3
DEGENERATE_WEIGHT = 1e-3


def behaviour(features: FloatArray) -> FloatArray:
    """[n, columns of BEHAVIOUR] of normalised features [n, 734]."""
    return np.concatenate([features[:, PART_SLICES[p]] for p in BEHAVIOUR], axis=1)


@dataclass(frozen=True)
class GmmModel:
    """centre [c], axes [c, d] of the PCA (scaled to unit variance); weights [k], means [k, d], precision_chol [k, d, d]."""

    centre: Float64
    axes: Float64
    weights: Float64
    means: Float64
    precision_chol: Float64
    notes: tuple[str, ...] = ()

    def _log_joint(self, x: FloatArray) -> tuple[Float64, Float64]:
        """(log of weight times density, squared Mahalanobis distance), each [n, k]."""
        z = (x.astype(np.float64) - self.centre) @ self.axes
        d = z.shape[1]
        distance = np.stack([(((z - m) @ c) ** 2).sum(axis=1) for m, c in zip(self.means, self.precision_chol, strict=True)], 1)
        log_det = np.log(np.stack([np.diag(c) for c in self.precision_chol])).sum(axis=1)
        return np.log(self.weights) + log_det - 0.5 * (d * np.log(2 * np.pi) + distance), distance

    def posterior(self, x: FloatArray) -> FloatArray:
        """[n, k] probabilities of the components for behaviour columns x [n, c]."""
        return _softmax(self._log_joint(x)[0]).astype(np.float32)

    def columns(self, x: FloatArray) -> FloatArray:
        """[n, 22] of the schema part `gmm`: posteriors, Mahalanobis distance to the likeliest component, entropy."""
        log_joint, distance = self._log_joint(x)
        p = _softmax(log_joint)
        nearest = np.sqrt(np.take_along_axis(distance, p.argmax(axis=1)[:, None], axis=1))
        entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1, keepdims=True)
        return np.concatenate([p, nearest, entropy], axis=1).astype(np.float32)

    def arrays(self) -> dict[str, Float64]:
        return {k: getattr(self, k) for k in ("centre", "axes", "weights", "means", "precision_chol")}


def fit_gmm(x: FloatArray, *, n_components: int = N_COMPONENTS, dims: int = 16, seed: int = 0) -> GmmModel:
    """Fit on behaviour columns [n, c] of the training rows. Fewer rows than components: those left over stay without weight."""
    rng = np.random.default_rng(seed)
    rows = x[rng.permutation(len(x))[:SAMPLE_ROWS]].astype(np.float64)
    notes: list[str] = []
    usable = int((rows.std(axis=0) > 0).sum())
    d = max(1, min(dims, usable, len(rows) - 1))
    if len(rows) <= n_components:
        notes.append(f"gmm: {len(rows)} training rows for {n_components} components, too few: all rows are one segment")
        axes = np.zeros((x.shape[1], d))
        first = np.full(n_components, 1e-12)
        first[0] = 1.0
        eye = np.broadcast_to(np.eye(d), (n_components, d, d)).copy()
        return GmmModel(rows.mean(axis=0), axes, first / first.sum(), np.zeros((n_components, d)), eye, tuple(notes))
    pca = PCA(d, svd_solver="covariance_eigh", random_state=seed).fit(rows)
    axes = pca.components_.T / np.sqrt(np.maximum(pca.explained_variance_, 1e-9))
    z = (rows - pca.mean_) @ axes
    mixture = GaussianMixture(
        n_components,
        covariance_type="full",
        reg_covar=REG_COVAR,
        max_iter=60,
        n_init=1,
        init_params="k-means++",
        random_state=seed,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mixture.fit(z)
    if not mixture.converged_:
        notes.append(f"gmm: no convergence in {mixture.n_iter_} iterations ({len(caught)} warnings)")
    smallest = np.array([np.linalg.eigvalsh(c)[0] for c in mixture.covariances_])
    bad = np.flatnonzero((mixture.weights_ < DEGENERATE_WEIGHT) | (smallest <= 1.01 * REG_COVAR))
    if len(bad):
        notes.append(
            f"gmm: components {bad.tolist()} are degenerate"
            f" (weight below {DEGENERATE_WEIGHT} or covariance at the floor {REG_COVAR})"
        )
    weights = np.maximum(mixture.weights_, 1e-12)
    return GmmModel(
        np.asarray(pca.mean_), axes, weights / weights.sum(), np.asarray(mixture.means_),
        np.asarray(mixture.precisions_cholesky_), tuple(notes),
    )  # fmt: skip


def _softmax(x: Float64) -> Float64:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
