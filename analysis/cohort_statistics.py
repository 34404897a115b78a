"""Statistics of a cohort, by queries over the scalars of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.cells import summed, write_cells
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
    n = store.count(filters)  # names an unknown column or a value that does not fit
    ask = _Asked(store, filters, summed(store, filters))
    per_expert = _experts_of(store, ask)
    return CohortStatistics(
        tuple(filters),
        n,
        store.n,
        tuple(store.statistics.facts.experts),
        np.asarray(ratio(np.nan_to_num(per_expert[:, 0]), np.full(len(per_expert), n))),
        per_expert[:, 1],
        per_expert[:, 2],
        _gates_of(store, ask, n, per_expert[:, 3]),
        _means_of(store, ask, "d:", "::INT"),
        uncertainty_of(store, filters),
        _means_of(store, ask, "t:"),
    )


@dataclass(frozen=True)
class _Asked:
    """Sums over a cohort, from the kept cells or from the rows."""

    store: StoredRows
    filters: Sequence[CohortFilter]
    kept: Mapping[str, float] | None

    def __call__(self, sums: Sequence[str], also: str = "") -> Array:
        """[sums]; `also` narrows the cohort further, which only rows can answer."""
        if self.kept is not None and not also and all(sql in self.kept for sql in sums):
            return np.array([self.kept[sql] for sql in sums])
        return _numbers(self.store.query(sums, self.filters, also=also)[0])


def keep_cells(store: StoredRows) -> None:
    """Write the sums by segment and cluster that cohorts of this analysis are told from (`cells`); not where gates are no
    numbers, whose rows are left out of some sums."""
    whole = store.statistics.gates
    if whole is not None and bool(whole.nonfinite.any()):
        return
    experts = store.statistics.facts.experts
    sums = ["count(*)", *(sql for e in experts for sql in _expert_sums(e)), *_gate_sums(store)]
    sums += [sql for prefix, cast in (("d:", "::INT"), ("t:", "")) for sql in _mean_sums(store, prefix, cast)]
    write_cells(store, list(dict.fromkeys([*sums, *(sql for e in sorted(_starved(store)) for sql in _wasted_sums(store, e))])))


def _expert_sums(expert: str) -> list[str]:
    """Rows where it falls back, fallen rows of the main sample; of its norm elsewhere count, sum and sum of squares."""
    fell, norm = quote(fallback_column(expert)), f"{quote(f'n:{expert}')}::DOUBLE"
    own = f"FILTER (NOT {fell})"
    return [
        f"count_if({fell})", f"count_if({fell} AND NOT aux)", f"count({norm}) {own}", f"sum({norm}) {own}",
        f"sum({norm} * {norm}) {own}",
    ]  # fmt: skip


def _experts_of(store: StoredRows, ask: _Asked) -> Array:
    """[experts, 4]: rows where it falls back, mean and deviation of its norm elsewhere, fallen rows of the main sample."""
    out = []
    experts = store.statistics.facts.experts
    asked = [sql for e in experts for sql in _expert_sums(e)]
    for fell, main, count, total, squares in ask(asked).reshape(len(experts), 5):
        middle = total / count if count else np.nan
        spread = np.sqrt(max(squares / count - middle**2, 0.0)) if count else np.nan
        out.append([fell, middle, spread, main])
    return np.array(out, dtype=np.float64).reshape(len(experts), 4)


def _gate_sums(store: StoredRows) -> list[str]:
    """By task: entropies, largest weights, and of each expert weights and rows that it is the top of."""
    q, facts = quote, store.statistics.facts
    asked = []
    for t in facts.tasks:
        asked += [f"sum({q(f'h:{t}')})", f"sum({q(f'm:{t}')})"]
        for j, e in enumerate(facts.experts):
            asked += [f"sum({q(f'g:{t}:{e}')})", f"count_if({q(f'k:{t}')} = {j})"]
    return asked


def _gates_of(store: StoredRows, ask: _Asked, n: int, fallen: Array) -> GateStats:
    """The gates; a row with a gate that is no number is left out of all, as in the recorded statistics, and counted."""
    tasks, experts = store.statistics.facts.tasks, store.statistics.facts.experts
    q, whole = quote, store.statistics.gates
    broken = whole is not None and bool(whole.nonfinite.any())
    sound = " AND ".join(f"{q(f'k:{t}')} <> {NOBODY}" for t in tasks) if broken else ""
    counted, lost = n, np.zeros(len(tasks))
    if broken:
        counted = int(ask(["count(*)"], sound)[0])
        lost = ask([f"count_if({q(f'k:{t}')} = {NOBODY})" for t in tasks])
    gate = ask(_gate_sums(store), sound).reshape(len(tasks), -1)
    wasted, fallback = _wasted_of(store, ask, fallen, sound)
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


def _wasted_sums(store: StoredRows, expert: str) -> list[str]:
    """Of the fallen rows of the main sample: how many, and what each task's gate gives to the expert there."""
    fell = f"FILTER ({quote(fallback_column(expert))} AND NOT aux)"
    return [f"count(*) {fell}", *(f"sum({quote(f'g:{t}:{expert}')}) {fell}" for t in store.statistics.facts.tasks)]


# An aggregate a cell adds up over a million rows, and one with a FILTER slows down all others of its query: those of an
# expert's fallen rows are asked for where it falls back at all, in a query of its own.
def _wasted_of(store: StoredRows, ask: _Asked, fallen: Array, sound: str) -> tuple[Array, Array]:
    """Weight [tasks, experts] that gates give to an expert on its fallen rows, and how many these are [experts]."""
    tasks, experts = store.statistics.facts.tasks, store.statistics.facts.experts
    starved = _starved(store)
    wasted, fallback = np.zeros((len(tasks), len(experts))), np.zeros(len(experts))
    for j, e in enumerate(experts):
        if e in starved and fallen[j] > 0:
            fallback[j], *wasted[:, j] = ask(_wasted_sums(store, e), sound)
    return wasted, fallback


def _mean_sums(store: StoredRows, prefix: str, cast: str) -> list[str]:
    """Count and sum of every column with this prefix."""
    columns = [f"{quote(c)}{cast}" for c in store.columns if c.startswith(prefix)]
    return [sql for c in columns for sql in (f"count({c})", f"sum({c})")]


def _means_of(store: StoredRows, ask: _Asked, prefix: str, cast: str = "") -> dict[str, float]:
    """Mean of every column with this prefix, by what follows it."""
    names = [c.removeprefix(prefix) for c in store.columns if c.startswith(prefix)]
    if not names:
        return {}
    found = ask(_mean_sums(store, prefix, cast)).reshape(-1, 2)
    return {n: float(total / count) if count else float("nan") for n, (count, total) in zip(names, found, strict=True)}


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
