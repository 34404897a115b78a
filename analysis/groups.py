"""Recommendation rates and skill by group of customers, from the stored rows of an analysis: by segment, cluster, and what may
not be a reason (region, age)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.cohort import CohortFilter
from analysis.skill import COHORT_LIMIT, task_skill
from analysis.stats.base import MIN_ROWS
from analysis.stats.rates import GroupRates, group_rates
from analysis.stats.skill import TaskSkill
from analysis.store import AnalysisStore
from ple_model.barred_words import BARRED_KINDS
from ple_model.skill import Resamples

RAW = "raw:"
COUNTED = ("binary", "multiclass", "regression")
"""Kinds of tasks that recommend something that can be counted; a brand is one of too many."""
UNKNOWN = "–"
"""The group of those of whom the fact is not known."""


@dataclass(frozen=True)
class GroupTable:
    """`by`: the column that made the groups."""

    by: str
    rates: GroupRates
    skill: Mapping[str, TaskSkill]
    """Of groups with enough labelled rows that the model did not learn from."""
    rows: int
    learned: int
    """Of `rows`, those that the model learned from: its answers to them are surer than to others."""


def groupings(store: AnalysisStore) -> tuple[str, ...]:
    """Columns that customers can be grouped by here: segment, cluster, and kinds of barred facts that the data carries."""
    raw = [c for c in store.columns if c.startswith(RAW)]
    barred = [c for c in raw if any(kind.called(c.removeprefix(RAW)) for kind in BARRED_KINDS.values())]
    return tuple(c for c in ("segment", *barred, "cluster") if c in store.columns)


def group_table(
    store: AnalysisStore, task: str, kind: str, target: int | None, by: str, filters: Sequence[CohortFilter] = ()
) -> GroupTable:
    """Of up to `COHORT_LIMIT` rows of a cohort, for a task of a kind in `COUNTED`. `target`: the class that is counted as
    recommended; None: a number above the cohort's mean."""
    wanted = [by, "split", "customer_id", *(f"{x}:{task}" for x in "pcy"), *(f"w:{task}:{n}" for n in ("constant", "model"))]
    rows = store.rows([c for c in wanted if c in store.columns], filters, COHORT_LIMIT)
    names = [_named(v) for v in rows[by]]
    value = np.asarray(rows[f"p:{task}"], dtype=np.float64)
    label = np.asarray(rows[f"y:{task}"], dtype=np.float64) if f"y:{task}" in rows else np.full(len(value), np.nan)
    label = np.where(label >= 0, label, np.nan) if kind != "regression" else label
    known = np.isfinite(value)
    if target is None:
        line = float(value[known].mean()) if known.any() else 0.0
        chosen = value > line
        outcome = label if kind == "binary" else np.where(np.isfinite(label), (label > line).astype(np.float64), np.nan)
    else:
        known &= rows[f"c:{task}"].astype(np.float64) >= 0
        chosen = rows[f"c:{task}"] == target
        outcome = np.where(np.isfinite(label), (label == target).astype(np.float64), np.nan)
    kept = np.flatnonzero(known)
    rates = group_rates([names[i] for i in kept], chosen[kept], outcome[kept])
    learned = int((rows["split"][kept] == "train").sum())
    return GroupTable(by, rates, _skill(task, kind, names, rows), len(kept), learned)


def _named(value: object) -> str:
    return UNKNOWN if value is None or value != value else str(value)


def _skill(task: str, kind: str, names: Sequence[str], rows: Mapping[str, NDArray[np.generic]]) -> dict[str, TaskSkill]:
    if f"w:{task}:model" not in rows or f"w:{task}:constant" not in rows:
        return {}
    every = {n: np.asarray(rows[f"w:{task}:{n}"], dtype=np.float64) for n in ("constant", "model")}
    groups, index = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    new = rows["split"] != "train"
    labelled = np.bincount(index[new & np.isfinite(every["model"])], minlength=len(groups))
    found = {}
    for i in np.flatnonzero(labelled >= MIN_ROWS):
        here = np.flatnonzero((index == i) & new)
        losses = {n: loss[here] for n, loss in every.items()}
        one = task_skill(task, losses, Resamples(np.asarray(rows["customer_id"])[here]), kind, "")
        if one is not None:
            found[str(groups[i])] = one
    return found
