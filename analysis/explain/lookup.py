"""Who and what is asked about: a customer's row, the task, the class; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Found:
    """Where customers were found. `rows`: (dataset, row) by customer; `elsewhere`: the dates of those who are known, but not at
    the cut-off that was asked for."""

    rows: dict[str, tuple[Dataset, int]]
    elsewhere: dict[str, list[str]]


def find(run: Run, customer: str, cutoff: str | None, dataset: Dataset | Path | str | None) -> tuple[Dataset, int]:
    """(dataset, row) of a customer, as `find_all` finds it. `UserError` that names the nearest id or date."""
    found = find_all(run, [customer], cutoff, dataset)
    if customer in found.rows:
        return found.rows[customer]
    if customer in found.elsewhere:
        near = did_you_mean(str(cutoff), found.elsewhere[customer])
        raise UserError(f"customer '{customer}' has no row at cutoff '{cutoff}'{near}")
    seen: list[str] = []
    for data in _open(run, dataset):
        seen += list(dict.fromkeys(data.table(["customer_id"]).column(0).to_pylist()))[:NEAR_IDS]
    raise UserError(f"no customer '{customer}' in {run.name}{did_you_mean(customer, seen)}")


def find_all(run: Run, customers: Sequence[str], cutoff: str | None, dataset: Dataset | Path | str | None) -> Found:
    """The row of each of these customers in the first dataset that holds one: at the cut-off, or the latest there where none is
    given. Each dataset is read once."""
    rows: dict[str, tuple[Dataset, int]] = {}
    dates: dict[str, list[str]] = {}
    for data in _open(run, dataset):
        missing = set(customers) - set(rows)
        if not missing:
            break
        latest: dict[str, tuple[str, int]] = {}
        for row, name, date in _keys(data, missing):
            if cutoff is not None and date != cutoff:
                dates.setdefault(name, []).append(date)
            elif name not in latest or date > latest[name][0]:
                latest[name] = date, row
        rows |= {name: (data, row) for name, (_, row) in latest.items()}
    return Found(rows, {name: d for name, d in dates.items() if name not in rows})


def _keys(data: Dataset, customers: Collection[str]) -> Iterator[tuple[int, str, str]]:
    """(row, customer, cut-off) of these customers; memory does not grow with the dataset."""
    import pyarrow as pa  # late: pyarrow
    import pyarrow.compute as pc  # late: pyarrow

    wanted, first = pa.array(sorted(customers), pa.string()), 0
    for table in data.tables(["customer_id", "cutoff"]):
        local = np.flatnonzero(pc.is_in(table.column("customer_id"), value_set=wanted))
        names, dates = (table.column(c).take(pa.array(local)).to_pylist() for c in ("customer_id", "cutoff"))
        yield from zip((first + local).tolist(), names, map(str, dates), strict=True)
        first += len(table)


def class_name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"class {index}"
