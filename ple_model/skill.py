"""Is it any good? Skill, its intervals, and what simpler answers reach on the same rows (`baselines/` of a dataset).

`skill = 1 - mean loss / mean loss of the constant`, both on the same rows by the losses of `row_loss`; 0 is a constant, below 0
worse than one. Intervals are 95 % percentile bootstraps that resample customers; where two things are compared both see the
same resamples. Nothing here loads torch or scikit-learn before something is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from ple_model import baseline_folder
from ple_model.baseline_folder import FOLDER, ORDER, StoredBaselines
from ple_model.data.dataset.columns import KEYS
from ple_model.errors import UserError
from ple_model.interval import Interval
from ple_model.row_loss import Yardstick, of_own, yardstick
from ple_model.safe_arrays import open_parquet

if TYPE_CHECKING:
    from ple_model.baselines import Progress
    from ple_model.data.dataset.reader import Dataset

__all__ = ["FOLDER", "ORDER", "PAIRED", "Interval", "Resamples", "StoredBaselines", "Yardstick", "behind", "lend",
           "measure", "of_own", "skill", "stored", "why_not", "yardstick"]  # fmt: skip

Array = NDArray[np.float64]
PAIRED = ("linear", "boosting", "reachable")
"""What a model is held against row by row."""
ROUNDS = 400
GROUPS = 4000
"""More customers than this are resampled in so many groups of them, drawn at random: the spread of a mean is the same."""


class Resamples:
    """Seeded resamples of the customers of some rows, drawn once for all that is compared on them."""

    def __init__(self, customers: ArrayLike, *, rounds: int = ROUNDS, seed: int = 0) -> None:
        """`customers` [n]: of each row."""
        ids, index = np.unique(np.asarray(customers), return_inverse=True)
        self.code: NDArray[np.int64] = np.asarray(index, dtype=np.int64).reshape(-1)
        """[n] number of each row's customer."""
        rng = np.random.default_rng(seed)
        count = len(ids)
        if count > GROUPS:
            index, count = rng.permutation(np.arange(count) % GROUPS)[index], GROUPS
        self.group: NDArray[np.int64] = np.asarray(index, dtype=np.int64).reshape(-1)
        self.count = count
        self.weight = np.zeros((rounds if count > 1 else 0, count))
        for one in self.weight:
            one += np.bincount(rng.integers(0, count, count), minlength=count)

    def _sums(self, values: Array) -> Array:
        return np.bincount(self.group, values, minlength=self.count).astype(np.float64)

    def share(self, part: ArrayLike, whole: ArrayLike) -> Interval:
        """sum(part) / sum(whole) of row values [n]; NaN where the whole is 0."""
        return self.mean_share([(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))])

    def mean_share(self, pairs: Sequence[tuple[Array, Array]]) -> Interval:
        """Mean over `pairs` (part [n], whole [n]) of sum(part) / sum(whole), all with the same resamples."""
        sums = [(self._sums(a), self._sums(b)) for a, b in pairs]
        sums = [(a, b) for a, b in sums if b.sum()]
        if not sums:
            return Interval(float("nan"))
        value = float(np.mean([a.sum() / b.sum() for a, b in sums]))
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = np.mean([(self.weight @ a) / (self.weight @ b) for a, b in sums], axis=0)
        draws = draws[np.isfinite(draws)]
        if len(draws) < max(2, len(self.weight) // 2):
            return Interval(value)
        low, high = np.percentile(draws, [2.5, 97.5])
        return Interval(value, float(low), float(high))


def skill(loss: ArrayLike, constant: ArrayLike, customers: ArrayLike, *, rounds: int = ROUNDS, seed: int = 0) -> Interval:
    """Of row losses [n] against those of the constant on the same rows."""
    found = Resamples(customers, rounds=rounds, seed=seed).share(loss, constant)
    return Interval(1 - found.value, 1 - found.high, 1 - found.low)


def behind(
    loss: ArrayLike, other: ArrayLike, constant: ArrayLike, customers: ArrayLike, *, rounds: int = ROUNDS, seed: int = 0
) -> Interval:
    """(loss - other) / constant, paired by row; above 0: behind the other."""
    gap = np.asarray(loss, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return Resamples(customers, rounds=rounds, seed=seed).share(gap, constant)


def stored(dataset: Dataset) -> StoredBaselines | None:
    """The baselines that lie with a dataset; None where there are none of this very content."""
    return baseline_folder.stored(dataset.path, dataset.manifest)


def stored_by_key(dataset: Dataset) -> StoredBaselines | None:
    """The same where the rows are known to be those that were measured but may stand in another order: brought into theirs."""
    try:
        found = baseline_folder.read(dataset.path, dataset.manifest, same_rows=True)
    except (UserError, FileNotFoundError):
        return None
    if isinstance(found.source, pa.Table):
        return found
    with open_parquet(found.source) as f:
        table = f.read()
    splits = [s for s in baseline_folder.SPLITS if dataset.rows(s)]
    mine = pa.concat_tables([dataset.table(list(KEYS), s) for s in splits])
    place = pc.index_in(_joined(mine), value_set=_joined(table))
    return None if place.null_count else replace(found, source=table.take(place))


def why_not(dataset: Dataset) -> str:
    """Why it has none; empty where it has."""
    return baseline_folder.why_not(dataset.path, dataset.manifest)


def measure(dataset: Dataset, progress: Progress | None = None, *, seed: int = 0, keep: bool = True) -> StoredBaselines:
    """Fit the baselines of a dataset and keep them with it; `unkept` says why where that could not be done. `UserError` for a
    dataset without training rows, or without any others."""
    from ple_model.baselines import measure_all  # late: torch

    return measure_all(dataset, progress, seed=seed, keep=keep)


def rows_in(dataset: Dataset, sample: Dataset) -> NDArray[np.int64] | None:
    """[rows of `sample`] their numbers in `dataset`'s file order; None where `sample` is no unchanged extract of it: other keys
    or labels."""
    keys, mine = (_keys(d) for d in (dataset, sample))
    keep = np.flatnonzero(np.asarray(pc.is_in(keys, value_set=mine)))
    names = ["customer_id", "cutoff", "split", *(f"y_{t}" for t in sample.manifest.tasks)]
    if len(keep) != sample.manifest.rows or sample.manifest.tasks != dataset.manifest.tasks:
        return None
    whole = dataset.table(names).take(pa.array(keep))
    return keep if _same(whole, sample.table(names)) else None


def _keys(dataset: Dataset) -> pa.Array:
    return _joined(dataset.table(list(KEYS)))


def _joined(table: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(*(table.column(k).combine_chunks() for k in KEYS), "|")


def _same(one: pa.Table, other: pa.Table) -> bool:
    """Equal column by column; missing numbers are equal to one another."""
    for name in one.column_names:
        a, b = (t.column(name).combine_chunks() for t in (one, other))
        if hasattr(a, "flatten") and str(a.type).startswith("fixed_size_list"):
            a, b = a.flatten(), b.flatten()
        x, y = np.asarray(a.to_numpy(zero_copy_only=False)), np.asarray(b.to_numpy(zero_copy_only=False))
        if x.shape != y.shape or not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
            return False
    return True


def lend(found: StoredBaselines, dataset: Dataset, sample: Dataset) -> bool:
    """Keep with `sample` what the baselines of `dataset` lose on its rows; False where it is no extract of it, or cannot be
    written to."""
    keep = rows_in(dataset, sample)
    if keep is None:
        return False
    rows = baseline_folder.cut(found, dataset.manifest, keep)
    try:
        baseline_folder.write(sample.path, baseline_folder.copy_for(found, sample.manifest, rows), rows)
    except (UserError, OSError):
        return False
    return True
