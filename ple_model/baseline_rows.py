"""The rows of a dataset that baselines are fitted on and measured on, in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model.data.dataset.reader import Dataset
from ple_model.flat_inputs import FLAT_FIELDS, flat

SPEND = re.compile(r"(prior_)?spend_\d+d")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class BaselineRows:
    """Inputs [n, F], `features` first; customer ids and cut-offs [n]; labels by task [n] or [n, outputs], NaN where missing;
    single columns by name [n]."""

    matrix: NDArray[np.float32]
    customers: NDArray[np.object_]
    cutoffs: NDArray[np.object_]
    labels: dict[str, Array]
    single: dict[str, Array]


def read_rows(dataset: Dataset, splits: Sequence[str], limit: int | None, seed: int, quick: bool) -> BaselineRows:
    """The rows of these splits in file order, or a seeded sample of `limit` rows of one split. `quick`: the columns alone."""
    total = sum(dataset.rows(s) for s in splits)
    keep = np.arange(total)
    if limit is not None and limit < total:
        keep = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
    chosen = np.zeros(total, dtype=bool)
    chosen[keep] = True
    pieces: list[NDArray[np.float32]] = []
    customers: list[str] = []
    cutoffs: list[str] = []
    labels: dict[str, list[Array]] = {}
    first = 0
    fields = ("features",) if quick else tuple(f for f in FLAT_FIELDS if f in dataset.manifest.fields)
    for batch in (b for s in splits if dataset.rows(s) for b in dataset.batches(s, 4096, window_rows=4096, fields=fields)):
        mine = chosen[first : first + len(batch)]
        first += len(batch)
        pieces.append((batch.inputs.features.numpy() if quick else flat(batch.inputs))[mine])
        customers += [c for c, taken in zip(batch.customer_id, mine, strict=True) if taken]
        cutoffs += [c for c, taken in zip(batch.cutoff, mine, strict=True) if taken]
        for task, value in (batch.inputs.targets or {}).items():
            y = value.numpy()[mine].astype(np.float64)
            labels.setdefault(task, []).append(y if value.is_floating_point() else np.where(y < 0, np.nan, y))
    matrix = np.concatenate(pieces)
    joined = {k: np.concatenate(v) for k, v in labels.items()}
    ids, dates = np.array(customers, dtype=object), np.array(cutoffs, dtype=object)
    return BaselineRows(matrix, ids, dates, joined, _single_columns(dataset, splits, matrix, keep))


def baseline_of(column: str) -> str | None:
    name = column.removeprefix("raw:")
    return "recency" if name == "recency_days" else "prior_spend" if SPEND.fullmatch(name) else None


def _single_columns(
    dataset: Dataset, splits: Sequence[str], features: NDArray[np.float32], keep: NDArray[np.int64]
) -> dict[str, Array]:
    """By name: the readable columns (`raw:`) and those of the schema that a single-column baseline may use, for the rows
    `keep`. A readable column stands for the schema's of the same name."""
    readable = ["raw:" + n.removeprefix("raw:") for n in dataset.manifest.raw_columns]
    found: dict[str, Array] = {}
    for name in (n for n in readable if baseline_of(n)):
        whole = pa.chunked_array([c for s in splits if dataset.rows(s) for c in dataset.table([name], s).column(0).chunks])
        found[name] = np.asarray(whole.to_pandas(), dtype=np.float64)[keep]
    for name, index in dataset.schema.index.items():
        if baseline_of(name) and f"raw:{name}" not in found:
            found[name] = features[:, index].astype(np.float64)
    return found
