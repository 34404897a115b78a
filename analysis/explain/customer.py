"""`explain(run, customer_id)`: why this, for this customer, and how far the answer can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.explain.lookup import chosen_task, find
from analysis.explain.standing import standing
from analysis.opening import opened_run
from analysis.results.explanation import Explanation

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run


def explain(
    run: Run | Path | str,
    customer_id: str,
    task: str | None = None,
    cutoff: str | None = None,
    dataset: Dataset | Path | str | None = None,
    *,
    target: int | None = None,
    seed: int = 0,
    anyway: bool = False,
    barred: Sequence[str] | None = None,
    sensitive: Sequence[str] | None = None,
) -> Explanation:
    """Why the model predicts what it predicts for one customer.

    `task` None: next best action, or the run's first task; `cutoff` None: the customer's latest; `target`: the class to explain
    (None: the most probable). The customer is looked for in `dataset`, else in the run's sample and in the dataset it
    was trained on. The reasons for a task without skill are withheld unless `anyway`; what is `barred` (None: what the run's
    configuration bars) is never a reason, and one that speaks of what is `sensitive` is marked. `UserError` for an unknown
    customer (with the nearest id), task, cutoff or class.
    """
    opened = opened_run(run)
    chosen = chosen_task(opened, task)
    data, row = find(opened, customer_id, cutoff, dataset)
    return explain_row(opened, data, row, chosen, target=target, seed=seed, anyway=anyway, barred=barred, sensitive=sensitive)


def explain_row(
    run: Run, data: Dataset, row: int, task: str, *, target: int | None = None, seed: int = 0, anyway: bool = False,
    barred: Sequence[str] | None = None, sensitive: Sequence[str] | None = None,
) -> Explanation:  # fmt: skip
    """As `explain`, of a row that was found before."""
    from analysis.explain.assemble import assemble  # late: torch

    names = run.config.explanations.barred if barred is None else barred
    marked = run.config.explanations.sensitive if sensitive is None else sensitive
    found = assemble(run, data, data.take([row]), task, target, seed, names, marked)
    return replace(found, skill=standing(run, task, data), anyway=anyway)
