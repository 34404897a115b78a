"""What went into a run, as tables: every column with its drift, labels with base rates, the bins of one column in its unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.cohort import CohortFilter
from analysis.stats.base import Array, ratio
from analysis.stats.drift import Drift, DriftStats
from analysis.store import AnalysisStore
from ple_model.money import is_money, money
from ple_model.presence import part_key
from ple_model.schema import PART_SLICES, FeatureColumn, FeatureSchema, load_schema

if TYPE_CHECKING:
    from ple_model.data.dataset.normalize import Normalizer

LABEL_ROWS = 20_000


@dataclass(frozen=True)
class ColumnRow:
    """One of the feature columns: what it is, the share of rows whose part is there, and how far it is from training."""

    column: FeatureColumn
    present: float
    psi: float
    ks: float
    moved: bool


@dataclass(frozen=True)
class LabelRow:
    """Labels of one task among the chosen rows; `rate`: share of positives, of the commonest class, or the mean label."""

    task: str
    kind: str
    n: int
    rate: float
    commonest: str
    """The commonest class or brand; empty for yes or no and for amounts."""


def column_rows(
    stats: DriftStats, drift: Drift | None, threshold: float, schema: FeatureSchema | None = None
) -> list[ColumnRow]:
    """Every column of the schema (default: the package's) in order; NaN where nothing can be said."""
    schema = schema if schema is not None else load_schema()
    nothing = np.full(len(schema.columns), np.nan)
    psi, ks = (drift.psi, drift.ks) if drift is not None else (nothing, nothing)
    moved = drift.moved(threshold) if drift is not None else np.zeros(len(nothing), dtype=bool)
    return [
        ColumnRow(c, stats.presence(part_key(c.part)), float(psi[c.index]), float(ks[c.index]), bool(moved[c.index]))
        for c in schema.columns
    ]


def label_rows(
    store: AnalysisStore, filters: Sequence[CohortFilter], names: Mapping[str, Sequence[str]], seed: int = 0
) -> list[LabelRow]:
    """Every task of the run, from at most 20,000 of the rows that pass the filters. `names`: task -> class names."""
    facts = store.statistics.facts
    columns = [f"y:{t}" for t in facts.tasks if f"y:{t}" in store.columns]
    found = store.rows(columns, filters, limit=LABEL_ROWS, seed=seed) if columns else {}
    out = []
    for task in facts.tasks:
        kind = facts.kinds[task]
        values = np.asarray(found.get(f"y:{task}", np.zeros(0)), dtype=np.float64)
        values = values[np.isfinite(values)]
        if kind != "regression":
            values = values[values >= 0]
        rate, commonest = float("nan"), ""
        if len(values) and kind in ("multiclass", "contrastive"):
            counts = np.bincount(values.astype(np.int64))
            best = int(counts.argmax())
            known = names.get(task, ())
            rate, commonest = float(counts[best] / len(values)), known[best] if best < len(known) else str(best)
        elif len(values):
            rate = float(values.mean())
        out.append(LabelRow(task, kind, len(values), rate, commonest))
    return out


@dataclass(frozen=True, eq=False)
class ColumnBins:
    """Shares of training and of the measured rows in the bins of one column that hold any; bounds in the column's unit."""

    labels: list[str]
    trained: Array
    measured: Array


def column_bins(
    index: int, sample: DriftStats, reference: DriftStats, normalizer: Normalizer | None, unit: str = "", korean: bool = False
) -> ColumnBins:
    """The bins of column `index`; without a normaliser the bounds stay in the model's scale."""
    p, q = sample.counts[index], reference.counts[index]
    edges = sample.edges[index].astype(np.float64)
    finite = np.isfinite(edges)
    if normalizer is not None:
        table = np.zeros((len(edges), len(sample.edges)))
        table[finite, index] = edges[finite]
        edges = np.where(finite, normalizer.inverse(table)[:, index], np.inf)
    low, high = np.concatenate([[-np.inf], edges]), np.concatenate([edges, [np.inf]])
    used = np.flatnonzero((p + q) > 0)
    amounts = normalizer is not None and is_money(unit)
    written: Callable[[float], str] = (lambda v: money(v, unit, "ko" if korean else "en")) if amounts else "{:,.4g}".format
    labels = [_bounds(float(low[j]), float(high[j]), written) for j in used]
    return ColumnBins(labels, np.asarray(ratio(q[used], q.sum())), np.asarray(ratio(p[used], p.sum())))


def _bounds(low: float, high: float, written: Callable[[float], str]) -> str:
    one, two = written(low), written(high)
    if one == two:
        return f"= {one}"
    return f"< {two}" if low == -np.inf else f"≥ {one}" if high == np.inf else f"{one} – {two}"


def part_drift(drift: Drift, threshold: float, parts: Mapping[str, slice] = PART_SLICES) -> list[tuple[str, float, float]]:
    """(part, largest PSI, share of its columns that moved) of parts that can be judged, the most drifted first."""
    moved = drift.moved(threshold)
    out = []
    for part, where in parts.items():
        psi = drift.psi[where]
        if np.isfinite(psi).any():
            out.append((part, float(np.nanmax(psi)), float(moved[where].sum() / np.isfinite(psi).sum())))
    return sorted(out, key=lambda r: -r[1])
