"""A pass shared out: each shard takes a range of the dataset's rows and leaves what it found in a folder; here they are joined.

A shard is `SHARD_ROWS` rows in file order, whatever the parts of the dataset are. Its folder appears whole or not at all, and
stays until the whole is stored, so that a command that was stopped, or lost a shard, goes on with the rest. Ranges are joined
in their order, and every shard adds with one thread: the same bytes, whichever engine measured, on machines of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from analysis.judging import Judge
from analysis.opening import opened_dataset, opened_run
from analysis.recording.opened import Opened
from analysis.recording.passed_files import ROWS, WHOLE, load_passed, save_passed
from analysis.recording.passing import BATCH, FOLDED, Passed, pass_over
from analysis.recording.rows_file import join_parquet
from analysis.recording.samples import Drawn
from analysis.results.progress import Progress
from ple_model.data.build.floating_point import reproducible
from ple_model.engine import ShardEngine
from ple_model.parts_folder import leave, parts_left

SHARD_ROWS = 32 * FOLDED * BATCH
"""Rows of a shard: 65,536, two parts of a dataset. A shard costs the start of a process and the opening of the run once."""


@dataclass(frozen=True)
class RecordShard:
    """A range of rows to measure."""

    run: Path
    data: Path | None
    """None: the run's own sample."""
    drawn: Drawn
    out: Path


def record_shards(opened: Opened, drawn: Drawn, parts: Path, rows: Path, engine: ShardEngine, progress: Progress) -> Passed:
    """All of `drawn`; `rows` becomes the file of all rows, `parts` holds the shards'. `UserError` names the shard that
    failed."""
    data = None if opened.own else opened.data.path.absolute()
    shards: dict[str, RecordShard] = {}
    for first in range(drawn.first, drawn.last, SHARD_ROWS):
        name = f"{first // SHARD_ROWS:05d}"
        part = drawn.between(first, min(first + SHARD_ROWS, drawn.last))
        if part.total:
            shards[name] = RecordShard(opened.run.path.absolute(), data, part, parts / name)
    for done in parts_left(engine, record_shard, shards, WHOLE):
        progress(0.85 * done / len(shards), f"{done} of {len(shards)} shards of {drawn.total} customers")
    found = Passed.nothing(opened)
    for s in shards.values():
        found.follow(load_passed(s.out, opened))
    join_parquet(rows, (s.out / ROWS for s in shards.values()))
    return found


@reproducible()
def record_shard(shard: RecordShard) -> None:
    """One range into its folder."""
    leave(shard.out, WHOLE, partial(_measure, shard))


def _measure(shard: RecordShard, folder: Path) -> None:
    run = opened_run(shard.run)
    data = opened_dataset(run, shard.data)
    opened = Opened.of(run, data)
    rows = range(shard.drawn.first, shard.drawn.last)
    judge = Judge(run, opened.model, data, opened.calibration, rows)
    save_passed(folder, pass_over(opened, judge, shard.drawn, folder / ROWS, lambda done: None))
