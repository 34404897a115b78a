"""Statistics of a cohort, by queries over the scalars of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.cohort import CohortFilter
from analysis.stats.base import MIN_ROWS, Array, ratio
from analysis.stats.gate import BINS, GateStats
from analysis.stored_rows import NOBODY, StoredRows
from ple_model.presence import fallback_column
from ple_model.sql_text import quote


@dataclass(frozen=True, eq=False)
class CohortStatistics:
    """Statistics of the rows that pass the filters, from one query over the per-row scalars.

    experts: [N] arrays; gates: as in the whole run, without histogram and std (see `AnalysisStore.histogram`);
    hmm_default: mode -> share; uncertainty: task -> (mean, 5 %, 25 %, 50 %, 75 %, 95 % quantile); transfer: edge -> mean ratio.
    `enough` is False when n is below the minimum for a verdict: show "too few rows", not numbers.
    """

    filters: tuple[CohortFilter, ...]
    n: int
    total: int
    experts: tuple[str, ...]
    fallback_share: Array
    norm_mean: Array
    norm_std: Array
    gates: GateStats
    hmm_default: dict[str, float]
    uncertainty: dict[str, tuple[float, ...]]
    transfer: dict[str, float]

    @property
    def enough(self) -> bool:
        return self.n >= MIN_ROWS


def cohort_statistics(store: StoredRows, filters: Sequence[CohortFilter] = ()) -> CohortStatistics:
    """Statistics of a cohort; zero rows is a valid answer (NaN everywhere). No filter reads what was recorded, at once."""
    if not filters and "uncertainty" in store.meta:
        return _everyone(store)
    n = store.count(filters)
    per_expert = _experts_of(store, filters)
    hmm, transfer = _means_of(store, "d:", filters, "::INT"), _means_of(store, "t:", filters)
    return CohortStatistics(
        tuple(filters),
        n,
        store.n,
        tuple(store.statistics.facts.experts),
        np.asarray(ratio(np.nan_to_num(per_expert[:, 0]), np.full(len(per_expert), n))),
        per_expert[:, 1],
        per_expert[:, 2],
        _gates_of(store, filters, n, per_expert[:, 3]),
        hmm,
        uncertainty_of(store, filters),
        transfer,
    )


# An aggregate a cell adds up over a million rows, and one with a FILTER slows down all others of its query: those of an
# expert's fallen rows are asked for where it falls back at all, in a query of its own.
def _experts_of(store: StoredRows, filters: Sequence[CohortFilter]) -> Array:
    """[experts, 4]: rows where it falls back, mean and deviation of its norm elsewhere, fallen rows of the main sample."""
    experts, asked = store.statistics.facts.experts, []
    for e in experts:
        fell, norm = quote(fallback_column(e)), quote(f"n:{e}")
        asked += [f"count_if({fell})", f"avg({norm}) FILTER (NOT {fell})", f"stddev_pop({norm}) FILTER (NOT {fell})"]
        asked.append(f"count_if({fell} AND NOT aux)")
    return _numbers(store.query(asked, filters)[0]).reshape(len(experts), 4)


def _gates_of(store: StoredRows, filters: Sequence[CohortFilter], n: int, fallen: Array) -> GateStats:
    """The gates; a row with a gate that is no number is left out of all, as in the recorded statistics, and counted."""
    tasks, experts = store.statistics.facts.tasks, store.statistics.facts.experts
    q, whole = quote, store.statistics.gates
    asked = []
    for t in tasks:
        asked += [f"sum({q(f'h:{t}')})", f"sum({q(f'm:{t}')})"]
        for j, e in enumerate(experts):
            asked += [f"sum({q(f'g:{t}:{e}')})", f"count_if({q(f'k:{t}')} = {j})"]
    broken = whole is not None and bool(whole.nonfinite.any())
    sound = " AND ".join(f"{q(f'k:{t}')} <> {NOBODY}" for t in tasks) if broken else ""
    counted, lost = n, np.zeros(len(tasks))
    if broken:
        counted = int(store.query(["count(*)"], filters, also=sound)[0][0])
        lost = _numbers(store.query([f"count_if({q(f'k:{t}')} = {NOBODY})" for t in tasks], filters)[0])
    gate = _numbers(store.query(asked, filters, also=sound)[0]).reshape(len(tasks), -1)
    wasted, fallback = _wasted_of(store, filters, fallen, sound)
    return GateStats(
        tasks=tuple(tasks),
        experts=tuple(experts),
        n=counted,
        weight_sum=np.nan_to_num(gate[:, 2::2]),
        weight_sq=np.full(wasted.shape, np.nan),
        histogram=np.zeros((*wasted.shape, BINS)),
        entropy_sum=np.nan_to_num(gate[:, 0]),
        top=np.nan_to_num(gate[:, 3::2]),
        top_weight=np.nan_to_num(gate[:, 1]),
        wasted=np.nan_to_num(wasted),
        fallback=fallback,
        nonfinite=np.nan_to_num(lost),
    )


def _wasted_of(store: StoredRows, filters: Sequence[CohortFilter], fallen: Array, sound: str) -> tuple[Array, Array]:
    """Weight [tasks, experts] that gates give to an expert on its fallen rows, and how many these are [experts]."""
    tasks, experts = store.statistics.facts.tasks, store.statistics.facts.experts
    q, starved = quote, _starved(store)
    wasted, fallback = np.zeros((len(tasks), len(experts))), np.zeros(len(experts))
    for j, e in enumerate(experts):
        if e in starved and fallen[j] > 0:
            rows = f"{q(fallback_column(e))} AND NOT aux" + (f" AND {sound}" if sound else "")
            asked = ["count(*)", *(f"sum({q(f'g:{t}:{e}')})" for t in tasks)]
            fallback[j], *wasted[:, j] = _numbers(store.query(asked, filters, also=rows)[0])
    return wasted, fallback


def _means_of(store: StoredRows, prefix: str, filters: Sequence[CohortFilter], cast: str = "") -> dict[str, float]:
    """Mean of every column with this prefix, by what follows it."""
    names = [c.removeprefix(prefix) for c in store.columns if c.startswith(prefix)]
    if not names:
        return {}
    found = _numbers(store.query([f"avg({quote(prefix + name)}{cast})" for name in names], filters)[0])
    return dict(zip(names, found.tolist(), strict=True))


def uncertainty_of(store: StoredRows, filters: Sequence[CohortFilter] = ()) -> dict[str, tuple[float, ...]]:
    """task -> mean and the 5, 25, 50, 75 and 95 % quantiles."""
    names = [c.removeprefix("u:") for c in store.columns if c.startswith("u:")]
    if not names:
        return {}
    asked = [f"avg({quote(f'u:{t}')})" for t in names]
    asked += [f"approx_quantile({quote(f'u:{t}')}, [0.05, 0.25, 0.5, 0.75, 0.95])" for t in names]
    answer = store.query(asked, filters)[0]
    return {
        t: (float(mean), *(float(x) for x in quantiles)) if quantiles else (float("nan"),) * 6
        for t, mean, quantiles in zip(names, answer, answer[len(names) :], strict=False)
    }


def _everyone(store: StoredRows) -> CohortStatistics:
    """The whole analysis from the recorded statistics, without touching a row."""
    s = store.statistics
    e, g, h, x = s.experts, s.gates, s.hmm, s.transfer
    assert e is not None
    assert g is not None
    return CohortStatistics(
        (), s.n, store.n, e.names, e.fallback_share, e.norm_mean, e.norm_std, g,
        {} if h is None else dict(zip(h.modes, h.default_rate.tolist(), strict=True)),
        {t: tuple(v) for t, v in store.meta["uncertainty"].items()},
        {} if x is None else dict(zip(x.edges, x.mean_ratio.tolist(), strict=True)),
    )  # fmt: skip


def _starved(store: StoredRows) -> set[str]:
    """Experts that fall back in at least one row of the whole analysis."""
    e = store.statistics.experts
    return {n for n, p in zip(e.names, e.present, strict=True) if p < e.n} if e is not None else set()


def _numbers(row: Sequence[Any]) -> Array:
    """A query's row; NULL is NaN."""
    return np.array([np.nan if v is None else v for v in row], dtype=np.float64)
