"""A batch's reports made by an engine: some customers a shard, each report into a file of its own as soon as it is made.

The shards make; the first process notes the reports in the audit record, in the order of the list, and puts them in their
place. A report that was made and not handed out yet waits among the batch's parts (`batch_parts`), from which the next command
takes it. Shards know the mask's key: they read the customers' ids anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.opening import opened_dataset, opened_run
from analysis.review.batch_parts import is_made, load_part, part_of, save_part
from analysis.review.issue import Desk
from analysis.review.reports import BatchOrder, ReportOutcome, outcome_of
from ple_model.engine import ShardEngine

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

CUSTOMERS = 32
"""Customers of a shard: a shard opens the run once, and what one makes is handed out when those before it have ended."""


@dataclass(frozen=True)
class ReportShard:
    """Some customers of a batch: (customer, dataset, row)."""

    run: Path
    desk: Desk
    order: BatchOrder
    customers: tuple[tuple[str, Path, int], ...]
    parts: Path


def outcomes_of(
    run: Run, customers: Sequence[tuple[str, Dataset, int]], desk: Desk, order: BatchOrder, parts: Path, engine: ShardEngine
) -> Iterator[tuple[str, ReportOutcome]]:
    """(customer, what came of it) in the order of `customers`; `parts`: where reports wait, an absolute path of a folder.
    `UserError` names the shard that failed."""
    shards: dict[str, ReportShard] = {}
    for first in range(0, len(customers), CUSTOMERS):
        mine = tuple((c, data.path.absolute(), row) for c, data, row in customers[first : first + CUSTOMERS])
        shards[f"{first // CUSTOMERS:05d}"] = ReportShard(run.path.absolute(), desk, order, mine, parts)
    waiting, ended = list(shards), set[str]()
    for name, _ in engine.run(report_shard, shards):
        ended.add(name)
        while waiting and waiting[0] in ended:
            for customer, *_ in shards[waiting.pop(0)].customers:
                yield customer, load_part(part_of(parts, desk, customer))


def report_shard(shard: ReportShard) -> None:
    """The reports of its customers that are not made yet."""
    run = opened_run(shard.run)
    datasets: dict[Path, Dataset] = {}
    for customer, path, row in shard.customers:
        part = part_of(shard.parts, shard.desk, customer)
        if is_made(part, shard.order.formats):
            continue
        if path not in datasets:
            datasets[path] = run.sample() if path == run.path / "sample" else opened_dataset(run, path)
        save_part(part, outcome_of(run, datasets[path], row, customer, shard.desk, shard.order))
