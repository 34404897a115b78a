"""What the training rows looked like: a compact profile kept with the run, which later customers are compared with for drift.

Of every feature column its range and the counts in 10 bins cut at its training deciles, of class ids the counts by class, of
every field and part the rows that had it, by segment. About 150 kB, made of at most 20,000 training rows; it holds no customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.fields import OPTIONAL_FIELDS, SEGMENTS
from ple_model.presence import is_part, part_key
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.schema import PART_SLICES

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput
    from ple_model.data.dataset.reader import Dataset

FILE = "profile.npz"
BINS = 10
MAX_EDGES = 2 * (BINS - 1)
ROWS = 20_000
PIECE = 256
"""Rows that are counted at once: they stay in the processor's cache."""
SEGMENT_ROWS = 5
"""Rows of a presence count: anonymous, cold start, warm start, unknown, dormant. Older ones have no fifth."""
UNKNOWN, DORMANT = 3, 4
CLASS_FIELDS = ("cluster_ids", "customer_segment")
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldRows:
    """Rows that no model was trained on, of the newest cut-off at hand then, on the training's bins: how far a column moves
    from one date to the next without anything being wrong."""

    rows: int
    customers: int
    counts: Array
    classes: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Profile:
    """edges [columns, 18] ascending float32, padded with inf; counts [columns, 19] rows by bin; classes {field: [classes]};
    present {field or `features:<part>`: [4] rows by segment}; segments [4] rows; rows: all of them."""

    rows: int
    edges: NDArray[np.float32]
    counts: Array
    classes: dict[str, Array]
    present: dict[str, Array]
    segments: Array
    extremes: NDArray[np.float32] | None = None
    """[columns, 2] smallest and largest value, NaN without any; None in an older run"""
    customers: int | None = None
    """Customers of these rows: the rows of one resemble each other. None in an older run"""
    held: HeldRows | None = None
    """The same counts of rows that were held out; None in an older run, or where there were none"""

    def save(self, folder: Path) -> None:
        """Write `profile.npz`."""
        arrays: dict[str, NDArray[Any]] = {"edges": self.edges, "counts": self.counts, "segments": self.segments}
        arrays["rows"] = np.array(self.rows, dtype=np.int64)
        arrays |= {"extremes": self.extremes} if self.extremes is not None else {}
        arrays |= {"customers": np.array(self.customers, dtype=np.int64)} if self.customers is not None else {}
        if self.held is not None:
            arrays |= {"held|counts": self.held.counts} | {f"held|class {k}": v for k, v in self.held.classes.items()}
            arrays["held|rows"] = np.array([self.held.rows, self.held.customers], dtype=np.int64)
        arrays |= {f"class|{k}": v for k, v in self.classes.items()} | {f"present|{k}": v for k, v in self.present.items()}
        write_npz(folder / FILE, arrays, packed=True)

    @staticmethod
    def load(folder: Path) -> Profile | None:
        """What `save` wrote; None where a run has none (it is older). `UserError` names a damaged file."""
        path = folder / FILE
        try:
            z = read_npz(path)
            named = {p: {k.split("|")[1]: z[k] for k in z if k.startswith(f"{p}|")} for p in ("class", "present")}
            counted = int(z["rows"]), z["edges"], z["counts"]
            customers = int(z["customers"]) if "customers" in z else None
            held = _held({k.split("|")[1]: z[k] for k in z if k.startswith("held|")}, z["counts"].shape)
            return Profile(*counted, named["class"], named["present"], z["segments"], z.get("extremes"), customers, held)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, OSError, TypeError) as e:
            raise UserError(f"{path} is damaged: {e}") from e


def _held(arrays: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> HeldRows | None:
    if not arrays:
        return None
    if arrays["counts"].shape != shape or arrays["rows"].shape != (2,):
        raise ValueError("the counts of held-out rows do not fit")
    rows, customers = (int(v) for v in arrays["rows"])
    classes = {k.removeprefix("class "): v for k, v in arrays.items() if k.startswith("class ")}
    return HeldRows(rows, customers, arrays["counts"], classes)


def quantile_edges(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """[18] cuts of one column's training values [n]: its deciles; a value that a tenth of the rows share has its own bin."""
    out = np.full(MAX_EDGES, np.inf, dtype=np.float32)
    x = np.sort(values[np.isfinite(values)].astype(np.float32))
    if not len(x):
        return out
    at = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1], method="nearest"))
    mass = np.searchsorted(x, at, "right") - np.searchsorted(x, at, "left")
    heavy = at[mass >= len(x) / BINS]
    # a step that survives where denormals are flushed, as nextafter(0) does not
    cuts = np.unique(np.concatenate([at, heavy + np.maximum(np.abs(heavy) * 1e-6, 1e-9)]).astype(np.float32))
    out[: len(cuts)] = cuts
    return out


def bin_counts(features: NDArray[np.floating], use: NDArray[np.bool_], edges: NDArray[np.float32]) -> Array:
    """[columns, 19] rows by bin: values [n, columns] where `use`; bin j holds edges[j - 1] <= x < edges[j]."""
    total = np.zeros((edges.shape[1] + 2, len(edges)))
    cuts = np.ascontiguousarray(edges.T)
    for first in range(0, len(features), PIECE):
        x, known = features[first : first + PIECE], use[first : first + PIECE]
        known = known & np.isfinite(x)
        x = np.where(known, x, np.float32(np.nan)).astype(np.float32, copy=False)  # what is no number is beyond no cut
        beyond = np.empty(x.shape, dtype=np.bool_)
        total[0] += column_counts(known)
        for i, cut in enumerate(cuts, 1):  # all columns at once are quicker than a search in each of 734
            total[i] += column_counts(np.greater_equal(x, cut, out=beyond))
    return np.ascontiguousarray((total[:-1] - total[1:]).T)


def column_counts(mask: NDArray[np.bool_]) -> Array:
    """[columns] how often each column of a mask [n, columns] is true: summed in two bytes, a fraction of the time that eight
    take."""
    narrow = np.uint16 if len(mask) <= np.iinfo(np.uint16).max else np.int64
    return np.asarray(np.add.reduce(mask.view(np.uint8), axis=0, dtype=narrow), dtype=np.float64)


def column_use(
    present: Mapping[str, NDArray[np.bool_]], rows: int, columns: int, parts: Mapping[str, slice] = PART_SLICES
) -> NDArray[np.bool_]:
    """[rows, columns] bool: the column's part is there; parts that `present` does not name are."""
    use = np.ones((rows, columns), dtype=np.bool_)
    for part, where in parts.items():
        if part_key(part) in present:
            use[:, where] = present[part_key(part)][:, None]
    return use


@dataclass(frozen=True, eq=False)
class ProfileRows:
    """What a profile needs of n rows: features [n, 734], classes {field: [n]}, present {key: [n] bool}, segment [n] 0 to 3."""

    features: NDArray[np.float32]
    classes: dict[str, NDArray[np.int64]]
    present: dict[str, NDArray[np.bool_]]
    segment: NDArray[np.int64]
    parts: Mapping[str, slice] = field(default_factory=lambda: PART_SLICES)
    """Columns of each part."""

    def take(self, index: NDArray[np.int64]) -> ProfileRows:
        """Some of the rows."""
        classes, present = {k: v[index] for k, v in self.classes.items()}, {k: v[index] for k, v in self.present.items()}
        return ProfileRows(self.features[index], classes, present, self.segment[index], self.parts)


def rows_of(inputs: PLEClusterInput, *, decoded: bool = True) -> ProfileRows:
    """The rows of a batch. `decoded=False`: fields that are not in the batch were left out by its reader, only what presence
    says counts."""
    keys = [*OPTIONAL_FIELDS, *(part_key(p) for p in inputs.parts)]
    said = inputs.presence or {}
    counted = [k for k in keys if decoded or k in said or is_part(k) or getattr(inputs, k) is not None]
    segment = inputs.customer_segment
    classes = {f: np.asarray(v.cpu().numpy()) for f in CLASS_FIELDS if (v := getattr(inputs, f)) is not None}
    group = np.full(len(inputs), UNKNOWN) if segment is None else np.asarray(segment.cpu().numpy())
    if segment is not None:
        group = np.where(group == SEGMENTS.index("dormant"), DORMANT, group)
    present = {k: np.asarray(inputs.present(k).cpu().numpy(), dtype=np.bool_) for k in counted}
    return ProfileRows(
        np.asarray(inputs.features.float().cpu().numpy()), classes, present, group.astype(np.int64), inputs.parts
    )


def class_counts(ids: NDArray[np.int64], width: int) -> Array:
    """[width] rows by class; ids beyond the last class count as the last."""
    return np.bincount(np.clip(ids, 0, width - 1), minlength=width).astype(np.float64)


CLASS_WIDTHS = {"cluster_ids": 64, "customer_segment": 4}
"""Classes counted at most."""


def by_segment(mask: NDArray[np.bool_], segment: NDArray[np.int64]) -> Array:
    """[4] rows of `mask` by segment."""
    return np.bincount(segment[mask], minlength=SEGMENT_ROWS)[:SEGMENT_ROWS].astype(np.float64)


def profile_of(dataset: Dataset, split: str = "train", rows: int = ROWS) -> Profile | None:
    """The profile of at most `rows` rows of a split, drawn in a seeded order; None where it has none."""
    if not dataset.rows(split):
        return None
    fields = ["features", *(f for f in CLASS_FIELDS if f in dataset.manifest.fields)]
    held: list[ProfileRows] = []
    customers: set[str] = set()
    for batch in dataset.batches(split, 1024, shuffle=True, fields=fields):
        held.append(rows_of(batch.inputs, decoded=False))
        customers.update(batch.customer_id)
        if sum(len(h.segment) for h in held) >= rows:
            break
    features = np.concatenate([h.features for h in held])
    present = {k: np.concatenate([h.present[k] for h in held]) for k in held[0].present}
    segment = np.concatenate([h.segment for h in held])
    use = column_use(present, len(features), features.shape[1], dataset.parts)
    edges = np.stack([quantile_edges(features[use[:, j], j]) for j in range(features.shape[1])])
    return Profile(
        rows=len(features),
        edges=edges,
        counts=bin_counts(features, use, edges),
        classes={k: class_counts(np.concatenate([h.classes[k] for h in held]), CLASS_WIDTHS[k]) for k in held[0].classes},
        present={k: by_segment(v, segment) for k, v in present.items()},
        segments=by_segment(np.ones(len(segment), dtype=np.bool_), segment),
        extremes=np.stack([_extremes(features[use[:, j], j]) for j in range(features.shape[1])]),
        customers=len(customers),
    )


def _extremes(values: NDArray[np.floating]) -> NDArray[np.float32]:
    x = values[np.isfinite(values)]
    return np.array([x.min(), x.max()] if len(x) else [np.nan, np.nan], dtype=np.float32)


def write_profile(run: Path, dataset: Dataset) -> None:
    """Write `preprocess/profile.npz` of a run from the training split of its dataset."""
    found = profile_of(dataset)
    if found is not None:
        replace(found, held=held_rows(dataset, found)).save(run / "preprocess")


def held_rows(dataset: Dataset, profile: Profile, rows: int = ROWS) -> HeldRows | None:
    """Of the rows of the newest cut-off that has any outside the training split, at most so many."""
    fields = ["features", *(f for f in CLASS_FIELDS if f in dataset.manifest.fields)]
    newest = max(dataset.manifest.cutoffs, default="")
    counts = np.zeros_like(profile.counts)
    classes = {k: np.zeros_like(v) for k, v in profile.classes.items()}
    customers: set[str] = set()
    n = 0
    for split in (s for s in ("test", "validation") if dataset.rows(s)):
        for batch in dataset.batches(split, 1024, shuffle=True, fields=fields):
            mine = np.flatnonzero(np.asarray(batch.cutoff) == newest)
            part = rows_of(batch.inputs, decoded=False).take(mine)
            use = column_use(part.present, len(mine), part.features.shape[1], dataset.parts)
            counts += bin_counts(part.features, use, profile.edges)
            for k in classes:
                classes[k] += class_counts(part.classes[k], CLASS_WIDTHS[k])
            customers.update(batch.customer_id[i] for i in mine)
            n += len(mine)
            if n >= rows:
                break
        if n >= rows:
            break
    return HeldRows(n, len(customers), counts, classes) if n else None
