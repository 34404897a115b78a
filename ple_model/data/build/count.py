"""How many labels a dataset would have, by task and split, before anything is built: cut-offs are chosen by these numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.build.brands import training_brands
from ple_model.data.build.coverage import coverage, event_spans
from ple_model.data.build.spine import SplitSettings, create_spine, parse_cutoffs, suggest_cutoffs
from ple_model.data.dataset.columns import SPLITS, is_class_task
from ple_model.data.events.connect import connect
from ple_model.data.events.find_holes import distinct
from ple_model.data.labels.labels import Labels, LabelSettings, compute_labels
from ple_model.errors import UserError


@dataclass(frozen=True)
class LabelCounts:
    """Of a dataset that would be built from `events` at `cutoffs`."""

    events: str
    first: str
    last: str
    """First and last day of the transactions; empty without any."""
    suggested: tuple[str, ...]
    """Cut-offs that the span allows, with `suggested_horizon` days of labels after each."""
    suggested_horizon: int
    cutoffs: tuple[str, ...]
    horizon_days: int
    rows: Mapping[str, int]
    """By split."""
    tasks: Mapping[str, Mapping[str, int]]
    """Rows with a label, by task and split."""
    notes: tuple[str, ...]
    """What the span of the events does to features and labels at these cut-offs."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        head = f"{self.events}: transactions from {self.first} to {self.last}; cut-offs {', '.join(self.cutoffs)}"
        rows = "  ".join(f"{s} {n:,}" for s, n in self.rows.items())
        lines = [f"{head}, {self.horizon_days} days of labels", f"  rows: {rows}", f"  {'task':<20}" + _cells(SPLITS)]
        lines += [f"  {task:<20}" + _cells([f"{n[s]:,}" for s in SPLITS]) for task, n in self.tasks.items()]
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"{text:>12}" for text in texts)


def count_labels(
    events: Path | str, cutoffs: Sequence[str] | None = None, horizon_days: int = LabelSettings.horizon_days, seed: int = 0
) -> LabelCounts:
    """The counts that `ple build` would write into `dataset.json` for the same cut-offs and seed; without cut-offs, those of
    the source, else those that its span allows. `UserError` where there are none, or no customer has any event before them."""
    with connect(Path(events)) as store:
        spans = event_spans(store)
        span = spans.get("transactions")
        suggested, horizon = suggest_cutoffs(span.first, span.last, distinct(spans.values())) if span else ((), horizon_days)
        declared = store.manifest.defaults if store.manifest else None
        if not cutoffs:
            cutoffs = declared.cutoffs if declared is not None and declared.cutoffs else suggested
        if not cutoffs:
            reach = f"its transactions reach from {span.first} to {span.last}" if span else "it has no transactions"
            raise UserError(f"'{events}' allows no cut-off: {reach}; 28 days of history and 28 of labels are needed")
        dates = parse_cutoffs(tuple(cutoffs))
        most = declared.horizon_days if declared is not None and declared.horizon_days is not None else horizon_days
        settings = replace(LabelSettings(), horizon_days=min(horizon_days, most))
        create_spine(store.con, dates, SplitSettings(seed=seed))
        labels = compute_labels(store, settings)
        split = np.array([str(r[0]) for r in store.con.execute("SELECT split FROM spine ORDER BY row_id").fetchall()])
        rows = {s: int((split == s).sum()) for s in SPLITS}
        notes = coverage(store, dates, settings.horizon_days, spans)
        return LabelCounts(
            str(events), str(span.first) if span else "", str(span.last) if span else "", tuple(suggested), horizon, dates,
            settings.horizon_days, rows, _counts(labels, split), tuple(notes),
        )  # fmt: skip


def _counts(labels: Labels, split: NDArray[np.str_]) -> dict[str, dict[str, int]]:
    """As a dataset counts them: a brand is a label where the training rows know it."""
    brands = tuple(b for b, _ in training_brands(labels.brand[split == "train"]))
    out = {}
    for task, values in labels.with_brands(brands).items():
        first = values.reshape(len(values), -1)[:, 0]
        there = first >= 0 if is_class_task(task) else ~np.isnan(first)
        out[task] = {s: int((there & (split == s)).sum()) for s in SPLITS}
    return out
