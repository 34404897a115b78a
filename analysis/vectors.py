"""Vector statistics of a cohort, from the bounded sample of vectors (at most 20,000 rows) that an analysis keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.cohort import CohortFilter, where
from analysis.stats.expert import ExpertStats, measure
from analysis.stats.hmm import HmmStats
from analysis.stats.hmm import measure as measure_hmm
from analysis.store import AnalysisStore
from ple_model.presence import fallback_column
from ple_model.sql_text import quote


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
    names = ", ".join(f"{quote(c)} AS c{i}" for i, c in enumerate(columns))
    query = (
        f"SELECT row{', ' if names else ''}{names} FROM rows {condition} {'AND' if condition else 'WHERE'} "
        "row IN (SELECT unnest(?::BIGINT[])) ORDER BY row"
    )
    found = store.arrays(query, [*values, [int(r) for r in rows]])
    order = np.argsort(rows, kind="stable")
    index = order[np.searchsorted(rows[order], np.asarray(found["row"]))]
    return Sampled(index.astype(np.int64), {c: found[f"c{i}"] for i, c in enumerate(columns)})


def expert_statistics(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> ExpertStats | None:
    """Rank, dead dimensions and CKA of the experts' own outputs in a cohort; None where no vectors were kept."""
    whole = store.statistics.experts
    if whole is None or "experts" not in store.vectors:
        return None
    found = sampled(store, [fallback_column(e) for e in whole.names], filters)
    vectors = store.vectors["experts"][found.index].astype(np.float32)
    outputs = {e: vectors[:, s] for e, s in whole.slices().items()}
    return measure(outputs, {e: ~found.columns[fallback_column(e)].astype(bool) for e in whole.names})


def hmm_statistics(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> HmmStats | None:
    """Default rate, norms, cosine and spread of the HMM projections in a cohort; None where no vectors were kept."""
    whole = store.statistics.hmm
    if whole is None or any(f"hmm:{m}" not in store.vectors for m in whole.modes):
        return None
    found = sampled(store, [f"d:{m}" for m in whole.modes], filters)
    projected = {m: store.vectors[f"hmm:{m}"][found.index].astype(np.float32) for m in whole.modes}
    default = {m: found.columns[f"d:{m}"].astype(bool) for m in whole.modes}
    return measure_hmm(projected, default, dict(zip(whole.modes, whole.embedding, strict=True)))
