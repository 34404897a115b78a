"""What a report says of a run and its data, read from the run folder without loading the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.results.review import RunFacts
from ple_model.data.features.column import HISTORY_DAYS
from ple_model.errors import UserError
from ple_model.fields import NO_CUTOFF

if TYPE_CHECKING:
    from ple_model.run import Run

GENERATED = "Generated data: no person behind it."
"""The note that the synthetic bank leaves in a dataset."""


def run_facts(run: Run) -> RunFacts:
    """`UserError` for a run whose manifest is damaged; a run without a sample says less."""
    m, own = run.manifest, run.context().own is not None
    cutoffs: tuple[str, ...] = ()
    horizon: int | None = None
    generated = False
    try:
        data = run.sample().manifest
    except UserError:
        data = None
    if data is not None:
        cutoffs = tuple(c for c in data.cutoffs if c != NO_CUTOFF)
        days = data.settings.get("horizon_days")
        horizon = days if isinstance(days, int) and not own else None
        generated = GENERATED in data.notes
    return RunFacts(
        run=run.name,
        preset=m.preset,
        trained=(m.finished or "")[:10],
        parameters=m.parameters,
        data=m.data.name,
        rows=m.data.rows.get("train", 0),
        cutoffs=cutoffs,
        horizon_days=horizon,
        window_days=None if own else HISTORY_DAYS,
        generated=generated,
    )
