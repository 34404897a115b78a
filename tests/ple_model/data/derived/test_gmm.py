"""The mixture: posteriors equal scikit-learn's, degenerate components are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.mixture import GaussianMixture

from ple_model.data.build.folds import FOLDS, fold_of, folds_of
from ple_model.data.derived.gmm import fit_gmm


def blobs(n: int = 600, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 8, (4, 6))
    return (centres[rng.integers(0, 4, n)] + rng.normal(size=(n, 6))).astype(np.float32)


def test_posteriors_equal_scikit_learns() -> None:
    x = blobs()
    model = fit_gmm(x, n_components=4)
    oracle = GaussianMixture(4, covariance_type="full")
    oracle.weights_, oracle.means_, oracle.precisions_cholesky_ = model.weights, model.means, model.precision_chol
    z = (x - model.centre) @ model.axes
    assert model.posterior(x) == pytest.approx(oracle.predict_proba(z), abs=1e-5)


def test_separate_groups_get_separate_components() -> None:
    x = blobs()
    p = fit_gmm(x, n_components=4).posterior(x)
    assert (p.max(axis=1) > 0.99).mean() > 0.95
    assert len(np.unique(p.argmax(axis=1))) == 4


def test_columns_are_posteriors_distance_and_entropy() -> None:
    x = blobs()
    model = fit_gmm(x)
    columns = model.columns(x)
    assert columns.shape == (600, 22)
    p = columns[:, :20]
    assert columns[:, 21] == pytest.approx(-(p * np.log(np.maximum(p, 1e-30))).sum(axis=1), abs=1e-4)
    k = p[0].argmax()
    z = ((x[0] - model.centre) @ model.axes - model.means[k]) @ model.precision_chol[k]
    assert columns[0, 20] == pytest.approx(np.linalg.norm(z), rel=1e-5)


def test_a_degenerate_component_is_told() -> None:
    x = np.concatenate([blobs(300), np.full((200, 6), 30.0, np.float32)])
    assert any("hold almost nobody" in note for note in fit_gmm(x, n_components=6).notes)


def test_too_few_rows_make_one_segment_and_say_so() -> None:
    x = blobs(5)
    model = fit_gmm(x)
    assert model.posterior(x).argmax(axis=1).tolist() == [0] * 5
    assert "too few" in model.notes[0]


def test_training_rows_lie_no_nearer_to_their_components_than_others() -> None:
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(1600, 24)) @ rng.normal(size=(24, 24))).astype(np.float32)
    fold = folds_of([f"c{i}" for i in range(len(x))])
    model = fit_gmm(x[:1200], fold=fold[:1200])
    of = {"folds": model.columns(x, fold), "no folds": fit_gmm(x[:1200]).columns(x)}
    p = {k: [ks_2samp(v[:1200, j], v[1200:, j]).pvalue for j in range(22)] for k, v in of.items()}
    assert min(p["folds"]) > 0.01 / 22
    assert p["no folds"][20] < 1e-6  # the distance: own rows shaped the components
    same = fold_of("c0")
    assert (fold == same).any()
    assert model.posterior(x[:1], fold[:1]) == pytest.approx(of["folds"][:1, :20])


def test_folds_of_other_components_are_known_by_their_shape() -> None:
    x = blobs(300)
    model = fit_gmm(x, fold=folds_of([f"c{i}" for i in range(300)]), n_components=6)
    assert model.folds_fit(FOLDS)
    assert fit_gmm(x, n_components=6).folds_fit(FOLDS)
    assert model.fold_means is not None
    assert not replace(model, fold_means=model.fold_means[:, :3]).folds_fit(FOLDS)
    assert not replace(model, fold_precision_chol=None).folds_fit(FOLDS)
