"""Uncertainty: what the evidential heads say, and whether it means anything.

Mergeable: histograms of uncertainty, evidence and equal-width reliability bins (Guo et al. 2017). On per-row arrays: adaptive
ECE (Nixon et al. 2019), Brier score, risk-coverage with AURC (Geifman & El-Yaniv 2017), AUROC of uncertainty for errors.
Definition used for ECE: binary tasks bin P(y = 1) against the observed rate; multiclass tasks bin the top probability against
accuracy. A bin is closed on the left, the last one on both sides, so that a confidence of exactly 1 counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, ratio

BINS = 15
UNCERTAINTY_BINS = 40


@dataclass(frozen=True, eq=False)
class TaskEvidence(Statistic):
    """One task. `uncertainty` is vacuity K/S (classes) or the epistemic variance, label standardised (regression)."""

    SAME = frozenset({"kind"})

    kind: str
    n: int
    uncertainty_sum: float
    histogram: Array
    """[UNCERTAINTY_BINS]: vacuity over [0, 1]; log10 of the epistemic variance over [-6, 2]."""
    zero_evidence: int
    """Rows whose head has practically no evidence (vacuity above 0.99)."""
    labelled: int
    """Labelled rows that state a probability."""
    bin_count: Array
    """[BINS] labelled rows by confidence of the shown (calibrated) probability."""
    bin_confidence: Array
    bin_hits: Array
    brier_sum: float
    lost: int = 0
    """Labelled rows whose probability is no number: each a gap of 1, and as wrong as can be."""

    @property
    def mean_uncertainty(self) -> float:
        return float(ratio(self.uncertainty_sum, self.n))

    @property
    def zero_share(self) -> float:
        return float(ratio(self.zero_evidence, self.n))

    @property
    def ece(self) -> float:
        """Expected calibration error over 15 equal-width bins; NaN without labels."""
        gap = np.abs(self.bin_confidence - self.bin_hits)
        return float(ratio(gap.sum() + self.lost, self.labelled + self.lost))

    @property
    def stated_ece(self) -> float:
        """The same of the rows that state a probability: whether the stated ones are right is another question than whether
        all are stated."""
        return float(ratio(np.abs(self.bin_confidence - self.bin_hits).sum(), self.labelled))

    @property
    def brier(self) -> float:
        worst = 1.0 if self.kind == "binary" else 2.0
        return float(ratio(self.brier_sum + worst * self.lost, self.labelled + self.lost))


def uncertainty_bins(kind: str) -> Array:
    """[UNCERTAINTY_BINS + 1] edges of the histogram."""
    return np.linspace(-6, 2, UNCERTAINTY_BINS + 1) if kind == "regression" else np.linspace(0, 1, UNCERTAINTY_BINS + 1)


def measure(
    kind: str,
    uncertainty: NDArray[np.floating],
    strength: NDArray[np.floating],
    probability: NDArray[np.floating] | None = None,
    label: NDArray[np.generic] | None = None,
) -> TaskEvidence:
    """uncertainty, strength: [B]; probability: [B] P(y=1) or [B, K]; label: [B] int, -1 where missing."""
    u, s = np.asarray(uncertainty, dtype=np.float64), np.asarray(strength, dtype=np.float64)
    ok = np.isfinite(u)
    u, s = u[ok], s[ok]
    edges = uncertainty_bins(kind)
    seen = np.log10(np.maximum(u, 1e-12)) if kind == "regression" else u
    at = np.searchsorted(edges, np.clip(seen, edges[0], edges[-1]), side="right") - 1
    histogram = np.bincount(np.minimum(at, UNCERTAINTY_BINS - 1), minlength=UNCERTAINTY_BINS).astype(np.float64)
    count: Array = np.zeros(BINS)
    confidence, hits, brier, labelled, lost = count, count, 0.0, 0, 0
    if probability is not None and label is not None and kind in ("binary", "multiclass"):
        y = np.asarray(label)
        p = np.asarray(probability, dtype=np.float64)
        known = (y >= 0) & np.isfinite(p if p.ndim == 1 else p.sum(-1))
        lost = int(((y >= 0) & ~known).sum())
        y, p = y[known].astype(int), p[known]
        labelled = len(y)
        conf, hit = confidence_and_hit(p, y)
        index = np.clip((conf * BINS).astype(int), 0, BINS - 1)
        count = np.bincount(index, minlength=BINS).astype(np.float64)
        confidence = np.bincount(index, conf, minlength=BINS).astype(np.float64)
        hits = np.bincount(index, hit, minlength=BINS).astype(np.float64)
        brier = float(((p - y) ** 2).sum()) if p.ndim == 1 else float(((p - np.eye(p.shape[1])[y]) ** 2).sum())
    return TaskEvidence(
        kind=kind,
        n=len(u),
        uncertainty_sum=float(u.sum()),
        histogram=histogram,
        zero_evidence=int((u > 0.99).sum()) if kind != "regression" else int((s < 1e-3).sum()),
        labelled=labelled,
        bin_count=count,
        bin_confidence=confidence,
        bin_hits=hits,
        brier_sum=brier,
        lost=lost,
    )


def confidence_and_hit(p: Array, y: NDArray[np.integer]) -> tuple[Array, Array]:
    """(confidence [n], hit [n]): (P(y=1), y) for a binary task, (top probability, correct) for a multiclass one."""
    if p.ndim == 1:
        return p, y.astype(np.float64)
    return p.max(-1), (p.argmax(-1) == y).astype(np.float64)


def adaptive_ece(confidence: Array, hit: Array, bins: int = BINS) -> float:
    """ECE over bins of equal count; NaN without rows."""
    n = len(confidence)
    if n == 0:
        return float("nan")
    order = np.argsort(confidence, kind="stable")
    pieces = np.array_split(order, min(bins, n))
    return float(sum(len(p) / n * abs(confidence[p].mean() - hit[p].mean()) for p in pieces if len(p)))


def risk_coverage(uncertainty: Array, error: Array) -> tuple[Array, Array]:
    """(coverage, risk): mean error among the most certain share of rows, ties in given order."""
    order = np.argsort(uncertainty, kind="stable")
    n = len(order)
    risk = np.cumsum(error[order]) / np.arange(1, n + 1)
    return np.arange(1, n + 1) / max(n, 1), risk


def aurc(uncertainty: Array, error: Array) -> tuple[float, float]:
    """(AURC, excess over the best possible ordering of the same errors)."""
    if len(error) == 0:
        return float("nan"), float("nan")
    value = float(risk_coverage(uncertainty, error)[1].mean())
    best = float(risk_coverage(error, error)[1].mean())
    return value, value - best
