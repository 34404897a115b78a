"""Few labels: what a linear reader of the embedding learns from 1, 5, 20 and 100 % of the labels.

Beside it the same reader on summary statistics of the same days, which is the baseline that nobody may leave out. Ridge with
its penalty by leave-one-out (closed form), fitted to labels of one half of the customers; AUC on the other half. An encoder
reads no labels, so it does not matter which of them it has seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.results.sequences import ProbeRow
from ple_model.metrics import auc

SHARES = (0.01, 0.05, 0.2, 1.0)
DRAWS = 5
FEWEST = 8
"""Labels with which a reader is fitted at all; of either class at least two, or nothing separates."""
FEWEST_TESTED = 20
"""Of either class among the tested customers: with fewer an AUC moves by more than a tenth by chance alone."""
MOST_TASKS = 4
PENALTIES = np.logspace(-1, 5, 7)


def summary(values: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[n, 6 C + 1] of series [n, L, C]: mean, deviation, largest, share of days with anything, mean of the last 28 and of the
    last 7 steps, and how many steps were seen."""
    there = seen[..., None]
    count = np.maximum(there.sum(1), 1)
    x = np.where(there, values, 0.0).astype(np.float64)
    mean = x.sum(1) / count
    spread = np.sqrt((np.where(there, x - mean[:, None], 0.0) ** 2).sum(1) / count)
    recent = [x[:, -k:].sum(1) / np.maximum(there[:, -k:].sum(1), 1) for k in (28, 7)]
    return np.concatenate([mean, spread, x.max(1), (x != 0).sum(1) / count, *recent, seen.mean(1, keepdims=True)], axis=1)


def half_of(customers: Sequence[str], seed: int = 0) -> NDArray[np.bool_]:
    """[n] rows of a random half of the customers: all rows of a customer stand on one side."""
    names, index = np.unique(np.asarray(customers, dtype=str), return_inverse=True)
    chosen = np.random.default_rng(seed).permutation(len(names)) < (len(names) + 1) // 2
    return np.asarray(chosen[index], dtype=bool)


def probe(
    features: Mapping[str, NDArray[Any]], labels: Mapping[str, NDArray[Any]], train: NDArray[np.bool_], seed: int = 0
) -> tuple[ProbeRow, ...]:
    """`features`: `encoder` and `summary`, [n, any] each; `labels`: by binary task, [n] with -1 where missing; `train` [n]."""
    scaled = {name: _scaled(x, train) for name, x in features.items()}
    rows: list[ProbeRow] = []
    usable = {task: y for task, y in labels.items() if _usable(y, train)}
    for task in sorted(usable, key=lambda k: -int((usable[k][train] == 1).sum()))[:MOST_TASKS]:
        for share in SHARES:
            found = _at(scaled, usable[task], train, share, seed)
            if found is not None:
                rows.append(ProbeRow(task, share, *found))
    return tuple(rows)


def _usable(y: NDArray[Any], train: NDArray[np.bool_]) -> bool:
    return all(int((y[~train] == c).sum()) >= FEWEST_TESTED and int((y[train] == c).sum()) >= FEWEST for c in (0, 1))


def _at(
    scaled: Mapping[str, NDArray[Any]], y: NDArray[Any], train: NDArray[np.bool_], share: float, seed: int
) -> tuple[int, float, float, float, float, int, int] | None:
    """(labels, AUC and its deviation for both readers, draws, tested); None where too few labels are left."""
    pool, tested = np.flatnonzero(train & (y >= 0)), np.flatnonzero(~train & (y >= 0))
    count = round(share * len(pool))
    if count < FEWEST:
        return None
    draws = 1 if share == 1 else DRAWS
    scores: dict[str, list[float]] = {"encoder": [], "summary": []}
    for draw in range(draws):
        mine = _draw(pool, y, count, np.random.default_rng([seed, draw, count]))
        for name, x in scaled.items():
            scores[name].append(float(auc(y[tested], _fit(x[mine], y[mine], x[tested]))))
    e, s = scores["encoder"], scores["summary"]
    return count, float(np.mean(e)), float(np.std(e)), float(np.mean(s)), float(np.std(s)), draws, len(tested)


def _draw(pool: NDArray[np.int64], y: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` of the labelled rows, of either class at least two."""
    mine = rng.permutation(pool)
    first = np.concatenate([mine[y[mine] == c][:2] for c in (0, 1)])
    rest = mine[~np.isin(mine, first)]
    return np.concatenate([first, rest])[:count]


def _fit(x: NDArray[Any], y: NDArray[Any], at: NDArray[Any]) -> NDArray[np.float64]:
    from sklearn.linear_model import RidgeCV  # late: a second of loading

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more columns than rows is what a probe of few labels is
        model = RidgeCV(alphas=PENALTIES).fit(x, np.where(y > 0, 1.0, -1.0))
    return np.asarray(model.predict(at), np.float64)


def _scaled(x: NDArray[Any], train: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each column in deviations of the fitted half; a constant one is left out."""
    wide = x.astype(np.float64)
    mean, spread = wide[train].mean(0), wide[train].std(0)
    kept = spread > 1e-9
    return np.asarray(np.clip((wide[:, kept] - mean[kept]) / spread[kept], -10, 10), np.float64)
