"""What-if: one intervention, before and after per task. One engine serves the pages, `ple whatif` and the checks' *Try it*.

Most interventions act between experts and towers, so the experts run once: the expensive half is cached and only the cheap
half repeats (`model.decode`). Edits of features act before the experts: those that read what was edited run again, the others'
blocks are kept. Nothing here imports torch before it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.results.whatif import CustomerWhatIf, WhatIfResult

if TYPE_CHECKING:
    from pathlib import Path

    from ple_model.data.dataset.reader import Dataset
    from ple_model.intervention import Intervention
    from ple_model.run import Run


def whatif(
    run: Run | Path | str,
    intervention: Intervention | str | tuple[str, ...],
    *,
    dataset: Dataset | Path | None = None,
    sample: int = 10_000,
    seed: int = 0,
    bootstrap: int = 200,
) -> WhatIfResult:
    """Before and after of one intervention on a run's sample (or `dataset`).

    `intervention` is an `Intervention` or its text form, for example "ablate.temporal=zero" or ("feature.recency_days=3",).
    """
    from analysis.engine.effects import Engine  # late: torch

    return Engine.cached(run, dataset=dataset, sample=sample, seed=seed).whatif(intervention, bootstrap=bootstrap)


def whatif_customer(
    run: Run | Path | str,
    customer_id: str,
    intervention: Intervention | str | tuple[str, ...],
    task: str | None = None,
    cutoff: str | None = None,
    dataset: Dataset | Path | str | None = None,
    *,
    target: int | None = None,
) -> CustomerWhatIf:
    """Before and after of one intervention for one customer, who is looked for as by `explain`.

    `task` None: next best action, or the run's first task; `target`: the class that is followed (None: the most probable
    before). `UserError` for an unknown customer, task, class or change.
    """
    from analysis.explain.customer_edit import try_on  # late: torch

    return try_on(run, customer_id, intervention, task, cutoff, dataset, target)
