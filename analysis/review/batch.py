"""Reports for a list of customers into one folder. A batch that was stopped goes on: what is whole is kept, the rest is made.

Of each customer there is the report as HTML, as PDF where asked for, and last a small JSON file with their digests: a report
counts as whole when that file is there and the others are what it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from analysis.explain.lookup import chosen_task, find_all
from analysis.opening import opened_dataset
from analysis.review.batch_parts import clear_parts, parts_folder
from analysis.review.batch_shards import outcomes_of
from analysis.review.issue import Desk, Format, Issued
from analysis.review.reports import BatchOrder, ReportOutcome, outcome_of
from ple_model.engine import ShardEngine
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.safe_paths import is_file, make_folder, open_file, write_bytes

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

BATCH, SUMMARY, LOCK = "batch.json", "summary.json", ".batch.lock"
MOST = 20
"""Customers that are named in a line; of more it says how many."""
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class BatchSummary:
    """What a batch came to. Customers are as the reports show them."""

    out: str
    task: str
    asked: int
    made: int
    kept: int
    """Reports that were whole from before."""
    unknown: tuple[str, ...]
    unknown_at: tuple[int, ...]
    """Their places in the list, each id counted once, from 1: who has the list finds them."""
    no_row: tuple[str, ...]
    """Customers who are known, but not at this cut-off."""
    broken: tuple[str, ...]
    """Customers whose row could not be explained, each with the reason."""
    outside: tuple[str, ...]
    """Customers whom the task is not defined for: there is nothing to explain."""
    withheld: int
    failed: int
    """Of those withheld: by a check of the explanation itself."""
    reports: tuple[dict[str, Any], ...]

    @property
    def problem(self) -> bool:
        """Somebody has no report, or an explanation failed a check of itself."""
        return bool(self.unknown or self.no_row or self.broken or self.outside or self.failed)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "problem": self.problem}

    def __str__(self) -> str:
        lines = [
            f"{self.made:,} reports made, {self.kept:,} kept from before, {self.asked:,} customers asked for -> {self.out}"
        ]
        if self.withheld:
            lines.append(
                f"  reasons withheld in {self.withheld:,}, of these {self.failed:,} by a check of the explanation itself"
            )
        if self.outside:
            lines.append(f"  '{self.task}' is not defined for {len(self.outside):,}: {_some(self.outside)}")
        if self.unknown:
            named = [f"{name} (number {at} of the list)" for name, at in zip(self.unknown, self.unknown_at, strict=True)]
            lines.append(f"  not known to the run or its data, {len(self.unknown):,}: {_some(named)}")
        if self.no_row:
            lines.append(f"  no row at this cut-off, {len(self.no_row):,}: {_some(self.no_row)}")
        lines += [f"  not explained: {text}" for text in self.broken[:MOST]]
        if len(self.broken) > MOST:
            lines.append(f"  not explained: {len(self.broken) - MOST:,} more")
        return "\n".join(lines)


def _some(names: Sequence[str], most: int = MOST) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def make_batch(
    run: Run, customers: Sequence[str], out: Path, desk: Desk, order: BatchOrder, dataset: Dataset | Path | str | None = None,
    tick: Tick = lambda done, total: None, engine: ShardEngine | None = None,
) -> BatchSummary:  # fmt: skip
    """The reports of these customers in `out`, made (by `engine`; None: here) or kept. `UserError` where the folder holds
    another batch, or another process works in it."""
    order = replace(order, task=chosen_task(run, order.task))
    found_in = find_all(run, customers, order.cutoff, dataset)
    known, shown = found_in.rows, desk.customer
    outside: list[str] = []
    broken: list[str] = []
    with _held(out):
        _same_batch(out, run, desk, order, dataset)
        asked = [c for c in customers if c in known]
        entries = {
            c: e for c in asked if (e := _whole(out, desk.file_name(c, order.task), shown(c), order.formats)) is not None
        }
        kept = len(entries)
        missing = [(c, *known[c]) for c in asked if c not in entries]
        parts = parts_folder(out, read_json(out / BATCH), desk, order) if engine is not None else None
        tick(kept, len(known))
        for done, (customer, outcome) in enumerate(_outcomes(run, missing, desk, order, parts, engine), 1):
            if outcome.report is not None and outcome.told is not None:
                entries[customer] = _write(out, desk.hand_out(outcome.report), outcome.told)
            elif outcome.broken:
                broken.append(outcome.broken)
            elif outcome.outside:
                outside.append(shown(customer))
            tick(kept + done, len(known))
        reports = tuple(entries[c] for c in asked if c in entries)
        unknown = [(i, c) for i, c in enumerate(customers, 1) if c not in known and c not in found_in.elsewhere]
        summary = BatchSummary(
            str(out), order.task, len(customers), len(reports) - kept, kept, tuple(shown(c) for _, c in unknown),
            tuple(i for i, _ in unknown), tuple(shown(c) for c in customers if c in found_in.elsewhere), tuple(broken),
            tuple(outside), sum(bool(r["withheld"]) for r in reports), sum(bool(r["failed"]) for r in reports), reports,
        )  # fmt: skip
        write_json(out / SUMMARY, summary.to_dict())
        clear_parts(out)
    return summary


def _outcomes(
    run: Run, customers: Sequence[tuple[str, Dataset, int]], desk: Desk, order: BatchOrder, parts: Path | None,
    engine: ShardEngine | None,
) -> Iterator[tuple[str, ReportOutcome]]:  # fmt: skip
    if engine is not None and parts is not None:
        yield from outcomes_of(run, customers, desk, order, parts, engine)
        return
    for customer, data, row in customers:
        yield customer, outcome_of(run, data, row, customer, desk, order)


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """One process at a time works in a folder."""
    try:
        make_folder(out)
    except OSError as e:
        raise UserError(f"{out}: the folder cannot be made: {e.strerror or e}") from e
    try:
        with FileLock(out / LOCK, timeout=0):
            yield
    except Timeout as e:
        raise UserError(f"{out}: another process makes reports here; wait for it or choose another folder") from e


def _same_batch(out: Path, run: Run, desk: Desk, order: BatchOrder, dataset: Dataset | Path | str | None) -> None:
    """A folder holds one batch: reports of one run, task, language and form, by one release, of one dataset's customers."""
    given = None if dataset is None else opened_dataset(run, dataset).manifest.fingerprint
    this = {
        "release": _release(), "dataset": given,
        "run": run.name, "training_data": run.manifest.data.fingerprint, "trained": run.manifest.finished, "task": order.task,
        "cutoff": order.cutoff, "language": desk.language, "masked": not desk.show_ids, "anyway": order.anyway,
        "barred": run.config.explanations.barred if order.barred is None else order.barred,
        "sensitive": run.config.explanations.sensitive if order.sensitive is None else order.sensitive,
        "mask_key": None if desk.mask is None else desk.masks.named,
    }  # fmt: skip
    path = out / BATCH
    if not is_file(path):
        others = [p.name for p in out.iterdir() if p.name != LOCK and not p.name.endswith(".tmp")]
        if others:
            raise UserError(f"{out} holds other files ({others[0]}); reports go into a folder of their own")
        write_json(path, this)
        return
    before = read_json(path)
    for key, value in this.items():
        if not isinstance(before, dict) or before.get(key) != value:
            was = before.get(key) if isinstance(before, dict) else before
            raise UserError(f"{out} holds another batch: its {key} is {was!r}, here it is {value!r}; choose another folder")


def _release() -> str:
    try:
        return version("ple-scope")
    except PackageNotFoundError:
        return "not installed"


def _whole(out: Path, name: str, customer: str, formats: Sequence[Format]) -> dict[str, Any] | None:
    """What was written of a report that is there in all these formats, unchanged; else None."""
    try:
        entry = read_json(out / f"{name}.json")
        digests = {kind: _digest(out / f"{name}.{kind}") for kind in formats}
        whole = isinstance(entry, dict) and all(entry["files"].get(kind) == d for kind, d in digests.items())
        return entry if whole and entry["customer"] == customer and {"withheld", "failed"} <= entry.keys() else None
    except (UserError, FileNotFoundError, KeyError, AttributeError):
        return None


def _digest(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(out: Path, issued: Issued, told: Mapping[str, Any]) -> dict[str, Any]:
    for kind, data in issued.files.items():
        write_bytes(out / f"{issued.name}.{kind}", data)
    entry = {**told, "files": issued.digests(), "record": None if issued.receipt is None else vars(issued.receipt)}
    write_json(out / f"{issued.name}.json", entry)
    return entry
