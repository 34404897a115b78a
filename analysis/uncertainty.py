"""When does the model not know, and does its uncertainty mean anything? From the stored scalars of one cohort; no torch.

The evidential head's vacuity or variance is set against the errors of the shown (tower, calibrated) prediction on labelled rows
that did not train the model: reliability (Guo et al. 2017; Nixon et al. 2019), risk against coverage (Geifman & El-Yaniv 2017),
AUROC of uncertainty for errors, calibration of NIG intervals by the probability integral transform (Amini et al. 2020; Kuleshov
et al. 2018), and the fallback chooser's table. Too few labels are "unknown", never "fine". What evidential learning cannot
promise: vacuity is trained by a regulariser and need not grow away from the data (Ulmer et al. 2023; Bengs et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.results.uncertainty import (
    Array,
    Choice,
    CohortUncertainty,
    Decomposition,
    IntervalCalibration,
    Reliability,
    RiskCoverage,
    Simplex,
    TaskUncertainty,
)
from analysis.stats import evidence
from ple_model.errors import UserError, did_you_mean
from ple_model.metrics import auc
from ple_model.wilson import wilson

if TYPE_CHECKING:
    from analysis.cohort import CohortFilter
    from analysis.store import AnalysisStore

MIN_LABELS = 50
"""Labelled rows below which nothing is judged."""
MIN_EVENTS = 10
"""Positives and negatives (errors and hits) below which nothing is judged."""
MIN_BIN = 1
LIMIT = 100_000
"""Rows that are read: a seeded sample where the cohort is larger."""
CURVE = 200
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))
COVERAGES = tuple(round(0.5 + 0.025 * i, 3) for i in range(21))
GRID = 16
"""Cells along a side of the simplex."""


@dataclass(frozen=True, eq=False)
class _CohortRows:
    """Scalars of the cohort; label, error and PIT are NaN where there is no usable label."""

    kind: str
    segment: NDArray[Any]
    cluster: NDArray[Any]
    u: Array
    p: Array
    y: Array
    error: Array
    wrong: Array
    aleatoric: Array | None
    pit: Array | None
    classes: Array | None
    lost: NDArray[np.bool_]
    """Labelled rows whose prediction is no number: certain and wrong, whatever the head says (see `ple_model.metrics`)."""

    @property
    def judged(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.error) & (np.isfinite(self.u) | self.lost))

    @property
    def certainty(self) -> Array:
        """`u` for an order of the judged rows: a lost one stands among the most certain."""
        return np.where(self.lost, -np.inf, self.u)


def uncertainty(store: AnalysisStore, task: str, filters: Sequence[CohortFilter] = ()) -> TaskUncertainty:
    """Everything the page shows of `task` for the rows that pass `filters`. `UserError` for a task without an evidential
    head."""
    r = _read(store, task, filters)
    seen = np.isfinite(r.u)
    n, used = int(seen.sum()), r.judged
    labelled = int(used.sum())
    reason = _too_few(r, labelled)
    logs = r.kind == "regression"
    values = np.log10(np.maximum(r.u[seen], 1e-12)) if logs else r.u[seen]
    edges = np.histogram_bin_edges(values, bins=40) if logs else np.linspace(0, 1, 41)
    return TaskUncertainty(
        task=task,
        kind=r.kind,
        n=n,
        labelled=labelled,
        state="unknown" if reason else "ok",
        reason=reason,
        cohorts=_groups(r.segment, r.u),
        by_cluster=_groups(r.cluster, r.u),
        edges=edges,
        histogram=np.histogram(values, edges)[0].astype(np.int64),
        reliability=(
            reliability(r.kind, r.p[used], r.y[used], 1 - r.wrong[used], r.lost[used]) if not reason and not logs else None
        ),
        risk=None if reason else risk(r.certainty[used], r.error[used], r.wrong[used] > 0.5),
        decomposition=_decomposition(r, logs=logs),
        intervals=None if r.pit is None or np.isfinite(r.pit).sum() < MIN_LABELS else intervals(r.pit[np.isfinite(r.pit)]),
        simplex=_simplex(store, task, r),
        choices=tuple(_choice(r, t) for t in _thresholds(r.u[seen])),
    )


def reliability(kind: str, p: Array, y: Array, hit: Array, lost: NDArray[np.bool_] | None = None) -> Reliability:
    """p [n] shown probability (binary: of y = 1; multiclass: of the top class), y [n] label, hit [n] 0 or 1 (multiclass), lost
    [n] whose p stands for a prediction that is no number: a gap of 1 each, and in no bin."""
    observed = y if kind == "binary" else hit
    gone = int(lost.sum()) if lost is not None else 0
    q = np.clip(p, 1e-7, 1 - 1e-7)
    squared, logarithm = (p - observed) ** 2, -(observed * np.log(q) + (1 - observed) * np.log1p(-q))
    total = max(len(p), 1)
    if lost is not None and gone:
        p, observed = p[~lost], observed[~lost]
    index = np.clip((p * evidence.BINS).astype(int), 0, evidence.BINS - 1)
    count = np.bincount(index, minlength=evidence.BINS)
    confidence = np.bincount(index, p, minlength=evidence.BINS)
    hits = np.bincount(index, observed, minlength=evidence.BINS)
    full = count >= MIN_BIN
    c, share = count[full], hits[full] / count[full]
    low, high = wilson(hits[full], c)
    adaptive = evidence.adaptive_ece(p, observed) if len(p) else 0.0
    return Reliability(
        shown=confidence[full] / c,
        observed=share,
        count=c.astype(np.int64),
        low=low,
        high=high,
        ece=float((np.abs(confidence - hits).sum() + gone) / total),
        adaptive_ece=float((adaptive * len(p) + gone) / total),
        brier=float(squared.mean()),
        nll=float(logarithm.mean()),
    )


def risk(u: Array, error: Array, wrong: NDArray[np.bool_]) -> RiskCoverage:
    """u, error, wrong: [n], n > 0."""
    coverage, by_u = evidence.risk_coverage(u, error)
    best = evidence.risk_coverage(error, error)[1]
    area, excess = evidence.aurc(u, error)
    keep = np.unique(np.linspace(0, len(coverage) - 1, CURVE).astype(int))
    few = min(int(wrong.sum()), int((~wrong).sum())) < MIN_EVENTS
    auroc = float("nan") if few else auc(wrong, u)
    return RiskCoverage(coverage[keep], by_u[keep], best[keep], float(error.mean()), area, excess, auroc)


def intervals(pit: Array) -> IntervalCalibration:
    """pit [n]: the predictive distribution's value at the label; uniform where it is calibrated."""
    nominal = np.array(LEVELS)
    observed = np.array([float(np.mean(np.abs(pit - 0.5) <= level / 2)) for level in LEVELS])
    counts = np.histogram(pit, bins=20, range=(0, 1))[0].astype(np.int64)
    return IntervalCalibration(nominal, observed, counts, float(np.abs(observed - nominal).mean()))


def judged_split(store: AnalysisStore) -> str:
    """The split whose labels are judged, by the table of every task as by reliability, risk and thresholds."""
    return str(store.meta.get("judged_split", "test"))


def _read(store: AnalysisStore, task: str, filters: Sequence[CohortFilter]) -> _CohortRows:
    heads = [c[2:] for c in store.columns if c.startswith("u:")]
    if task not in heads:
        raise UserError(f"task '{task}' has no uncertainty in this analysis{did_you_mean(task, heads)}")
    kind = store.statistics.facts.kinds[task]
    classes = [c for c in store.columns if c.startswith(f"s:{task}:")]
    wanted = ["segment", "cluster", "split", *(f"{kind_of}:{task}" for kind_of in "upycaq"), *classes]
    raw = store.rows([c for c in wanted if c in store.columns], filters, limit=LIMIT)

    def number(name: str) -> Array | None:
        if name not in raw:
            return None
        return np.asarray(raw[name], dtype=np.float64)

    u, p = number(f"u:{task}"), number(f"p:{task}")
    assert u is not None
    assert p is not None
    y = number(f"y:{task}")
    y = np.full(len(u), np.nan) if y is None else y
    # labels of rows that trained the model flatter it; the rows of the page's table are those of the judged split
    y = np.where(
        (raw["split"] == "train") | (raw["split"] != judged_split(store)) | (y < 0 if kind != "regression" else False),
        np.nan,
        y,
    )
    lost = np.isfinite(y) & ~np.isfinite(p)
    if kind == "binary":
        p = np.where(np.isfinite(p), p, 1.0 - y)  # a prediction that is no number is a miss, see ple_model.metrics
        error = np.abs(p - y)
        wrong = np.where(np.isfinite(y), (p >= 0.5) != (y >= 0.5), np.nan).astype(np.float64)
    elif kind == "regression":
        error = np.abs(p - y)
        middle = np.nanmedian(error) if np.isfinite(error).any() else 0.0
        wrong = np.where(np.isfinite(error), error > middle, np.nan).astype(np.float64)
    else:
        chosen = number(f"c:{task}")
        wrong = np.where(np.isfinite(y), (chosen != y) | lost, np.nan).astype(np.float64)
        error, p = wrong, np.where(lost, 1.0, p)
    shares = [number(c) for c in classes]
    found = np.stack([s for s in shares if s is not None], 1) if shares else None
    pit = number(f"q:{task}")
    if pit is not None:
        pit = np.where(np.isfinite(y), pit, np.nan)
    return _CohortRows(kind, raw["segment"], raw["cluster"], u, p, y, error, wrong, number(f"a:{task}"), pit, found, lost)


def _too_few(r: _CohortRows, labelled: int) -> str:
    """Why nothing can be judged; empty if it can."""
    if r.kind == "regression" and r.lost.any():
        return f"{int(r.lost.sum())} predictions are no numbers, and an amount has no worst error to count them with"
    if labelled < MIN_LABELS:
        return f"{labelled} labelled rows outside the training split, at least {MIN_LABELS} are needed"
    if r.kind == "binary":
        y = r.y[r.judged]
        few = int(min((y > 0.5).sum(), (y <= 0.5).sum()))
        if few < MIN_EVENTS:
            return f"{few} rows of the rarer outcome, at least {MIN_EVENTS} are needed"
    return ""


def _groups(group: NDArray[Any], u: Array) -> tuple[CohortUncertainty, ...]:
    """Largest group first."""
    found = []
    for value in np.unique(group):
        x = u[(group == value) & np.isfinite(u)]
        if len(x):
            found.append(
                CohortUncertainty(str(value), len(x), float(x.mean()), tuple(float(q) for q in np.quantile(x, QUANTILES)))
            )
    return tuple(sorted(found, key=lambda c: -c.n))


def _decomposition(r: _CohortRows, *, logs: bool) -> Decomposition | None:
    if r.aleatoric is None:
        return None
    ok = np.isfinite(r.u) & np.isfinite(r.aleatoric)
    if ok.sum() < MIN_LABELS:
        return None
    x, y = r.u[ok], r.aleatoric[ok]
    if logs:
        x, y = np.log10(np.maximum(x, 1e-12)), np.log10(np.maximum(y, 1e-12))
    count, x_edges, y_edges = np.histogram2d(x, y, bins=30)
    flat = np.ptp(x) == 0 or np.ptp(y) == 0
    correlation = float("nan") if flat else float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])
    return Decomposition(x_edges, y_edges, count.astype(np.int64), correlation)


def _ranks(values: Array) -> Array:
    """Ranks, ties sharing their mean (scipy.stats takes seconds to import, and pages wait for this)."""
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[index], dtype=np.float64)


def _simplex(store: AnalysisStore, task: str, r: _CohortRows) -> Simplex | None:
    if r.classes is None or r.classes.shape[1] != 3:
        return None
    ok = np.isfinite(r.u) & np.isfinite(r.classes).all(1)
    if not ok.any():
        return None
    names = tuple(c.split(":", 2)[2] for c in store.columns if c.startswith(f"s:{task}:"))
    cell = np.round(r.classes[ok, :2] * GRID).astype(int)
    key = cell[:, 0] * (GRID + 1) + cell[:, 1]
    values, index, count = np.unique(key, return_inverse=True, return_counts=True)
    a, b = values // (GRID + 1) / GRID, values % (GRID + 1) / GRID
    centre = np.stack([a, b, np.clip(1 - a - b, 0, 1)], 1)
    mean = np.bincount(index, r.u[ok]) / count
    return Simplex((names[0], names[1], names[2]), centre, count.astype(np.int64), mean)


def _thresholds(u: Array) -> list[float]:
    return [float(np.quantile(u, c)) for c in COVERAGES] if len(u) else []


def _choice(r: _CohortRows, threshold: float) -> Choice:
    seen = np.isfinite(r.u)
    keep = seen & (r.u <= threshold)
    judged = r.judged
    stay = judged & keep
    risk = float(r.error[stay].mean()) if judged.sum() >= MIN_LABELS and stay.any() else float("nan")
    segments = {str(s): float((~keep[seen & (r.segment == s)]).mean()) for s in np.unique(r.segment[seen])}
    share = float(keep.sum() / seen.sum()) if seen.any() else float("nan")
    return Choice(float(threshold), share, risk, int(keep.sum()), segments)
