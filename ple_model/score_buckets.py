"""Scores of events in buckets: a shard a bucket, then one file of them all.

A shard makes the features of its bucket with the run's artifacts, scores them into a part of its own and forgets them; the
parts are joined in the order of the buckets. They lie beside the file until it is there, under a name that says what they were
made of, so that a command that was stopped, or lost a shard, goes on with the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ple_model.data.build.build import BuildSettings, checked, transform
from ple_model.data.build.floating_point import reproducible
from ple_model.data.build.spine import NoRows
from ple_model.data.build.steps import Progress, digest, digest_files
from ple_model.data.events.connect import Bucket
from ple_model.engine import ShardEngine
from ple_model.errors import UserError
from ple_model.parts_folder import parts_of
from ple_model.safe_arrays import open_parquet
from ple_model.score_file import ScoreFile
from ple_model.score_run import ScoreRequest, Scoring
from ple_model.sources import source_digest
from ple_model.staging import private_folder


@dataclass(frozen=True)
class ScorePlan:
    """Which events are scored, and how."""

    events: Path
    how: ScoreRequest
    cutoffs: tuple[str, ...]
    buckets: int


@dataclass(frozen=True)
class ScoreShard:
    """One bucket of them."""

    plan: ScorePlan
    bucket: Bucket
    part: Path


def score_buckets(plan: ScorePlan, scoring: Scoring, out: Path, engine: ShardEngine, progress: Progress | None) -> ScoreFile:
    """All buckets -> `out`. `UserError` names the shard that failed."""
    tell = progress or (lambda step, share: None)
    events = checked(plan.events, plan.cutoffs, scoring.model.context.currency, progress)
    with parts_of(out, "another process scores into the same file") as folder:
        parts = folder / _key(plan, events.key, scoring)
        parts.mkdir(exist_ok=True)
        shards = {f"{k:03d}": ScoreShard(plan, Bucket(k, events.last), parts / f"{k:03d}.parquet") for k in range(plan.buckets)}
        missing = {name: s for name, s in shards.items() if not s.part.is_file()}
        tell("score", 1 - len(missing) / len(shards))
        for k, _ in enumerate(engine.run(score_shard, missing)):
            tell("score", 1 - (len(missing) - k - 1) / len(shards))
        files = [s.part for s in shards.values() if s.part.stat().st_size]
        if not files:
            raise UserError(f"{plan.events} has no rows to score at {', '.join(events.cutoffs)}")
        rows = sum(pq.read_metadata(f).num_rows for f in files)
        written = scoring.write(_joined(files), rows, out, None)
        shutil.rmtree(folder, ignore_errors=True)
    return scoring.told(out, written, events.cutoffs, events.notes)


@reproducible()
def score_shard(shard: ScoreShard) -> None:
    """One bucket into its part; an empty file where it has nobody."""
    plan, part = shard.plan, shard.part
    scoring = plan.how.scoring()
    with private_folder(part.with_suffix(".data")) as scratch:
        try:
            data = transform(
                plan.events, scoring.run.preprocess, scratch / "data", plan.cutoffs or None,
                settings=BuildSettings(workers=1, threads=1), bucket=shard.bucket,
            )  # fmt: skip
        except NoRows:
            part.touch()
            return
        scoring.write(scoring.tables(data), data.rows(), part, None)


def _joined(files: list[Path]) -> Iterator[pa.Table]:
    """Row groups as they are."""
    for path in files:
        with open_parquet(path) as file:
            for k in range(file.num_row_groups):
                yield file.read_row_group(k)


def _key(plan: ScorePlan, events: str, scoring: Scoring) -> str:
    """Of what the parts are made of: events, what was asked, all that is read of the run, and the program."""
    run, encoder = scoring.run.path, plan.how.encoder
    read = [run / "model.safetensors", run / "config.yaml", *_files(run / "preprocess"), *_files(run / "sample")]
    asked = (plan.how.top, plan.how.fallback_share, plan.how.device, plan.how.carried, plan.cutoffs, plan.buckets)
    heard = None if encoder is None else digest_files(_files(encoder))
    return digest([events, asked, digest_files(read), heard, source_digest(__name__)])


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]
