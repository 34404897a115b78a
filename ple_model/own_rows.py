"""Can one column alone tell training rows from others of the same cut-off? Then it was fitted on its own rows.

A figure of the training split that counts each training customer in (a mean, a density, an adoption) has another distribution
on them than on anybody else: a model learns from it what new customers will not have. At one cut-off, where splits are drawn
by customer, no column may differ. Two rank tests look at every column: the area under the ROC curve of the column itself
(Mann & Whitney 1947: is it higher?) and of its distance from the common median (is it wider?), each 0.5 for one distribution,
with the standard deviation that ties leave them. A row counts once: at one cut-off a customer has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ple_model.fields import FIELD_SHAPES, OPTIONAL_FIELDS
from ple_model.presence import part_key
from ple_model.tensors import as_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from ple_model.batch import PLEClusterInput

ROWS = 10_000
"""Rows that are compared at most: enough to see an area of 0.55."""
CUTOFFS = 4
"""Cut-offs that are compared at most, the newest."""
COLUMNS = 128
"""Columns ranked at once."""
PIECE = 128
"""Rows of a sequence that are looked at at once."""
CLASSES = 20
"""Clusters that are looked at one by one."""
TRAIN = "train"
Array = NDArray[np.float64]
Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class OwnRows:
    """Areas by cut-off [k] and column [c]; NaN where a column has one value, or rows on one side only."""

    columns: tuple[str, ...]
    """what is compared, for example "spend_28d" or "hmm_journey[3]" """
    inputs: tuple[str, ...]
    """the field or `features:<part>` of each column"""
    cutoffs: tuple[str, ...]
    train: NDArray[np.int64]
    """[k] training rows"""
    others: NDArray[np.int64]
    """[k] rows of other splits"""
    higher: Array
    """[k, c] area of the value for "is a training row" """
    higher_sd: Array
    wider: Array
    """[k, c] area of the distance from the common median"""
    wider_sd: Array

    @property
    def reach(self) -> Array:
        """[k] smallest distance of an area from 0.5 that a column without ties shows beyond one standard deviation."""
        n, m = self.train.astype(np.float64), self.others.astype(np.float64)
        return np.asarray(np.sqrt((n + m + 1) / (12 * np.maximum(n * m, 1e-9))))

    def deviations(self, alpha: float, judged: NDArray[np.bool_]) -> float:
        """Standard deviations that one area in 1 / `alpha` data sets is beyond by chance, over all areas of the cut-offs
        `judged` [k] (Bonferroni: however the columns hang together)."""
        areas = sum(int((sd[judged] > 0).sum()) for sd in (self.higher_sd, self.wider_sd))
        return NormalDist().inv_cdf(1 - alpha / (2 * max(areas, 1)))


def areas(values: Values, train: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """(higher, its standard deviation, wider, its standard deviation), each [c], of values [n, c] (NaN: not there) and
    whether each row is of the training split [n]."""
    found = [_areas(values[:, first : first + COLUMNS], train) for first in range(0, values.shape[1], COLUMNS)]
    one, two, three, four = (np.concatenate([f[i] for f in found]) for i in range(4))
    return one, two, three, four


def _areas(values: Values, train: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    known = np.isfinite(values)
    x = np.where(known, values, np.nan).astype(np.float64)
    ordered, count = np.sort(x, axis=0), known.sum(0)
    at = np.arange(x.shape[1])
    low, high = (ordered[np.clip(i, 0, len(x) - 1), at] for i in ((count - 1) // 2, count // 2))
    return (*_area(x, train), *_area(np.abs(x - (low + high) / 2), train))


def _area(x: Array, train: NDArray[np.bool_]) -> tuple[Array, Array]:
    """([c] area under the ROC curve, ties counted half, [c] its standard deviation for rows of one distribution)."""
    rows = np.arange(len(x))[:, None]
    order = np.argsort(x, axis=0, kind="stable")
    ordered = np.take_along_axis(x, order, 0)
    known, mine = ~np.isnan(ordered), train[order]
    step = ordered[1:] != ordered[:-1]
    edge = np.ones((1, x.shape[1]), dtype=np.bool_)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, step]), rows, 0), axis=0)
    last = np.minimum.accumulate(np.where(np.concatenate([step, edge]), rows, len(x))[::-1], axis=0)[::-1]
    rank, tied = (first + last) / 2 + 1, (last - first + 1).astype(np.float64)
    n, m = (mine & known).sum(0).astype(np.float64), (~mine & known).sum(0).astype(np.float64)
    total = n + m
    with np.errstate(divide="ignore", invalid="ignore"):
        area = ((rank * (mine & known)).sum(0) - n * (n + 1) / 2) / (n * m)
        ties = ((tied**2 - 1) * known).sum(0) / (total * (total - 1))
        sd = np.sqrt(np.maximum(total + 1 - ties, 0) / (12 * n * m))
    usable = (n > 0) & (m > 0) & (sd > 1e-9)
    return np.where(usable, area, np.nan), np.where(usable, sd, np.nan)


def compare(values: Values, columns: Sequence[tuple[str, str]], split: Sequence[str], cutoff: Sequence[str]) -> OwnRows:
    """Training rows against others at each cut-off that has both; values [n, c], columns [c] of (input, name)."""
    dates, mine = np.asarray(cutoff, dtype=str), np.asarray(split, dtype=str) == TRAIN
    both = [d for d in np.unique(dates) if mine[dates == d].any() and not mine[dates == d].all()][-CUTOFFS:]
    found = [areas(values[dates == d], mine[dates == d]) for d in both]
    stacked = [np.stack([f[i] for f in found]) if found else np.zeros((0, len(columns))) for i in range(4)]
    counts = [[int((side & (dates == d)).sum()) for d in both] for side in (mine, ~mine)]
    return OwnRows(
        tuple(name for _, name in columns), tuple(key for key, _ in columns), tuple(map(str, both)),
        np.array(counts[0], np.int64), np.array(counts[1], np.int64), *stacked,
    )  # fmt: skip


def columns_of(inputs: PLEClusterInput, names: Sequence[str]) -> tuple[list[tuple[str, str]], Values]:
    """([c] (input, column), values [n, c] with NaN where a row lacks the input) of everything a model reads of the rows: the
    columns of `features` by `names`, every dimension of the derived inputs, each step's channels of a sequence by mean,
    spread and reach, diagrams by their points' lives, and whether each input is there."""
    columns: list[tuple[str, str]] = []
    values: list[Values] = []

    def add(key: str, labels: Sequence[str], block: NDArray[Any], there: NDArray[np.bool_]) -> None:
        columns.extend((key, label) for label in labels)
        values.append((block if there.all() else np.where(there[:, None], block, np.nan)).astype(np.float32))

    features = as_numpy(inputs.features)
    for part, where in inputs.parts.items():
        add(part_key(part), names[where], features[:, where], as_numpy(inputs.present(part_key(part))))
    cluster = as_numpy(inputs.cluster_ids)
    add("cluster_ids", [f"cluster_ids = {k}" for k in range(CLASSES)], cluster[:, None] == np.arange(CLASSES), cluster >= 0)
    for field in OPTIONAL_FIELDS:
        held = getattr(inputs, field)
        if held is None or field.endswith("_mask"):
            continue
        block, there, shape = as_numpy(held), as_numpy(inputs.present(field)), FIELD_SHAPES[field]
        if field == "customer_segment":
            add(field, [f"{field} = {k}" for k in range(4)], block[:, None] == np.arange(4), there)
        elif field.endswith("_diagrams"):
            mask = getattr(inputs, field.replace("_diagrams", "_mask"))
            known = as_numpy(mask) if mask is not None else np.ones(block.shape[:2], bool)
            add(field, *_of_diagrams(field, block, known), there)
        elif len(shape) == 2:
            add(field, *_of_sequence(field, held.float()), there)
        else:
            add(field, [f"{field}[{j}]" for j in range(block.shape[1])], block, there)
    keys = [*(part_key(p) for p in inputs.parts), *(f for f in OPTIONAL_FIELDS if getattr(inputs, f) is not None)]
    everyone = np.ones(len(inputs), dtype=np.bool_)
    for key in keys:
        add(key, [f"{key} is there"], as_numpy(inputs.present(key))[:, None], everyone)
    return columns, np.concatenate(values, axis=1)


def _of_sequence(field: str, steps: Tensor) -> tuple[list[str], Values]:
    """Mean, standard deviation and largest absolute value over the steps, by channel: ([3 w] labels, [n, 3 w]). Some rows at a
    time, which stay in the processor's cache."""
    pieces = [_of_steps(steps[i : i + PIECE]) for i in range(0, len(steps), PIECE)]
    found = np.concatenate([np.zeros((0, 3 * steps.shape[2]), np.float32), *pieces])
    return [f"{field}[{j}] {what}" for what in ("mean", "spread", "reach") for j in range(steps.shape[2])], found


def _of_steps(steps: Tensor) -> Values:
    mean = steps.mean(1)
    found = (mean, (steps - mean[:, None]).square_().mean(1).sqrt_(), _largest(steps.abs()))
    return np.concatenate([as_numpy(v, np.float32) for v in found], axis=1)


def _largest(steps: Tensor) -> Tensor:
    """[n, w] over the steps of [n, steps, w]: halves against each other, many times quicker than step by step."""
    while (n := steps.shape[1]) > 1:
        steps = steps[:, : (n + 1) // 2].maximum(steps[:, n // 2 :])
    return steps[:, 0]


def _of_diagrams(field: str, points: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[list[str], Values]:
    """Points, sum of lives and longest life, by homology: ([9] labels, [n, 9])."""
    life = np.where(mask, points[..., 1] - points[..., 0], 0.0)
    labels, found = [], []
    for h in range(3):
        mine = mask & (np.rint(points[..., 2]) == h)
        labels += [f"{field} H{h} {what}" for what in ("points", "lives", "longest life")]
        found += [mine.sum(1), (life * mine).sum(1), (life * mine).max(1, initial=0.0)]
    return labels, np.stack(found, axis=1).astype(np.float32)
