"""A build bucket by bucket: what needs no fitting and what applies the fits run as shards of an engine; the fits run once.

Three passes over events that `ple shard` wrote. First every bucket collects its rows (SQL features, sequences, topology) into
memory-mapped arrays. Then what looks at all customers is made here: labels (some rank a customer among the others), and the
fits, each of a sample of the training rows of all buckets (`artifacts.FIT_ROWS` rows, `collaborative.SAMPLE_CUSTOMERS`
customers) or an aggregate that the database streams. Last every bucket writes its columns. Each shard reads its own bucket
and writes its own files, whole or not at all; what is finished is kept, and a build that was stopped goes on with the rest. A
dataset of the same buckets is the same bytes, whichever engine built it, on machines of one kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ple_model.context import ModelContext
from ple_model.data.build.artifacts import Fitted
from ple_model.data.build.collect import Collected, Joined, Rows, collect
from ple_model.data.build.floating_point import reproducible
from ple_model.data.build.rows import Plan, write_rows
from ple_model.data.build.spine import NoRows, create_spine
from ple_model.data.build.steps import Work, digest, digest_files
from ple_model.data.dataset.writer import DatasetWriter, PartsWritten
from ple_model.data.events.connect import Bucket, EventStore, connect
from ple_model.data.labels.labels import Labels, compute_labels
from ple_model.engine import ShardEngine
from ple_model.engine.base import Value
from ple_model.files import read_json, write_json
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.sql_text import literal
from ple_model.stored import Stored


@dataclass(frozen=True)
class Sharded:
    """All rows, bucket by bucket; beside `rows.Whole`."""

    plan: Plan
    engine: ShardEngine
    store: EventStore
    """All buckets."""

    def collect(self, work: Work) -> tuple[Joined, Labels]:
        """What every bucket says of its rows, in the order of the buckets; their labels beside it."""
        shards, p = self._shards(), self.plan
        counted = dict(_told(self.engine.run(_collect, shards), len(shards), work, "buckets read"))
        rows = [counted[name] for name in shards]
        done = work.step("labels", p.labels_key, lambda f: _save(f, compute_labels(self.store, p.labels, p.own), rows))
        full = [s for s, n in zip(shards.values(), rows, strict=True) if n]
        collected = Joined(tuple(s.collect() for s in full))  # finished: found again
        return collected, _joined([_load(done, s.bucket) for s in full])

    def write(self, work: Work, fitted: Fitted, context: ModelContext, collected: Rows, labels: Labels) -> PartsWritten:
        """The columns of every bucket, by the artifacts that lie in the dataset's folder."""
        context.save(self.plan.out / "artifacts")
        (self.plan.out / "dataset.json").unlink(missing_ok=True)
        shards = self._shards()
        found = dict(_told(self.engine.run(_write, shards), len(shards), work, "buckets written"))
        kept = {f.name for w in found.values() for f in w.files}
        for old in self.plan.out.glob("part-*.parquet"):
            if old.name not in kept:
                old.unlink()
        return sum((found[name] for name in shards), PartsWritten())

    def _shards(self) -> dict[str, Shard]:
        return {f"{k:03d}": Shard(self.plan, k) for k in range(self.plan.buckets)}


@dataclass(frozen=True)
class Shard:
    """One bucket of a build."""

    plan: Plan
    bucket: int

    @property
    def key(self) -> str:
        return digest([self.plan.key, self.bucket])

    @property
    def work(self) -> Work:
        return Work(self.plan.out / ".build" / f"{self.bucket:03d}", lambda step, share: None)

    @contextmanager
    def opened(self) -> Iterator[tuple[EventStore, int]]:
        """The bucket's events and its rows, with one thread: sums are added in one order."""
        p, folder = self.plan, self.work.folder
        folder.mkdir(parents=True, exist_ok=True)
        with connect(p.events, threads=1, bucket=Bucket(self.bucket, p.last)) as store:
            store.con.execute(f"SET temp_directory = {literal(str(folder / 'spill'))}")
            rows = 0
            with suppress(NoRows):
                rows = create_spine(store.con, p.cutoffs, p.split, p.only)
            yield store, rows

    def collect(self) -> Collected:
        """Collects, or finds again what was."""
        with self.opened() as (store, rows):
            return self.collected(store, rows)

    def collected(self, store: EventStore, rows: int) -> Collected:
        p = self.plan
        return collect(self.work, store, rows, self.key, p.market, p.market_key, workers=1)


@reproducible()
def _collect(shard: Shard) -> int:
    """How many rows the bucket has."""
    with shard.opened() as (store, rows):
        if rows:
            shard.collected(store, rows)
        return rows


@reproducible()
def _write(shard: Shard) -> PartsWritten:
    plan, work = shard.plan, shard.work
    artifacts = plan.out / "artifacts"
    made = digest([shard.key, plan.labels_key, digest_files(p for p in artifacts.rglob("*") if p.is_file())])
    done = work.folder / f"written-{made}.json"
    if done.is_file() and (found := PartsWritten.load(done)).there(plan.out):
        return found
    context = ModelContext.load(artifacts)
    fitted = Fitted.load(artifacts, context.hierarchy)
    with shard.opened() as (store, rows):
        if not rows:
            return PartsWritten()
        writer = DatasetWriter(plan.out, bucket=shard.bucket)
        try:
            labels = _load(plan.out / ".build" / f"labels-{plan.labels_key}", shard.bucket)
            write_rows(writer, work, store, fitted, context, shard.collected(store, rows), labels)
            written = writer.finish()
        except BaseException:
            writer.discard()
            raise
    written.save(done)
    return written


def _told(ended: Iterator[tuple[str, Value]], total: int, work: Work, step: str) -> Iterator[tuple[str, Value]]:
    """Progress, by shard."""
    work.progress(step, 0.0)
    for k, (name, value) in enumerate(ended):
        work.progress(step, (k + 1) / total)
        yield name, value


def _save(folder: Path, labels: Labels, rows: Sequence[int]) -> None:
    """The labels of each bucket in a file of its own: a shard reads no more."""
    names = np.array([b or "" for b in labels.brand], dtype=np.str_)
    arrays = {f"y:{t}": v for t, v in labels.columns.items()} | {f"d:{t}": v for t, v in labels.defined.items()}
    arrays |= {"brand": names, "brand known": labels.brand != np.array(None)}
    ends = np.cumsum(rows).tolist()
    for bucket, (n, end) in enumerate(zip(rows, ends, strict=True)):
        if n:
            write_npz(folder / f"{bucket:03d}.npz", {k: v[end - n : end] for k, v in arrays.items()}, packed=True)
    write_json(folder / "own.json", {"own": list(labels.own)})


def _load(folder: Path, bucket: int) -> Labels:
    arrays = read_npz(folder / f"{bucket:03d}.npz")
    brand = arrays["brand"].astype(object)
    brand[~arrays["brand known"]] = None
    return Labels(
        {k[2:]: v for k, v in arrays.items() if k.startswith("y:")}, brand,
        {k[2:]: v for k, v in arrays.items() if k.startswith("d:")},
        Stored.of(folder / "own.json", read_json(folder / "own.json")).texts("own"),
    )  # fmt: skip


def _joined(labels: Sequence[Labels]) -> Labels:
    first = labels[0]
    return Labels(
        {t: np.concatenate([x.columns[t] for x in labels]) for t in first.columns},
        np.concatenate([x.brand for x in labels]),
        {t: np.concatenate([x.defined[t] for x in labels]) for t in first.defined},
        first.own,
    )
