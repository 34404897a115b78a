"""Drift against training: histograms of every column on fixed training bins, counts of classes, presence by segment.

Measures (each 0 for equal distributions): the population stability index, PSI = sum (p - q) ln(p / q) over bins (Siddiqi 2006,
"Credit Risk Scorecards": below 0.1 stable, above 0.25 shifted); the Kolmogorov-Smirnov distance of the binned distributions,
which can miss at most what moves within a bin; Pearson's chi-square for classes. Two samples of one distribution have
PSI / (1/n + 1/m) distributed as chi-square with bins - 1 degrees of freedom (Yurdakul & Naranjo 2020, "Statistical properties
of the population stability index"), so a column only counts as moved where its PSI, less the mean that sampling adds, is beyond
the threshold, and is beyond chance: the limits of the literature are for populations, not for a few hundred rows. Rows of one
customer at several cut-offs resemble each other: chance is reckoned with customers, not with rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, ratio
from ple_model.profile import (
    CLASS_WIDTHS,
    SEGMENT_ROWS,
    Profile,
    ProfileRows,
    bin_counts,
    by_segment,
    class_counts,
    column_use,
)

CHANCE = 3.7190
"""Standard normal quantile of 1 - 1e-4: one column in ten thousand is beyond it by chance."""


GROUPS = 16
"""Groups of rows by split and cut-off that are told apart at most."""


@dataclass(frozen=True, eq=False)
class DriftStats(Statistic):
    """The fields of `ple_model.profile.Profile`, mergeable; two of them compare on equal edges."""

    SAME = frozenset({"edges"})

    n: int
    edges: NDArray[np.float32]
    """[columns, 18]"""
    counts: Array
    """[columns, 19] rows by bin"""
    classes: dict[str, Array]
    present: dict[str, Array]
    """key -> [4] rows that have it: anonymous, cold start, warm start, unknown"""
    segments: Array
    """[4] rows"""
    customers: int = 0
    """Distinct customers of all rows, known when the pass is over; 0: not known, every row counts as one of its own"""

    @property
    def independent(self) -> float:
        """Share of the rows that tell something of their own: rows of one customer are taken for one."""
        return min(1.0, self.customers / self.n) if self.customers and self.n else 1.0

    def presence(self, key: str) -> float:
        """Share of rows that have a field or `features:<part>`; NaN where it was not counted."""
        return float(ratio(self.present[key].sum(), self.n)) if key in self.present else float("nan")

    def presence_by_segment(self) -> tuple[list[str], Array]:
        """(keys, [keys, 4] share of the segment's rows that have each; NaN for a segment without rows)."""
        keys = list(self.present)
        if not keys:
            return [], np.zeros((0, SEGMENT_ROWS))
        return keys, np.stack([np.asarray(ratio(self.present[k], self.segments)) for k in keys])


@dataclass(frozen=True, eq=False)
class Drift:
    """A sample against its training reference. Columns and keys with too few rows on either side are NaN."""

    n: int
    reference_n: int
    psi: Array
    """[columns]"""
    psi_chance: Array
    """[columns] PSI that chance alone stays below"""
    psi_noise: Array
    """[columns] PSI that two samples of one distribution have on average"""
    ks: Array
    """[columns]"""
    ks_chance: Array
    class_psi: dict[str, float]
    class_chi2: dict[str, float]
    """Pearson's statistic over its degrees of freedom: about 1 for equal distributions"""
    class_chance: dict[str, float]
    class_noise: dict[str, float]
    presence: dict[str, tuple[float, float]]
    """key -> (share of the sample, share of training)"""
    presence_chance: dict[str, float]
    """key -> difference of two shares that chance alone stays below"""

    def moved(self, threshold: float) -> NDArray[np.bool_]:
        """[columns] PSI beyond the threshold, less what sampling adds to it, and beyond chance."""
        limit = np.maximum(threshold + self.psi_noise, self.psi_chance)
        return np.asarray(np.isfinite(self.psi) & (np.nan_to_num(self.psi) > np.nan_to_num(limit)))

    def moved_classes(self, threshold: float) -> list[str]:
        """Class fields of which the same holds."""
        limit = {k: max(threshold + self.class_noise[k], self.class_chance[k]) for k in self.class_psi}
        return [k for k, value in self.class_psi.items() if value > limit[k]]

    def lost(self, change: float) -> list[str]:
        """Keys whose presence changed by more than `change` (a share) and beyond chance, the largest change first."""
        gone = [k for k, (a, b) in self.presence.items() if abs(a - b) > max(change, self.presence_chance[k])]
        return sorted(gone, key=lambda k: -abs(self.presence[k][0] - self.presence[k][1]))


def measure(rows: ProfileRows, edges: NDArray[np.float32]) -> DriftStats:
    """Counts of some rows on a reference's bins."""
    n = len(rows.segment)
    use = column_use(rows.present, n, rows.features.shape[1], rows.parts)
    return DriftStats(
        n=n,
        edges=edges,
        counts=bin_counts(rows.features, use, edges),
        classes={k: class_counts(v, CLASS_WIDTHS[k]) for k, v in rows.classes.items()},
        present={k: by_segment(v, rows.segment) for k, v in rows.present.items()},
        segments=by_segment(np.ones(n, dtype=np.bool_), rows.segment),
    )


@dataclass(frozen=True, eq=False)
class DriftGroups(Statistic):
    """Rows that were not trained on, by split and cut-off; of very many cut-offs the newest `GROUPS` are kept."""

    groups: dict[str, DriftStats]
    """"<cut-off> <split>" -> counts"""

    def __add__(self, other: DriftGroups) -> DriftGroups:
        merged = super().__add__(other)
        return DriftGroups({k: merged.groups[k] for k in sorted(merged.groups, key=_age, reverse=True)[:GROUPS]})

    def newest_first(self) -> list[tuple[str, str, DriftStats]]:
        """(split, cut-off, counts); of one cut-off the test rows first."""
        keys = sorted(self.groups, key=_age, reverse=True)
        return [(key.split(" ", 1)[1], key.split(" ", 1)[0], self.groups[key]) for key in keys]

    def judged(self, min_rows: int) -> tuple[str, str, DriftStats] | None:
        """The newest group that has enough rows; None: no group has."""
        return next((g for g in self.newest_first() if g[2].n >= min_rows), None)


def _age(key: str) -> tuple[str, bool]:
    cutoff, split = key.split(" ", 1)
    return cutoff, split == "test"


def grouped(
    rows: ProfileRows, edges: NDArray[np.float32], split: Sequence[str], cutoff: Sequence[str]
) -> tuple[DriftStats, DriftGroups]:
    """(counts of all rows, counts of those that no model is trained on, by split and cut-off)."""
    names = np.array([f"{c} {s}" for s, c in zip(split, cutoff, strict=True)])
    parts = {str(k): measure(rows.take(np.flatnonzero(names == k)), edges) for k in np.unique(names)}
    whole = reduce(add, parts.values())
    return whole, DriftGroups({}) + DriftGroups({k: v for k, v in parts.items() if not k.endswith(" train")})


def of_profile(profile: Profile) -> DriftStats:
    """The training reference."""
    return DriftStats(
        profile.rows, profile.edges, profile.counts, dict(profile.classes), dict(profile.present), profile.segments,
        profile.customers or 0,
    )  # fmt: skip


def of_held(profile: Profile) -> DriftStats | None:
    """The rows that were held out at training."""
    h = profile.held
    if h is None:
        return None
    return DriftStats(h.rows, profile.edges, h.counts, dict(h.classes), {}, np.zeros(SEGMENT_ROWS), h.customers)


def psi(p: Array, q: Array) -> Array:
    """[...] population stability index of counts [..., bins]; half a row is added to every bin that either side uses."""
    used = (p + q) > 0
    a, b = np.where(used, p + 0.5, 0.0), np.where(used, q + 0.5, 0.0)
    a, b = a / np.maximum(a.sum(-1, keepdims=True), 1e-12), b / np.maximum(b.sum(-1, keepdims=True), 1e-12)
    one, two = np.where(used, a, 1.0), np.where(used, b, 1.0)
    return np.asarray(((one - two) * np.log(one / two)).sum(-1))


def psi_chance(p: Array, q: Array) -> Array:
    """[...] what the PSI of two samples of one distribution stays below, but once in ten thousand (see the module)."""
    freedom = np.maximum(((p + q) > 0).sum(-1) - 1, 1).astype(np.float64)
    # Wilson and Hilferty's cube-root approximation of the chi-square quantile
    quantile = freedom * (1 - 2 / (9 * freedom) + CHANCE * np.sqrt(2 / (9 * freedom))) ** 3
    return np.asarray(quantile * (ratio(1.0, p.sum(-1)) + ratio(1.0, q.sum(-1))))


def psi_noise(p: Array, q: Array) -> Array:
    """[...] mean PSI of two samples of one distribution: degrees of freedom times (1/n + 1/m) (see the module)."""
    freedom = np.maximum(((p + q) > 0).sum(-1) - 1, 1).astype(np.float64)
    return np.asarray(freedom * (ratio(1.0, p.sum(-1)) + ratio(1.0, q.sum(-1))))


def kolmogorov_smirnov(p: Array, q: Array) -> Array:
    """[...] largest distance of the two cumulative distributions at the bins' edges."""
    a = ratio(p.cumsum(-1), p.sum(-1, keepdims=True) + np.zeros_like(p))
    b = ratio(q.cumsum(-1), q.sum(-1, keepdims=True) + np.zeros_like(q))
    return np.asarray(np.abs(a - b).max(-1))


def ks_chance(p: Array, q: Array) -> Array:
    """[...] Kolmogorov's asymptotic bound at 1e-4: sqrt(-ln(alpha / 2) / 2) sqrt(1/n + 1/m)."""
    return np.asarray(np.sqrt(-np.log(0.5e-4) / 2) * np.sqrt(ratio(1.0, p.sum(-1)) + ratio(1.0, q.sum(-1))))


def share_chance(a: float, n: float, b: float, m: float) -> float:
    """Difference of two shares a/n and b/m that chance alone stays below, but twice in ten thousand (pooled z test)."""
    pooled = (a + b) / (n + m)
    return float(CHANCE * np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)))


def chi_square(p: Array, q: Array) -> float:
    """Pearson's statistic of homogeneity of two count vectors over its degrees of freedom; NaN with one class only."""
    used = (p + q) > 0
    if used.sum() < 2 or not p.sum() or not q.sum():
        return float("nan")
    total = p[used] + q[used]
    share = total / total.sum()
    both = [(c[used], share * c.sum()) for c in (p, q)]
    return float(sum(((c - e) ** 2 / e).sum() for c, e in both) / (used.sum() - 1))


def compare(sample: DriftStats, reference: DriftStats, min_rows: int = 100) -> Drift:
    """A sample against training. Raises ValueError where they were counted on other bins."""
    if not np.array_equal(sample.edges, reference.edges):
        raise ValueError("the sample was counted on other bins than the reference")
    p, q = sample.counts, reference.counts
    own, theirs = sample.independent, reference.independent
    enough = (p.sum(-1) >= min_rows) & (q.sum(-1) >= min_rows)
    with np.errstate(invalid="ignore"):
        stability, distance = (np.where(enough, f(p, q), np.nan) for f in (psi, kolmogorov_smirnov))
        chance = (np.where(enough, f(p * own, q * theirs), np.nan) for f in (psi_chance, psi_noise, ks_chance))
        stability_chance, noise, distance_chance = chance
    common = [k for k in sample.classes if k in reference.classes and min(sample.n, reference.n) >= min_rows]
    pairs = {k: (sample.classes[k], reference.classes[k]) for k in common}
    keys = [k for k in sample.present if k in reference.present and min(sample.n, reference.n) >= min_rows]
    one, two = (own, sample), (theirs, reference)
    have = {k: tuple(x for share, s in (one, two) for x in (share * s.present[k].sum(), share * s.n)) for k in keys}
    return Drift(
        sample.n, reference.n, stability, stability_chance, noise, distance, distance_chance,
        class_psi={k: float(psi(a, b)) for k, (a, b) in pairs.items()},
        class_chi2={k: chi_square(a, b) for k, (a, b) in pairs.items()},
        class_chance={k: float(psi_chance(a * own, b * theirs)) for k, (a, b) in pairs.items()},
        class_noise={k: float(psi_noise(a * own, b * theirs)) for k, (a, b) in pairs.items()},
        presence={k: (sample.presence(k), reference.presence(k)) for k in keys},
        presence_chance={k: share_chance(*counts) for k, counts in have.items()},
    )  # fmt: skip
