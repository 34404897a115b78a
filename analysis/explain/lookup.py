"""Who and what is asked about: a customer's row, the task, the class; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.opening import opened_dataset, opened_run
from analysis.results.explanation import CustomerRef
from ple_model.errors import UserError, did_you_mean
from ple_model.tasks import Condition

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

DEFAULT_TASK = "nba"
NEAR_IDS = 5_000
"""Nearest ids are looked for among this many."""


class Undefined(UserError):
    """The customer lies outside the task's condition: there is no number to explain."""

    def __init__(self, task: str, customer_id: str, cutoff: str, condition: Condition) -> None:
        super().__init__(f"task '{task}', customer '{customer_id}' at cutoff {cutoff}: {condition.unmet()}")
        self.task, self.condition = task, condition


def customers(
    run: Run | Path | str,
    query: str = "",
    *,
    dataset: Dataset | Path | str | None = None,
    limit: int = 50,
    seed: int | None = None,
) -> list[CustomerRef]:
    """Rows of the run's sample (or `dataset`) whose id contains `query`, in file order or, with a seed, drawn at random."""
    opened = opened_run(run)
    table = _open(opened, dataset)[0].table(["customer_id", "cutoff", "split"])
    ids, cutoffs, splits = (table.column(n).to_pylist() for n in ("customer_id", "cutoff", "split"))
    found = [i for i, c in enumerate(ids) if query.lower() in c.lower()]
    if seed is not None:
        found = [found[i] for i in np.random.default_rng(seed).permutation(len(found))]
    return [CustomerRef(ids[i], cutoffs[i], splits[i]) for i in found[:limit]]


def default_task(run: Run) -> str:
    """The task whose answers are explained unless another is asked for: next best action where the run learned it."""
    learned = [t for t in run.config.tasks if run.context().learned(t)] or list(run.config.tasks)
    return DEFAULT_TASK if DEFAULT_TASK in learned else learned[0]


def chosen_task(run: Run, task: str | None) -> str:
    if task is None:
        return default_task(run)
    tasks, context = run.config.tasks, run.context()
    if task not in tasks:
        raise UserError(f"no task '{task}' in {run.name}{did_you_mean(task, tasks)}")
    if not context.learned(task):
        others = ", ".join(t for t in tasks if context.learned(t))
        raise UserError(
            f"task '{task}' had no label in the training of {run.name}: its answers mean nothing and are not explained; "
            f"tasks with labels: {others}"
        )
    return task


def _open(run: Run, dataset: Dataset | Path | str | None) -> list[Dataset]:
    """Where customers are looked for, in order."""
    if dataset is not None:
        return [opened_dataset(run, dataset)]
    full = run.dataset()
    return [run.sample(), *([full] if full is not None else [])]


def find(run: Run, customer: str, cutoff: str | None, dataset: Dataset | Path | str | None) -> tuple[Dataset, int]:
    """(dataset, row) of a customer at a cut-off, the latest where none is given."""
    seen: list[str] = []
    for data in _open(run, dataset):
        table = data.table(["customer_id", "cutoff"])
        ids = np.asarray(table.column("customer_id").to_pylist(), dtype=object)
        rows = np.flatnonzero(ids == customer)
        if len(rows):
            dates = [str(table.column("cutoff")[int(i)].as_py()) for i in rows]
            if cutoff is None:
                return data, int(rows[int(np.argmax(dates))])
            if cutoff in dates:
                return data, int(rows[dates.index(cutoff)])
            raise UserError(f"customer '{customer}' has no row at cutoff '{cutoff}'{did_you_mean(cutoff, dates)}")
        seen += list(dict.fromkeys(ids))[:NEAR_IDS]
    raise UserError(f"no customer '{customer}' in {run.name}{did_you_mean(customer, seen)}")


def find_all(
    run: Run, customers: Sequence[str], cutoff: str | None, dataset: Dataset | Path | str | None
) -> dict[str, tuple[Dataset, int]]:
    """(dataset, row) of each of these customers who is known, at a cut-off or at the customer's latest; each dataset is read
    once."""
    found: dict[str, tuple[Dataset, int]] = {}
    for data in _open(run, dataset):
        missing = set(customers) - set(found)
        if not missing:
            break
        table = data.table(["customer_id", "cutoff"])
        latest: dict[str, tuple[str, int]] = {}
        for row, (name, date) in enumerate(zip(*(table.column(c).to_pylist() for c in ("customer_id", "cutoff")), strict=True)):
            date = str(date)
            if name in missing and (date == cutoff if cutoff is not None else date > latest.get(name, ("", 0))[0]):
                latest[name] = date, row
        found |= {name: (data, row) for name, (_, row) in latest.items()}
    return found


def class_name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"class {index}"
