"""What a report says of a run and its data, read from the run folder without loading the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.results.review import RunFacts
from ple_model.data.features.column import HISTORY_DAYS
from ple_model.errors import UserError
from ple_model.fields import NO_CUTOFF
from ple_model.tasks import TASKS

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

AHEAD, OWN = ("$horizon_days", "label_buys"), "$response_days"
"""By what the SQL of a label says that it looks as far ahead as the dataset's horizon, and by what that it does not: other
labels look as far as their own question says (`ple_model.tasks.record`)."""
OWN_WINDOWS = {"churn": ("", "active_days"), "retention": ("retention_from", "retention_to"), "timing": ("", "timing_days")}
"""Tasks whose label looks at days of its own: the settings of labels that say its first day (empty: the cut-off's) and last."""
GENERATED = "Generated data: no person behind it."
"""The note that the synthetic bank leaves in a dataset."""


def run_facts(run: Run) -> RunFacts:
    """`UserError` for a run whose manifest is damaged; a run without a sample says less."""
    m, own = run.manifest, run.context().own is not None
    cutoffs: tuple[str, ...] = ()
    periods: dict[str, tuple[int, int]] = {}
    generated = False
    try:
        data = run.sample().manifest
    except UserError:
        data = None
    if data is not None:
        cutoffs = _learned_at(run.sample())
        periods = {} if own else periods_of(data.settings)
        generated = GENERATED in data.notes
    return RunFacts(
        run=run.name,
        preset=m.preset,
        trained=(m.finished or "")[:10],
        data=m.data.name,
        rows=m.data.rows.get("train", 0),
        cutoffs=cutoffs,
        periods=periods,
        window_days=None if own else HISTORY_DAYS,
        generated=generated,
    )


def _learned_at(data: Dataset) -> tuple[str, ...]:
    """The cut-offs of the rows that the model learned from."""
    table = data.table(["cutoff", "split"])
    rows = zip(table.column("cutoff").to_pylist(), table.column("split").to_pylist(), strict=True)
    return tuple(sorted({str(cutoff) for cutoff, split in rows if split == "train"} - {NO_CUTOFF}))


def ahead() -> tuple[str, ...]:
    """Tasks whose label looks as far ahead as the dataset's horizon."""
    return tuple(t for t, s in TASKS.items() if OWN not in s.label and any(word in s.label for word in AHEAD))


def periods_of(settings: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """task -> (first, last) day after the cut-off's own that its label looks at, by the settings of a dataset's build."""
    found, days = {}, settings.get("horizon_days")
    if isinstance(days, int) and days > 0:
        found = dict.fromkeys(ahead(), (0, days - 1))
    labels = settings.get("labels")
    own = labels if isinstance(labels, Mapping) else {}
    for task, (first, last) in OWN_WINDOWS.items():
        start, end = own.get(first, 1) if first else 1, own.get(last)
        if task in TASKS and isinstance(start, int) and isinstance(end, int) and 1 <= start <= end:
            found[task] = (start - 1, end - 1)
    return found
