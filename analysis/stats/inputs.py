"""What went in: presence by field and cause, diagram masks, hierarchy coordinates, and moments of the 734 columns.

An absence has one of three causes: the dataset does not have the field at all (`field`), this row does not (`row`), or the
row's mask leaves nothing (`mask`). Experts are starved by these, which is why they are counted before any weight is blamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.base import Array, Statistic, ratio
from ple_model.presence import Absence
from ple_model.profile import column_counts

CAUSES = tuple(a.name.lower() for a in Absence if a)
CAUSE_TEXT = {
    "field": "the field is absent from the data",
    "row": "the row has no value",
    "mask": "the row's mask is empty",
}


@dataclass(frozen=True, eq=False)
class InputStats(Statistic):
    """Keys are input fields and `features:<part>`."""

    SAME = frozenset({"capacity"})
    LARGEST = frozenset({"radius_max"})

    n: int
    absent: dict[str, Array]
    """key -> [3] absent rows by cause, in the order of `CAUSES`."""
    column_n: Array
    """[734] rows whose part is present and whose value is finite."""
    column_sum: Array
    column_sq: Array
    nonfinite: Array
    """[734] rows with a value that is not finite."""
    points: dict[str, Array]
    """diagram field -> [4]: rows with the field, valid points, points with death < birth, valid points that are all zero."""
    capacity: dict[str, int]
    """diagram field -> points a row can hold."""
    radius_max: dict[str, float]
    """ball -> largest Euclidean norm of hierarchy_features, which must stay below 1."""
    outside: dict[str, float]
    """ball -> rows with coordinates on or beyond the ball's edge (or not finite)."""
    labels: dict[str, float]
    """task -> labelled rows."""
    segments: dict[str, float]
    """segment -> rows."""

    def absent_share(self, key: str) -> float:
        return float(ratio(self.absent[key].sum(), self.n)) if key in self.absent else 0.0

    def cause(self, key: str) -> str:
        """The most frequent cause of the key's absence, "" where it is never absent."""
        counts = self.absent.get(key)
        return CAUSES[int(counts.argmax())] if counts is not None and counts.sum() > 0 else ""

    @property
    def column_mean(self) -> Array:
        return np.asarray(ratio(self.column_sum, self.column_n))

    @property
    def column_std(self) -> Array:
        return np.asarray(np.sqrt(np.maximum(ratio(self.column_sq, self.column_n) - self.column_mean**2, 0)))

    def drift(self, reference: InputStats, min_rows: int = 100) -> Array:
        """[734] difference of means in standard deviations of the reference; NaN with too few rows or no variation."""
        std = reference.column_std
        usable = (self.column_n >= min_rows) & (reference.column_n >= min_rows) & (std > 1e-9)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(usable, (self.column_mean - reference.column_mean) / std, np.nan)


BALL_SLICES = {"mcc": slice(0, 8), "product": slice(8, 16), "region": slice(16, 20)}


def measure(
    features: NDArray[np.floating],
    absent: Mapping[str, NDArray[np.generic]],
    column_present: NDArray[np.bool_],
    diagrams: Mapping[str, tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.bool_]]] | None = None,
    hierarchy: tuple[NDArray[np.floating], NDArray[np.bool_]] | None = None,
    labels: Mapping[str, NDArray[np.bool_]] | None = None,
    segments: Mapping[str, int] | None = None,
) -> InputStats:
    """features: [B, C]; absent: key -> [B] int8 of `Absence`; column_present: [B, C] bool;
    diagrams: field -> (points [B, P, 3], mask [B, P], present [B]); hierarchy: (coordinates [B, 20], present [B]);
    labels: task -> [B] bool, is there a label.
    """
    finite = np.isfinite(features)
    use = finite & column_present
    x = np.where(use, features, 0).astype(np.float64)
    points, capacity = {}, {}
    for field, (diagram, mask, there) in (diagrams or {}).items():
        d, m = diagram[there], mask[there].astype(bool)
        backwards = m & (d[..., 1] < d[..., 0])
        empty = m & (d[..., 0] == 0) & (d[..., 1] == 0)
        points[field] = np.array([there.sum(), m.sum(), backwards.sum(), empty.sum()], dtype=np.float64)
        capacity[field] = int(diagram.shape[1])
    radius, outside = {}, {}
    if hierarchy is not None and len(hierarchy[0]):
        coordinates = np.asarray(hierarchy[0], dtype=np.float64)[hierarchy[1]]
        for ball, part in BALL_SLICES.items():
            r = np.linalg.norm(coordinates[:, part], axis=1)
            bad = ~np.isfinite(r) | (r >= 1.0)
            radius[ball] = float(np.max(np.where(np.isfinite(r), r, np.inf))) if len(r) else 0.0
            outside[ball] = float(bad.sum())
    return InputStats(
        n=len(x),
        absent={
            k: np.bincount(np.asarray(v, dtype=int), minlength=len(Absence))[1:].astype(np.float64) for k, v in absent.items()
        },
        column_n=column_counts(use),
        column_sum=x.sum(0),
        column_sq=np.einsum("nc,nc->c", x, x),
        nonfinite=column_counts(~finite & column_present),
        points=points,
        capacity=capacity,
        radius_max=radius,
        outside=outside,
        labels={t: float(v.sum()) for t, v in (labels or {}).items()},
        segments={s: float(c) for s, c in (segments or {}).items()},
    )
