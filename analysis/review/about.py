"""What a report says of a run and its data, read from the run folder without loading the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
GENERATED = "Generated data: no person behind it."
"""The note that the synthetic bank leaves in a dataset."""


def run_facts(run: Run) -> RunFacts:
    """`UserError` for a run whose manifest is damaged; a run without a sample says less."""
    m, own = run.manifest, run.context().own is not None
    cutoffs: tuple[str, ...] = ()
    horizons: dict[str, int] = {}
    generated = False
    try:
        data = run.sample().manifest
    except UserError:
        data = None
    if data is not None:
        cutoffs = _learned_at(run.sample())
        days = data.settings.get("horizon_days")
        if isinstance(days, int) and not own:
            horizons = dict.fromkeys(ahead(), days)
        generated = GENERATED in data.notes
    return RunFacts(
        run=run.name,
        preset=m.preset,
        trained=(m.finished or "")[:10],
        data=m.data.name,
        rows=m.data.rows.get("train", 0),
        cutoffs=cutoffs,
        horizon_days=horizons,
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
