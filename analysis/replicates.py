"""A run's numbers with jackknife replicates, by page: what `analysis.compare` sets beside those of another run.

Scalars of every row come from one query a page, which adds up by group of customers; what needs vectors (rank, cosine, spread)
comes from the bounded sample. Groups follow the customer's id alone, so they are the same in every run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis.cohort import CohortFilter, where
from analysis.compare import GROUPS, Estimate, Key, RunNumbers, leave_one_out
from analysis.stats import expert, hmm
from analysis.stats.base import Array, Statistic
from analysis.store import AnalysisStore
from analysis.vectors import sampled
from ple_model.errors import UserError
from ple_model.presence import fallback_column
from ple_model.sql_text import literal, quote

S = TypeVar("S", bound=Statistic)
CHANGE_UNITS = {"binary": "probability", "multiclass": "variation", "regression": "deviations", "contrastive": "angle"}
"""Units of a mean change by kind of task; see `EffectStats`."""


@dataclass(frozen=True)
class Gap:
    """Why a cohort filter does not fit a run: it lacks the column, or has no row with these values."""

    kind: Literal["column", "values"]
    column: str
    values: tuple[str, ...] = ()


def gaps(store: AnalysisStore, filters: Sequence[CohortFilter]) -> tuple[Gap, ...]:
    """What of a cohort filter another run's analysis does not have."""
    found = []
    for f in filters:
        if f.column not in store.columns:
            found.append(Gap("column", f.column))
            continue
        lone = [CohortFilter(f.column, "in", (v,)) for v in f.values] if f.op == "in" else [f]
        absent = tuple(str(f.values[i]) if f.op == "in" else f.describe() for i, one in enumerate(lone) if not _any(store, one))
        if absent:
            found.append(Gap("values", f.column, absent))
    return tuple(found)


def _any(store: AnalysisStore, one: CohortFilter) -> bool:
    try:
        return store.count([one]) > 0
    except UserError:  # a value that does not fit the column's type
        return False


@dataclass(frozen=True)
class Mean:
    """The mean over rows of a column, or of the mean of several; rows where `unless` holds are left out.

    `error` takes two columns, what was predicted and what happened: "squared", "absolute", or "wrong" where they differ.
    `split` keeps the rows of one split.
    """

    columns: tuple[str, ...]
    unless: str = ""
    error: Literal["", "squared", "absolute", "wrong"] = ""
    split: str = ""

    def sql(self) -> str:
        """The number of each row; NULL for a row that does not count."""
        names = [f"{quote(c)}::DOUBLE" for c in self.columns]
        x = f"({' + '.join(names)}) / {len(names)}"
        if self.error:
            predicted, happened = names
            x = {
                "squared": f"({predicted} - {happened}) ** 2",
                "absolute": f"abs({predicted} - {happened})",
                "wrong": f"({predicted} <> {happened})::DOUBLE",
            }[self.error]
            if self.error == "squared":  # a probability that is no number is as wrong as can be, and never left out
                x = f"CASE WHEN {predicted} IS NULL AND {happened} IS NOT NULL THEN 1.0 ELSE {x} END"
        kept = [f"isfinite({x})"]
        if self.unless:
            kept.append(f"NOT {quote(self.unless)}")
        if self.split:
            kept.append(f"split = {literal(self.split)}")
        return f"CASE WHEN {' AND '.join(kept)} THEN {x} END"


def means(store: AnalysisStore, items: Sequence[Mean], filters: Sequence[CohortFilter] = ()) -> tuple[Array, Array, Array]:
    """(means [C], replicates [GROUPS, C], rows [C]) of several means of one cohort, in one query."""
    store.count(filters)  # names an unknown column or a value that does not fit
    condition, values = where(filters)
    cells = [f"{item.sql()} AS x{i}" for i, item in enumerate(items)]
    folded = ", ".join(f"sum(x{i}), count(x{i})" for i in range(len(items)))
    group = f"(hash(customer_id) % {GROUPS})::INT AS g"
    query = f"SELECT g, {folded} FROM (SELECT {group}, {', '.join(cells)} FROM rows {condition}) GROUP BY g"
    sums, counts = np.zeros((GROUPS, len(items))), np.zeros((GROUPS, len(items)))
    for row, *numbers in store.cursor().execute(query, values).fetchall() if items else ():
        sums[row] = [v or 0.0 for v in numbers[::2]]
        counts[row] = numbers[1::2]
    return *leave_one_out(sums, counts), counts.sum(0)


def _estimates(
    store: AnalysisStore, wanted: dict[Key, tuple[Mean, str]], filters: Sequence[CohortFilter]
) -> dict[Key, Estimate]:
    """Each wanted mean with its unit as an estimate; one whose columns the analysis lacks is left out."""
    there = {k: w for k, w in wanted.items() if all(c in store.columns for c in w[0].columns)}
    value, replicates, n = means(store, [m for m, _ in there.values()], filters)
    return {k: Estimate(float(value[i]), int(n[i]), unit, replicates[:, i]) for i, (k, (_, unit)) in enumerate(there.items())}


def customer_groups(customers: Iterable[object]) -> NDArray[np.int64]:
    """[S] the group of each row's customer."""
    return np.array([zlib.crc32(str(c).encode()) % GROUPS for c in customers], dtype=np.int64)


def replicate_values(parts: Sequence[S], values: Sequence[Callable[[S], float]]) -> Array:
    """[len(parts), len(values)] numbers of the merged statistics of all groups but one each."""
    after: list[S | None] = [None]
    for part in reversed(parts[1:]):
        after.append(part if after[-1] is None else after[-1] + part)
    after.reverse()
    before: S | None = None
    out = np.full((len(parts), len(values)), np.nan)
    for i, part in enumerate(parts):
        rest = [p for p in (before, after[i]) if p is not None]
        if rest:
            left = reduce(add, rest)
            out[i] = [value(left) for value in values]
        before = part if before is None else before + part
    return out


def experts(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> RunNumbers:
    """Fallback share, gate weight, norm, effective rank, zero rate and share of dead dimensions of each expert."""
    facts = store.statistics.facts
    wanted: dict[Key, tuple[Mean, str]] = {}
    for e in facts.experts:
        wanted[Key(e, "fallback")] = Mean((fallback_column(e),)), "share"
        wanted[Key(e, "weight")] = Mean(tuple(f"g:{t}:{e}" for t in facts.tasks)), "share"
        wanted[Key(e, "norm")] = Mean((f"n:{e}",), unless=fallback_column(e)), "length"
    found = _estimates(store, wanted, filters)
    whole = store.statistics.experts
    if whole is not None and "experts" in store.vectors:
        kept = sampled(store, ["customer_id", *(fallback_column(e) for e in whole.names)], filters)
        groups = customer_groups(kept.columns["customer_id"])
        vectors = store.vectors["experts"][kept.index].astype(np.float32)
        for e, s in whole.slices().items():
            there = ~kept.columns[fallback_column(e)].astype(bool)
            x = vectors[:, s]
            parts = [expert.measure({e: x[groups == g]}, {e: there[groups == g]}) for g in range(GROUPS)]
            one = reduce(add, parts) if filters else whole
            n = int(one.counted[one.names.index(e)])
            values = [lambda m, e=e: m.effective_rank(e), lambda m, e=e: m.zero_rate(e), lambda m, e=e: m.dead_share(e)]
            left = replicate_values(parts, values)
            for i, (measure, unit) in enumerate((("rank", "directions"), ("zero", "share"), ("dead", "share"))):
                found[Key(e, measure)] = Estimate(float(values[i](one)), n, unit, left[:, i])
    return RunNumbers(store.count(filters), {k: found[k] for k in sorted(found, key=lambda k: facts.experts.index(k.subject))})


def gates(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> RunNumbers:
    """Mean weight of each task on each expert, and how many experts a row of each task really uses."""
    facts = store.statistics.facts
    cells = {Key(t, "weight", e): (Mean((f"g:{t}:{e}",)), "share") for t in facts.tasks for e in facts.experts}
    spread = {Key(t, "effective"): (Mean((f"h:{t}",)), "experts") for t in facts.tasks}
    found = _estimates(store, cells | spread, filters)
    for k in spread:
        if k in found:
            h = found[k]
            assert h.replicates is not None
            found[k] = Estimate(float(np.exp(h.value)), h.n, h.unit, np.exp(h.replicates))
    return RunNumbers(store.count(filters), found)


def modes(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> RunNumbers:
    """Default rate of each HMM mode, and the norm, cosine to the default and spread of its real projections."""
    whole = store.statistics.hmm
    if whole is None:
        return RunNumbers(store.count(filters))
    found = _estimates(store, {Key(m, "rate"): (Mean((f"d:{m}",)), "share") for m in whole.modes}, filters)
    kept = sampled(store, ["customer_id", *(f"d:{m}" for m in whole.modes)], filters)
    groups = customer_groups(kept.columns["customer_id"])
    for i, m in enumerate(whole.modes):
        if f"hmm:{m}" not in store.vectors:
            continue
        x = store.vectors[f"hmm:{m}"][kept.index].astype(np.float32)
        default = kept.columns[f"d:{m}"].astype(bool)
        parts = [hmm.measure({m: x[groups == g]}, {m: default[groups == g]}, {m: whole.embedding[i]}) for g in range(GROUPS)]
        one, at = (reduce(add, parts), 0) if filters else (whole, i)
        left = replicate_values(
            parts, [lambda s: float(s.real_norm[0]), lambda s: float(s.cosine[0]), lambda s: float(s.spread[0])]
        )
        values = (one.real_norm[at], one.cosine[at], one.spread[at])
        for j, (measure, unit) in enumerate((("real_norm", "length"), ("cosine", "cosine"), ("spread", "length"))):
            found[Key(m, measure)] = Estimate(float(values[j]), int(one.real[at]), unit, left[:, j])
    return RunNumbers(store.count(filters), {k: found[k] for k in sorted(found, key=lambda k: whole.modes.index(k.subject))})


def edges(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> RunNumbers:
    """Strength of each transfer edge in the cohort; change and flips when it is cut, of all customers of the what-if sample."""
    s = store.statistics
    names = s.facts.edges
    found = _estimates(store, {Key(e, "strength"): (Mean((f"t:{e}",)), "ratio") for e in names}, filters)
    x = s.effects
    for e in names if x is not None else ():
        assert x is not None
        target, cut = e.split(":")[1], f"edge.{e}=0"
        if cut not in x.interventions or target not in x.tasks:
            continue
        i, k = x.interventions.index(cut), x.tasks.index(target)
        kind = s.facts.kinds.get(target, "binary")
        independent = x.n * _independent(store)
        error = float(x.change_std[i, k] / np.sqrt(independent))
        found[Key(e, "change")] = Estimate(float(x.mean_change[i, k]), x.n, CHANGE_UNITS[kind], error=error)
        if kind in ("binary", "multiclass"):  # the others have no decision to flip
            p = float(x.flip_share[i, k])
            found[Key(e, "flips")] = Estimate(p, x.n, "share", error=share_error(p, independent))
    return RunNumbers(store.count(filters), {k: found[k] for k in sorted(found, key=lambda k: names.index(k.subject))})


def predictions(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> RunNumbers:
    """Error of each task on the rows that are judged (the test split where there is one): the Brier score of a yes or no, the
    share of wrong classes, the mean absolute error of an amount in its own units."""
    split = str(store.meta.get("judged_split", "test"))
    wanted: dict[Key, tuple[Mean, str]] = {}
    for task, kind in store.statistics.facts.kinds.items():
        if kind == "binary":
            wanted[Key(task, "squared")] = Mean((f"p:{task}", f"y:{task}"), error="squared", split=split), "brier"
        elif kind == "regression":
            wanted[Key(task, "absolute")] = Mean((f"p:{task}", f"y:{task}"), error="absolute", split=split), "label"
        else:
            wanted[Key(task, "wrong")] = Mean((f"c:{task}", f"y:{task}"), error="wrong", split=split), "share"
    return RunNumbers(store.count(filters), _estimates(store, wanted, filters))


def uncertainties(store: AnalysisStore, filters: Sequence[CohortFilter] = ()) -> RunNumbers:
    """Mean uncertainty of each evidential task: vacuity of classes, epistemic variance of amounts."""
    wanted: dict[Key, tuple[Mean, str]] = {}
    for task, kind in store.statistics.facts.kinds.items():
        measure, unit = ("variance", "variance") if kind == "regression" else ("vacuity", "vacuity")
        wanted[Key(task, measure)] = Mean((f"u:{task}",)), unit
    return RunNumbers(store.count(filters), _estimates(store, wanted, filters))


def share_error(share: float, n: float) -> float:
    """Standard error of a share with one success and one failure added, which stays honest at none and at all (Agresti and
    Caffo 2000)."""
    p = (share * n + 1) / (n + 2)
    return float(np.sqrt(p * (1 - p) / (n + 2)))


def _independent(store: AnalysisStore) -> float:
    """Customers over rows: rows of one customer count as one, which is the cautious end."""
    rows, customers = store.cursor().execute("SELECT count(*), count(DISTINCT customer_id) FROM rows").fetchall()[0]
    return float(customers / rows) if rows else float("nan")


PROFILES: dict[str, Callable[[AnalysisStore, Sequence[CohortFilter]], RunNumbers]] = {
    "experts": experts, "gates": gates, "hmm": modes, "transfer": edges, "predictions": predictions,
    "uncertainty": uncertainties,
}  # fmt: skip


def profile(store: AnalysisStore, area: str, filters: Sequence[CohortFilter] = ()) -> RunNumbers:
    """The numbers of one page; `area` is a key of `PROFILES`."""
    return PROFILES[area](store, filters)
