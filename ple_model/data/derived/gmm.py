"""Customer segments: a Gaussian mixture of 20 components (scikit-learn) on a PCA of the behaviour columns.

It reads the normalised parts `BEHAVIOUR` of `features` (what the customer does, not what models say of it), reduced to at
most 16 principal components, and is fitted on a bounded sample of training rows (reference, "GMM clusters"). A component that
holds almost no rows, or whose covariance sits at the regularisation floor, is degenerate and reported in `notes`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ple_model.data.build.folds import FOLDS
from ple_model.schema import PART_SLICES

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
Folds = NDArray[np.int8]
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
FOLD_STEPS = (10, 40)
"""Least and most steps from the common components to those of a fold; between them as many as visit `FOLD_VISITS` rows."""
FOLD_VISITS = 200_000
ARRAYS = ("centre", "axes", "weights", "means", "precision_chol")
FOLD_ARRAYS = ("fold_weights", "fold_means", "fold_precision_chol")


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
    fold_weights: Float64 | None = None
    """[folds, k], and below [folds, k, d] and [folds, k, d, d]: the same components, as the rows of the other folds have them;
    None in a run from before there were folds."""
    fold_means: Float64 | None = None
    fold_precision_chol: Float64 | None = None

    def _log_joint(self, x: FloatArray, fold: Folds | None) -> tuple[Float64, Float64]:
        """(log of weight times density, squared Mahalanobis distance), each [n, k]."""
        z = (x.astype(np.float64) - self.centre) @ self.axes
        if fold is None or self.fold_weights is None or self.fold_means is None or self.fold_precision_chol is None:
            return _log_joint(z, self.weights, self.means, self.precision_chol)
        joint, distance = (np.zeros((len(z), len(self.weights))) for _ in range(2))
        for f, parameters in enumerate(zip(self.fold_weights, self.fold_means, self.fold_precision_chol, strict=True)):
            joint[fold == f], distance[fold == f] = _log_joint(z[fold == f], *parameters)
        return joint, distance

    def posterior(self, x: FloatArray, fold: Folds | None = None) -> FloatArray:
        """[n, k] probabilities of the components for behaviour columns x [n, c] of customers in `fold` [n]."""
        return _softmax(self._log_joint(x, fold)[0]).astype(np.float32)

    def columns(self, x: FloatArray, fold: Folds | None = None) -> FloatArray:
        """[n, 22] of the schema part `gmm`: posteriors, Mahalanobis distance to the likeliest component, entropy."""
        log_joint, distance = self._log_joint(x, fold)
        p = _softmax(log_joint)
        nearest = np.sqrt(np.take_along_axis(distance, p.argmax(axis=1)[:, None], axis=1))
        entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1, keepdims=True)
        return np.concatenate([p, nearest, entropy], axis=1).astype(np.float32)

    def folds_fit(self, folds: int) -> bool:
        """The components of every fold have the shapes of the common ones, or there are none."""
        pairs = ((getattr(self, of), getattr(self, name)) for of, name in zip(ARRAYS[2:], FOLD_ARRAYS, strict=True))
        return self.fold_weights is None or all(f is not None and f.shape == (folds, *one.shape) for one, f in pairs)

    def arrays(self) -> dict[str, Float64]:
        return {k: getattr(self, k) for k in (*ARRAYS, *(FOLD_ARRAYS if self.fold_weights is not None else ()))}


def _log_joint(z: Float64, weights: Float64, means: Float64, precision_chol: Float64) -> tuple[Float64, Float64]:
    d = z.shape[1]
    distance = np.stack([(((z - m) @ c) ** 2).sum(axis=1) for m, c in zip(means, precision_chol, strict=True)], 1)
    log_det = np.log(np.stack([np.diag(c) for c in precision_chol])).sum(axis=1)
    return np.log(weights) + log_det - 0.5 * (d * np.log(2 * np.pi) + distance), distance


def fit_gmm(
    x: FloatArray, *, fold: Folds | None = None, n_components: int = N_COMPONENTS, dims: int = 16, seed: int = 0
) -> GmmModel:
    """Fit on behaviour columns [n, c] of the training rows, whose customers are in `fold` [n] (None: one model for everybody).

    A component's shape follows the rows it was fitted on: 153 numbers from perhaps a hundred rows, to which training rows then
    lie nearer than any other. Every fold therefore gets the components as the other folds' rows shape them: some steps of
    expectation and maximisation from the common model, so that a component keeps its number (one step still remembers the
    start: on a bank of 1,100 training customers the entropy told them from others at p = 0.003, after ten above 0.05; 480 rows
    of 40 columns take about forty). Fewer rows than components: those left over stay without weight.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(x))[:SAMPLE_ROWS]
    rows = x[chosen].astype(np.float64)
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
    from sklearn.decomposition import PCA  # late: scikit-learn, for a fit alone
    from sklearn.mixture import GaussianMixture  # late: scikit-learn

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
            f"gmm: {len(bad)} of {n_components} customer clusters hold almost nobody (numbers {bad.tolist()}: weight below"
            f" {DEGENERATE_WEIGHT} or covariance at the floor {REG_COVAR}); usual where customers are few or much alike, and"
            " harmless: hardly any customer is assigned to them"
        )
    weights = np.maximum(mixture.weights_, 1e-12)
    model = GmmModel(
        np.asarray(pca.mean_), axes, weights / weights.sum(), np.asarray(mixture.means_),
        np.asarray(mixture.precisions_cholesky_), tuple(notes),
    )  # fmt: skip
    return model if fold is None else _by_fold(model, z, fold[chosen])


def _by_fold(model: GmmModel, z: Float64, fold: Folds) -> GmmModel:
    """The model with the components of every fold, from the rows z [n, d] of the others."""
    found = []
    for f in range(FOLDS):
        others = z[fold != f]
        parameters = (model.weights, model.means, model.precision_chol)
        for _ in range(int(np.clip(FOLD_VISITS // len(others), *FOLD_STEPS)) if len(others) else 0):
            parameters = _maximised(others, _softmax(_log_joint(others, *parameters)[0]))
        found.append(parameters)
    weights, means, chol = (np.stack(p) for p in zip(*found, strict=True))
    return replace(model, fold_weights=weights, fold_means=means, fold_precision_chol=chol)


def _maximised(z: Float64, responsibility: Float64) -> tuple[Float64, Float64, Float64]:
    """(weights [k], means [k, d], Cholesky factors of the precisions [k, d, d]): scikit-learn's maximisation step."""
    size = responsibility.sum(axis=0) + 10 * np.finfo(np.float64).eps
    means = responsibility.T @ z / size[:, None]
    chol = []
    for k, mean in enumerate(means):
        covariance = (responsibility[:, k, None] * z).T @ z / size[k] - np.outer(mean, mean) + REG_COVAR * np.eye(z.shape[1])
        chol.append(np.linalg.inv(np.linalg.cholesky(covariance)).T)
    weights = np.maximum(size / size.sum(), 1e-12)
    return weights / weights.sum(), means, np.stack(chol)


def _softmax(x: Float64) -> Float64:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
