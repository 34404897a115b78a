"""How much do the inputs of some rows tell of a label at all? A ridge regression fitted afresh, a customer at a time.

Columns and amounts go in as ranks, classes one by one, so that no scale and no outlier decides. Every customer is told by a fit
on all others in closed form: with K the centred kernel, F = K (K + strength)^-1 Y and H its hat matrix, what the fit without
the rows b says of them is Y_b - (1 - H_bb)^-1 (Y_b - F_b). It needs no halves, so that 800 rows see what boosting on halves
of them does not: of shuffled labels it finds 0 +- 0.01, of the weakest learnable task of the synthetic bank (timing) 0.03,
of others 0.08 to 0.9.

A run keeps what it found on held-out rows at the end of training, by number of rows: later labels are held against that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ple_model.metrics import weighted_ranks

SIZES = (200, 400, 800)
"""Rows on which a run keeps what its labels' inputs told of them."""
ROWS, FEWEST = 800, 200
"""Rows of a fit at most, and at least."""
DRAWS = 3
"""Samples of each size."""
HELD = 3_000
"""Held-out rows that they are drawn from at most."""
RAREST = 20
"""Rows outside the commonest class below which nothing is said."""
STRENGTHS = (0.1, 1.0, 3.0, 10.0)
"""Of the ridge, over the mean square of a column."""
ROUNDS = 100
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ToldShare:
    """Share of a label's variance that the inputs tell, negative where they point the wrong way, with its 95 % interval."""

    n: int
    value: float
    low: float
    high: float


def ranked(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, c] standardised ranks of each column; 0 for what is not there, and for columns of one value."""
    out = np.zeros(values.shape, dtype=np.float32)
    there = np.isfinite(values)
    whole = there.all(0)  # most columns: ranked at once
    if len(values) and whole.any():
        from scipy.stats import rankdata  # late: scipy.stats

        out[:, whole] = rankdata(values[:, whole].astype(np.float64), axis=0) - (len(values) + 1) / 2
    for j in np.flatnonzero(there.any(0) & ~whole):
        known = there[:, j]
        rank = weighted_ranks(values[known, j])
        out[known, j] = rank - rank.mean()
    spread = np.sqrt(np.mean(out.astype(np.float64) ** 2, axis=0))
    return np.asarray(out / np.where(spread > 1e-9, spread, 1.0), dtype=np.float32)


def told(
    kind: str, label: Array, ranks: NDArray[np.float32], customers: NDArray[np.generic], seed: int = 0
) -> ToldShare | None:
    """Of labels [n] without gaps, from `ranked` columns [n, c]; None with too few rows, or where hardly any differ."""
    y = _outputs(kind, label)
    if y is None:
        return None
    people = np.unique(customers, return_inverse=True)[1]
    own = _without_own(y, ranks.astype(np.float64), people)
    count = int(people.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = np.stack([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(ROUNDS)])
    weight = np.concatenate([np.ones((1, len(y))), drawn[:, people]])
    found = _share(y, own, weight)
    half = 1.96 * float(found[1:].std())
    return ToldShare(len(y), float(found[0]), float(found[0]) - half, float(found[0]) + half)


def _outputs(kind: str, label: Array) -> Array | None:
    """[n, k] what is told: ranks of an amount, 0 or 1 by class; centred."""
    if len(label) < FEWEST:
        return None
    classes, index, counts = np.unique(label, return_inverse=True, return_counts=True)
    if len(label) - counts.max() < RAREST:
        return None
    y = weighted_ranks(label)[:, None] / len(label) if kind == "regression" else np.eye(len(classes))[index]
    return np.asarray(y - y.mean(0))


def _by_number(people: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """[customers, rows] the rows of each customer, those with as many rows together: they are solved at once."""
    order = np.argsort(people, kind="stable")
    many = np.bincount(people)
    first = np.cumsum(many) - many
    return [order[first[many == m][:, None] + np.arange(m)] for m in np.unique(many)]


def _without_own(y: Array, x: Array, people: NDArray[np.int64]) -> Array:
    """[n, k] what the fit without a row's customer says of it, at the best of the strengths."""
    n = len(y)
    kernel = x @ x.T / x.shape[1]
    kernel -= kernel.mean(0)
    kernel -= kernel.mean(1)[:, None]
    size, basis = np.linalg.eigh(kernel)
    coefficients = basis.T @ y
    groups = _by_number(people)
    best: tuple[float, Array] | None = None
    for strength in STRENGTHS:
        kept = np.maximum(size, 0) / (np.maximum(size, 0) + strength)
        gap = y - basis @ (kept[:, None] * coefficients)
        said = np.empty_like(y)
        for g in groups:
            hat = (basis[g] * kept) @ basis[g].transpose(0, 2, 1) + 1 / n
            said[g] = y[g] - np.linalg.solve(np.eye(g.shape[1]) * (1 + 1e-9) - hat, gap[g])
        loss = float(((y - said) ** 2).sum())
        if best is None or loss < best[0]:
            best = loss, said
    assert best is not None
    return best[1]


def _share(y: Array, said: Array, weight: Array) -> Array:
    """[rounds] squared correlation with its sign, the outputs weighted by their variance; rows weighted [rounds, n]."""
    total = weight.sum(1, keepdims=True)
    a, b = weight @ y / total, weight @ said / total
    both = weight @ (y * said) / total - a * b
    one, two = weight @ (y * y) / total - a * a, weight @ (said * said) / total - b * b
    with np.errstate(divide="ignore", invalid="ignore"):  # of what does not vary nothing is told
        square = np.nan_to_num(both * np.abs(both) / (one * two), posinf=0.0, neginf=0.0)
        return np.asarray(np.nan_to_num((square * one).sum(1) / one.sum(1)))


@dataclass(frozen=True)
class ToldBySize:
    """What a run kept: by number of rows the mean over samples, and their largest distance from it."""

    rows: tuple[int, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    def at(self, n: int) -> tuple[float, float]:
        """(mean, spread) of as many rows as the largest kept number that is not above n; NaN below the smallest."""
        fits = [i for i, rows in enumerate(self.rows) if rows <= n]
        return (self.mean[fits[-1]], self.spread[fits[-1]]) if fits else (float("nan"), float("nan"))


def by_size(
    kinds: Mapping[str, str], labels: Mapping[str, Array], ranks: NDArray[np.float32], customers: NDArray[np.generic]
) -> dict[str, ToldBySize]:
    """Of held-out rows, their labels by task [n] (NaN: none). Samples are of whole rows; of a number that the rows hardly have
    twice there is one."""
    found: dict[str, ToldBySize] = {}
    for task, label in labels.items():
        known = np.flatnonzero(np.isfinite(label))
        rng = np.random.default_rng(len(known))
        sizes = sorted({min(s, len(known)) for s in SIZES if len(known) >= FEWEST})
        kept: list[tuple[int, float, float]] = []
        for size in sizes:
            draws = DRAWS if len(known) >= 1.5 * size else 1
            values = []
            for _ in range(draws):
                rows = np.sort(rng.choice(known, size, replace=False))
                one = told(kinds[task], label[rows], ranks[rows], customers[rows])
                if one is not None:
                    values.append(one)
            if values:
                mean = float(np.mean([v.value for v in values]))
                spread = max(abs(v.value - mean) for v in values) if len(values) > 1 else 0.0
                # the samples overlap: no less than what resampling one of them says
                spread = max(spread, float(np.mean([(v.high - v.low) / 2 for v in values])))
                kept.append((size, mean, spread))
        if kept:
            found[task] = ToldBySize(*zip(*kept, strict=True))
    return found
