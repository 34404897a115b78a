"""Hidden Markov vectors: dynamics by hand, the filter against hmmlearn, repairs told."""

from __future__ import annotations

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM

from ple_model.data.derived.hmm import HmmModel, dynamics, fit_hmm, repaired


def test_dynamics_of_a_two_state_chain_by_hand() -> None:
    p = np.array([[0.75, 0.25]])
    transition = np.array([[0.9, 0.1], [0.4, 0.6]])
    # Q = [[-.1, .1], [.4, -.4]]; pQ = [-.075 + .1, .075 - .1] = [.025, -.025]
    row_entropy = [-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)), -(0.4 * np.log(0.4) + 0.6 * np.log(0.6))]
    expected = [0.75 * 0.1 + 0.25 * 0.4, 0.025, 0.025, 0.05, 0.75 * row_entropy[0] + 0.25 * row_entropy[1], 1 - 0.5]
    assert dynamics(p, transition)[0] == pytest.approx(expected)
    halved = dynamics(p, transition, dt=0.5)[0]
    assert halved[[0, 1, 2, 3, 5]] == pytest.approx(2 * np.array(expected)[[0, 1, 2, 3, 5]])


def test_dynamics_of_a_three_state_cycle_by_hand() -> None:
    cycle = np.roll(np.eye(3), 1, axis=1)
    p = np.array([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    found = dynamics(p, cycle)
    assert found[0] == pytest.approx([1, 1, 1, 2, 0, 0])  # everything flows from state 0 to state 1
    assert found[1] == pytest.approx([1, 0, 0, 0, 0, 0])  # stationary


def chain(n: int, steps: int, seed: int = 0) -> np.ndarray:
    """[n, steps, 2] of a sticky two-state chain with well separated emissions."""
    rng = np.random.default_rng(seed)
    flips = rng.random((n, steps)) < 0.1
    state = np.cumsum(flips, axis=1) % 2
    return (np.where(state, 4.0, -4.0)[:, :, None] + rng.normal(size=(n, steps, 2))).astype(np.float32)


def test_the_filter_equals_hmmlearns_posterior_at_the_last_step() -> None:
    x = chain(30, 25)
    model = fit_hmm(x, name="test", n_states=3)
    oracle = GaussianHMM(3, covariance_type="diag")
    oracle.startprob_, oracle.transmat_, oracle.means_ = model.start, model.transition, model.mean
    oracle.covars_ = model.var
    z = (x - model.centre) / model.scale
    expected = np.stack([oracle.predict_proba(row)[-1] for row in z])
    assert model.posterior(x) == pytest.approx(expected, abs=1e-6)
    vectors = fit_hmm(x, name="test").vectors(x)
    assert vectors.shape == (30, 16)
    assert vectors[:, :10].sum(axis=1) == pytest.approx(np.ones(30), abs=1e-5)


def test_a_sticky_chain_is_found() -> None:
    model = fit_hmm(chain(60, 40), name="test", n_states=2)
    assert np.diag(model.transition) == pytest.approx([0.9, 0.9], abs=0.03)


def test_an_empty_state_and_nan_rows_are_repaired_and_told() -> None:
    transition = np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 0.0]])
    transition[1] = np.nan
    mean = np.array([[0.0], [1.0], [np.nan]])
    bare = HmmModel(np.array([1.0, 0, 0]), transition, mean, np.ones((3, 1)), np.zeros(1), np.ones(1))
    model = repaired(bare, "journey", np.array([0.5, 0.5, 0.0]))
    assert model.transition[1:] == pytest.approx(np.full((2, 3), 1 / 3))
    assert np.isfinite(model.vectors(np.zeros((2, 4, 1), np.float32))).all()
    text = " ".join(model.notes)
    assert "transition rows of states [1, 2]" in text
    assert "emissions of states [2]" in text
    assert "1 of 3 states of customers' behaviour are all but unused (numbers [2]" in text


def test_constant_observations_do_not_break_the_fit() -> None:
    x = np.zeros((20, 10, 3), np.float32)
    model = fit_hmm(x, name="silent")
    assert np.isfinite(model.vectors(x)).all()
    assert model.notes


def test_an_impossible_observation_keeps_the_posterior_a_distribution() -> None:
    model = fit_hmm(chain(30, 25), name="test")
    far = np.full((1, 25, 2), 1e6, np.float32)
    assert model.posterior(far).sum() == pytest.approx(1)


def test_the_decoded_months_are_those_of_hmmlearn() -> None:
    x = chain(40, 12)
    model = fit_hmm(x, name="test", n_states=3)
    other = GaussianHMM(n_components=3, covariance_type="diag", implementation="log")
    other.startprob_, other.transmat_ = model.start, model.transition
    other.means_, other.covars_ = model.mean, model.var
    ours = model.decoded(x)
    scaled = (x.astype(np.float64) - model.centre) / model.scale
    assert len(np.unique(ours)) > 1
    for path, seen in zip(ours, scaled, strict=True):
        assert path.tolist() == other.decode(seen, algorithm="viterbi")[1].tolist()
