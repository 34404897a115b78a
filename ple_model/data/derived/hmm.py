"""Hidden Markov models of the journey (daily), lifecycle and behaviour (monthly): 10 state probabilities and 6 dynamics a row.

Gaussian emissions (diagonal), fitted with hmmlearn on a bounded sample of training rows; at the cut-off the posterior over
states is the filtered distribution of the last step, computed for all rows at once. The dynamics are those of dp/dt = pQ with
Q = (P - I) / dt, dt one step (reference, "HMM Triple-Mode"): exit rate -sum_i p_i Q_ii, largest inflow max_j (pQ)_j, largest
outflow max_j -(pQ)_j, L1 norm of pQ, entropy rate -sum_i p_i sum_j P_ij ln P_ij, and the spectral gap (1 - |second eigenvalue
of P|) / dt.

hmmlearn leaves a state that no step visits with a transition row of zeros or NaN, and may leave NaN emissions. Such a row
becomes uniform, such an emission that of all data; both are reported in `notes`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
N_STATES = 10
SAMPLE_STEPS = 30_000
MIN_COVAR = 0.05
EMPTY_SHARE = 1e-4


@dataclass(frozen=True)
class HmmModel:
    """start [k], transition [k, k], mean [k, d], var [k, d] on observations standardised by centre [d] and scale [d]."""

    start: Float64
    transition: Float64
    mean: Float64
    var: Float64
    centre: Float64
    scale: Float64
    notes: tuple[str, ...] = ()

    def posterior(self, observations: FloatArray) -> Float64:
        """[n, k] state probabilities at the last step of [n, steps, d]."""
        p = np.asarray(np.broadcast_to(self.start, (len(observations), len(self.start))))
        for p in self.filtered(observations):  # noqa: B007, the last one stays
            pass
        return p

    def filtered(self, observations: FloatArray) -> Iterator[Float64]:
        """[n, k] state probabilities after each step of [n, steps, d]: the forward filter, scaled at each step."""
        x = (observations.astype(np.float64) - self.centre) / self.scale
        log_var = np.log(self.var).sum(axis=1)
        p = np.broadcast_to(self.start, (len(x), len(self.start)))
        for t in range(x.shape[1]):
            if t:
                p = p @ self.transition
            quadratic = (x[:, t] ** 2) @ (1 / self.var).T - 2 * x[:, t] @ (self.mean / self.var).T
            log_b = -0.5 * (quadratic + (self.mean**2 / self.var).sum(axis=1) + log_var)
            p = p * np.exp(log_b - log_b.max(axis=1, keepdims=True))
            total = p.sum(axis=1, keepdims=True)
            # every state impossible in float: the observation decides alone
            p = np.where(total > 0, p / np.where(total > 0, total, 1), _softmax(log_b))
            yield p

    def decoded(self, observations: FloatArray) -> NDArray[np.int64]:
        """[n, steps] the most probable sequence of states of [n, steps, d] (Viterbi 1967)."""
        log_start, log_move = (np.log(np.maximum(p, np.finfo(np.float64).tiny)) for p in (self.start, self.transition))
        seen = self._log_emissions(observations)
        score = log_start + seen[:, 0]
        came: list[NDArray[np.int64]] = []
        for t in range(1, seen.shape[1]):
            ways = score[:, :, None] + log_move
            came.append(ways.argmax(axis=1))
            score = ways.max(axis=1) + seen[:, t]
        path = [score.argmax(axis=1)]
        for back in reversed(came):
            path.append(np.take_along_axis(back, path[-1][:, None], axis=1)[:, 0])
        return np.stack(path[::-1], axis=1)

    def _log_emissions(self, observations: FloatArray) -> Float64:
        """[n, steps, k] but for what is the same for every state."""
        x = (observations.astype(np.float64) - self.centre) / self.scale
        distance = (x**2) @ (1 / self.var).T - 2 * x @ (self.mean / self.var).T + (self.mean**2 / self.var).sum(axis=1)
        return np.asarray(-0.5 * (distance + np.log(self.var).sum(axis=1)))

    def vectors(self, observations: FloatArray) -> FloatArray:
        """[n, 16]: the posterior and its dynamics."""
        p = self.posterior(observations)
        return np.concatenate([p, dynamics(p, self.transition)], axis=1).astype(np.float32)

    def arrays(self) -> dict[str, Float64]:
        return {k: getattr(self, k) for k in ("start", "transition", "mean", "var", "centre", "scale")}


def dynamics(p: Float64, transition: Float64, dt: float = 1.0) -> Float64:
    """[n, 6] of the module docstring for state distributions p [n, k] and a stochastic matrix [k, k]."""
    q = (transition - np.eye(len(transition))) / dt
    flow = p @ q
    safe = np.where(transition > 0, transition, 1.0)
    row_entropy = -(transition * np.log(safe)).sum(axis=1)
    moduli = np.sort(np.abs(np.linalg.eigvals(transition)))
    gap = (1.0 - moduli[-2]) / dt if len(moduli) > 1 else 1.0 / dt
    return np.stack(
        [
            -(p @ np.diag(q)),
            np.maximum(flow.max(axis=1), 0.0),
            np.maximum((-flow).max(axis=1), 0.0),
            np.abs(flow).sum(axis=1),
            p @ row_entropy,
            np.full(len(p), gap),
        ],
        axis=1,
    )


def fit_hmm(observations: FloatArray, *, name: str, n_states: int = N_STATES, seed: int = 0, iterations: int = 25) -> HmmModel:
    """Fit on [n, steps, d] (a sample of at most `SAMPLE_STEPS` steps is used)."""
    rng = np.random.default_rng(seed)
    n, steps, width = observations.shape
    rows = rng.permutation(n)[: max(1, SAMPLE_STEPS // steps)]
    x = observations[rows].astype(np.float64)
    flat = x.reshape(-1, width)
    centre, scale = flat.mean(axis=0), flat.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    flat = (flat - centre) / scale
    from hmmlearn.hmm import GaussianHMM  # late: hmmlearn brings scikit-learn, for a fit alone

    model = GaussianHMM(
        n_components=n_states, covariance_type="diag", min_covar=MIN_COVAR, n_iter=iterations, tol=1e-2 * len(flat) / 1000,
        random_state=seed, implementation="scaling",
    )  # fmt: skip
    logging.getLogger("hmmlearn").setLevel(logging.CRITICAL)  # its warnings are told in `notes`
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # spread starting points: k-means of mostly silent days would start several states at zero
        distinct = np.unique(np.round(flat, 2), axis=0)
        pick = distinct[rng.permutation(len(distinct))[:n_states]]
        model.init_params = "stc"
        model.means_ = np.concatenate([pick, flat[rng.integers(0, len(flat), n_states - len(pick))]])
        try:
            model.fit(flat, [steps] * len(rows))
            share = model.predict_proba(flat, [steps] * len(rows)).mean(axis=0)
            start, transition = np.asarray(model.startprob_), np.asarray(model.transmat_)
            mean, var = np.asarray(model.means_), np.asarray(model._covars_)
        except ValueError:  # hmmlearn refuses parameters that went NaN on the way
            start, transition = np.full(n_states, np.nan), np.full((n_states, n_states), np.nan)
            mean, var, share = np.full((n_states, width), np.nan), np.full((n_states, width), np.nan), np.zeros(n_states)
    return repaired(HmmModel(start, transition, mean, var, centre, scale), name, share)


def repaired(model: HmmModel, name: str, share: Float64) -> HmmModel:
    """The model with every number finite and every row a distribution; what was mended is in `notes`."""
    notes: list[str] = []
    k = len(model.start)
    start, transition, mean, var = model.start.copy(), model.transition.copy(), model.mean.copy(), model.var.copy()
    rows = ~np.isfinite(transition).all(axis=1) | (np.nan_to_num(transition).sum(axis=1) <= 0)
    transition[rows] = 1.0 / k
    transition = np.maximum(transition, 0) / np.maximum(transition, 0).sum(axis=1, keepdims=True)
    if rows.any():
        notes.append(f"hmm {name}: transition rows of states {np.flatnonzero(rows).tolist()} were empty or NaN, made uniform")
    bad = ~(np.isfinite(mean).all(axis=1) & np.isfinite(var).all(axis=1) & (np.nan_to_num(var) > 0).all(axis=1))
    mean[bad], var[bad] = 0.0, 1.0
    if bad.any():
        notes.append(
            f"hmm {name}: emissions of states {np.flatnonzero(bad).tolist()} were not finite, set to those of all data"
        )
    if not np.isfinite(start).all() or start.sum() <= 0:
        start = np.full(k, 1.0 / k)
        notes.append(f"hmm {name}: start probabilities were not finite, made uniform")
    empty = np.flatnonzero(~(share > EMPTY_SHARE))
    if len(empty):
        notes.append(
            f"hmm {name}: {len(empty)} of {k} states of customers' behaviour are all but unused (numbers {empty.tolist()}: less"
            f" than {EMPTY_SHARE:.2%} of the steps); usual where customers are few or their histories short, and harmless"
        )
    return HmmModel(start / start.sum(), transition, mean, np.maximum(var, MIN_COVAR), model.centre, model.scale, tuple(notes))


def _softmax(x: Float64) -> Float64:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
