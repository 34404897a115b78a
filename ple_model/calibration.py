"""Calibration of binary outputs: tower p -> probability (Kull, Silva Filho & Flach 2017, "Beta calibration").

The focal loss does not yield probabilities: at a base rate of 3.8% its optimum sits near 0.17. The map is fitted on the
validation split and stored with the run; every p that is shown, every ECE and every threshold uses the calibrated value.

Why beta calibration and not isotonic regression or Platt scaling: rare tasks have tens of positives, on which isotonic
regression overfits and ties ranks; the distortion of a focal loss is not a sigmoid in p, which is Platt's form on scores,
and Platt's family does not hold the identity. Three parameters `sigmoid(a ln p - b ln(1 - p) + c)` with a, b > 0 are
strictly monotone, so AUC does not change, and hold the identity at a = b = 1, c = 0. With fewer than `FEW` positives or
negatives only the intercept is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ple_model.errors import UserError
from ple_model.metrics import expected_calibration_error

FEW = 20
"""Fewer positives or negatives than this: a shift of the log-odds only."""
RIDGE = 1.0
"""Pull of (a, b) towards 1, in units of one observation's log-likelihood: keeps the fit finite on separable data."""
EPS = 1e-7
MIN_SLOPE = 1e-3

Form = Literal["beta", "shift", "identity"]


@dataclass(frozen=True)
class CalibrationMap:
    """p -> sigmoid(a ln p - b ln(1 - p) + c), with what it was fitted on and how far it helped there."""

    form: Form = "identity"
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    n: int = 0
    positives: int = 0
    ece_before: float | None = None
    ece_after: float | None = None

    def __call__(self, p: ArrayLike) -> NDArray[np.float64]:
        """Calibrated probabilities, same shape as `p`; monotone in p."""
        from scipy.special import expit  # late: scipy

        q = np.clip(np.asarray(p, dtype=np.float64), EPS, 1 - EPS)
        if self.form == "identity":
            return q
        return np.asarray(expit(self.a * np.log(q) - self.b * np.log1p(-q) + self.c))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> CalibrationMap:
        found = CalibrationMap(**raw)
        numbers = (found.a, found.b, found.c)
        if found.form not in ("beta", "shift", "identity") or not all(np.isfinite(float(v)) for v in numbers):
            raise ValueError(f"not a calibration map: {dict(raw)}")
        if found.a < 0 or found.b < 0 or found.a + found.b == 0:
            raise ValueError("a calibration map must rise with p")
        return found


def fit_calibration(p: ArrayLike, y: ArrayLike) -> CalibrationMap:
    """The map for tower outputs `p` [n] in (0, 1) and labels `y` [n] in {0, 1}. No rows: the identity.

    Outputs that are no numbers say nothing of the map and are left out; `UserError` where there are no others."""
    raw, label = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    known = np.isfinite(raw)
    if len(raw) and not known.any():
        raise UserError(f"no calibration can be fitted: none of the {len(raw):,} outputs is a number")
    q, label = np.clip(raw[known], EPS, 1 - EPS), label[known]
    n, positives = len(q), int(label.sum())
    if n == 0:
        return CalibrationMap()
    form: Form
    if min(positives, n - positives) < FEW:
        form, (a, b, c) = "shift", (1.0, 1.0, _shift(q, positives, n))
    else:
        form, (a, b, c) = "beta", _fit_beta(q, label)
    found = CalibrationMap(form, a, b, c, n, positives)
    before, after = expected_calibration_error(label, q), expected_calibration_error(label, found(q))
    return CalibrationMap(form, a, b, c, n, positives, before, after)


def _shift(q: NDArray[np.float64], positives: int, n: int) -> float:
    """The intercept at which the mean calibrated p is the (Krichevsky-Trofimov smoothed) share of positives."""
    target = (positives + 0.5) / (n + 1.0)
    from scipy.optimize import brentq  # late: scipy.optimize, for a fit alone
    from scipy.special import expit, logit  # late: scipy

    odds = logit(q)

    def gap(c: float) -> float:
        return float(expit(odds + c).mean()) - target

    return float(brentq(gap, -60.0, 60.0))


def _fit_beta(q: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Maximum likelihood of (a, b, c) with a, b >= MIN_SLOPE and a weak pull of both towards 1; the problem is convex."""
    from scipy.optimize import minimize  # late: scipy.optimize, for a fit alone
    from scipy.special import expit  # late: scipy

    x = np.stack([np.log(q), -np.log1p(-q), np.ones_like(q)], axis=1)

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = x @ theta
        slope = theta[:2] - 1.0
        value = float(np.logaddexp(0.0, z).sum() - (y * z).sum() + 0.5 * RIDGE * (slope**2).sum())
        gradient = x.T @ (expit(z) - y)
        gradient[:2] += RIDGE * slope
        return value, gradient

    start = np.array([1.0, 1.0, _shift(q, int(y.sum()), len(y))])
    bounds = [(MIN_SLOPE, None), (MIN_SLOPE, None), (None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-12})
    a, b, c = (float(v) for v in found.x)
    return a, b, c
