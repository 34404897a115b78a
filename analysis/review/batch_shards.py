"""A batch's reports made by an engine: some customers a shard, each report into a file of its own as soon as it is made.

The shards make; the first process notes the reports in the audit record, in the order of the list, and puts them in their
place. A report that was made and not handed out yet waits in a hidden folder of the batch, from which the next command takes
it. Shards know the mask's key: they read the customers' ids anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.opening import opened_dataset, opened_run
from analysis.review.issue import Desk, MadeReport, digests
from analysis.review.reports import BatchOrder, ReportOutcome, outcome_of
from ple_model.engine import ShardEngine
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.safe_paths import make_folder, read_bytes, write_bytes

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

CUSTOMERS = 32
"""Customers of a shard: a shard opens the run once, and what one makes is handed out when those before it have ended."""
LARGEST = 1 << 30
"""Bytes of a report."""


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
    """(customer, what came of it) in the order of `customers`; `parts`: where reports wait. `UserError` names the shard that
    failed."""
    make_folder(parts)
    shards: dict[str, ReportShard] = {}
    for first in range(0, len(customers), CUSTOMERS):
        mine = tuple((c, data.path.absolute(), row) for c, data, row in customers[first : first + CUSTOMERS])
        shards[f"{first // CUSTOMERS:05d}"] = ReportShard(run.path.absolute(), desk, order, mine, parts)
    waiting, ended = list(shards), set[str]()
    for name, _ in engine.run(report_shard, shards):
        ended.add(name)
        while waiting and waiting[0] in ended:
            for customer, *_ in shards[waiting.pop(0)].customers:
                yield customer, _load(parts, _name(customer))


def report_shard(shard: ReportShard) -> None:
    """The reports of its customers that are not made yet."""
    from ple_model.data.build.floating_point import reproducible  # late: torch

    run = opened_run(shard.run)
    datasets: dict[Path, Dataset] = {}
    with reproducible():
        for customer, path, row in shard.customers:
            if _made(shard.parts, _name(customer)):
                continue
            if path not in datasets:
                datasets[path] = run.sample() if path == run.path / "sample" else opened_dataset(run, path)
            outcome = outcome_of(run, datasets[path], row, customer, shard.desk, shard.order)
            _save(shard.parts, _name(customer), outcome)


def _name(customer: str) -> str:
    """Of a customer's files among the parts; no id is in it."""
    return hashlib.sha256(customer.encode()).hexdigest()[:32]


def _save(parts: Path, name: str, outcome: ReportOutcome) -> None:
    """The files, and last what says that they are whole."""
    report = outcome.report
    plain = {"told": outcome.told, "broken": outcome.broken, "report": None}
    if report is not None:
        for kind, data in report.files.items():
            write_bytes(parts / f"{name}.{kind}", data)
        plain["report"] = {k: v for k, v in vars(report).items() if k != "files"} | {"files": digests(report.files)}
    write_json(parts / f"{name}.json", plain)


def _made(parts: Path, name: str) -> bool:
    try:
        _load(parts, name)
    except (UserError, FileNotFoundError):
        return False
    return True


def _load(parts: Path, name: str) -> ReportOutcome:
    """What `_save` saved. `UserError` where it is not all there."""
    plain = read_json(parts / f"{name}.json")
    try:
        report, told, broken = plain["report"], plain["told"], str(plain["broken"])
        if report is None:
            return ReportOutcome(broken=broken)
        files = {kind: read_bytes(parts / f"{name}.{kind}", LARGEST) for kind in report["files"]}
        if digests(files) != report["files"]:
            raise UserError(f"{parts / name}: a report is not what was made")
        return ReportOutcome(MadeReport(report["name"], report["customer"], files, report["facts"]), told)
    except (KeyError, TypeError) as e:
        raise UserError(f"{parts / name}.json is damaged: {e}") from e
