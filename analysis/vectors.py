"""Vector statistics of a cohort, from the bounded sample of vectors (at most 20,000 rows) that an analysis keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.cohort import CohortFilter, quote_identifier, where
from analysis.stats.expert import ExpertStats, measure
from analysis.store import AnalysisStore


@dataclass(frozen=True, eq=False)
class Sampled:
    """The sampled rows that pass the filters: `index` [n] into each array of `store.vectors`, `columns` of the same rows."""

    index: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.index)


def sampled(store: AnalysisStore, columns: Sequence[str] = (), filters: Sequence[CohortFilter] = ()) -> Sampled:
    """Joined on the row number inside the query, so that a cohort of a million costs no more than its part of the sample."""
    rows = store.vectors.get("row")
    if rows is None or not len(rows):
        return Sampled(np.zeros(0, np.int64), {c: np.zeros(0) for c in columns})
    store.count(filters)  # names an unknown column or a value that does not fit
    condition, values = where(filters)
    names = ", ".join(f"{quote_identifier(c)} AS c{i}" for i, c in enumerate(columns))
    query = (
        f"SELECT row{', ' if names else ''}{names} FROM rows {condition} {'AND' if condition else 'WHERE'} "
        "row IN (SELECT unnest(?::BIGINT[])) ORDER BY row"
    )
    found = store.cursor().execute(query, [*values, [int(r) for r in rows]]).fetchnumpy()
    order = np.argsort(rows, kind="stable")
    index = order[np.searchsorted(rows[order], np.asarray(found["row"]))]
    return Sampled(index.astype(np.int64), {c: np.asarray(found[f"c{i}"]) for i, c in enumerate(columns)})


def expert_statistics(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> ExpertStats | None:
    """Rank, dead dimensions and CKA of the experts in a cohort; None where no vectors were kept.

    The sample holds the shared representation as the gates read it: in cold-start rows it is mixed with the segment's own
    projection, so these figures differ a little from those measured on the experts' bare outputs.
    """
    whole = store.statistics.experts
    if whole is None or "shared" not in store.vectors:
        return None
    found = sampled(store, [f"f:{e}" for e in whole.names], filters)
    shared = store.vectors["shared"][found.index].astype(np.float32)
    outputs = {e: shared[:, s] for e, s in whole.slices().items()}
    return measure(outputs, {e: ~found.columns[f"f:{e}"].astype(bool) for e in whole.names})


def projection_norms(store: AnalysisStore, modes: Sequence[str], filters: Sequence[CohortFilter] = ()) -> dict[str, float]:
    """Mode -> mean length of its real projections in a cohort; NaN where none is real."""
    found = sampled(store, [f"d:{m}" for m in modes], filters)
    out = {}
    for mode in modes:
        real = found.index[~found.columns[f"d:{mode}"].astype(bool)] if f"hmm:{mode}" in store.vectors else found.index[:0]
        lengths = np.linalg.norm(store.vectors[f"hmm:{mode}"][real].astype(np.float32), axis=1) if len(real) else np.zeros(0)
        out[mode] = float(lengths.mean()) if len(lengths) else float("nan")
    return out
