"""A build bucket by bucket: what needs no fitting and what applies the fits run as shards of an engine; the fits run once.

Three passes over events that `ple shard` wrote. First what compares customers with one another is made here, of all of them: a
few labels. Then every bucket collects its rows (SQL features, sequences, topology) into memory-mapped arrays, and makes its
other labels. Then come the fits, each of a sample of the training rows of all buckets (`artifacts.FIT_ROWS` rows,
`collaborative.SAMPLE_CUSTOMERS` customers) or an aggregate that the database streams. Last every bucket writes its columns.
Each shard reads its own bucket and writes its own files, whole or not at all; what is finished is kept, and a build that was
stopped goes on with the rest. A dataset of the same buckets is the same bytes, whichever engine built it, on machines of one
kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ple_model.context import ModelContext
from ple_model.data.build.artifacts import Fitted
from ple_model.data.build.collect import Collected, Piece, collect
from ple_model.data.build.floating_point import reproducible
from ple_model.data.build.rows import Plan, write_rows
from ple_model.data.build.spine import NoRows, create_spine
from ple_model.data.build.steps import Work, digest, digest_files
from ple_model.data.dataset.writer import DatasetWriter, PartsWritten
from ple_model.data.events.buckets import bucket_sql
from ple_model.data.events.connect import Bucket, EventStore, connect
from ple_model.data.labels.labels import Labels, compare_customers, compute_labels
from ple_model.engine import ShardEngine
from ple_model.engine.base import Value
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.sources import source_digest
from ple_model.sql_text import literal
from ple_model.stored import Stored


@dataclass(frozen=True)
class Sharded:
    """All rows, bucket by bucket; beside `rows.Whole`."""

    plan: Plan
    engine: ShardEngine
    store: EventStore
    """All buckets."""

    rows: int
    """Of the table `spine` of the whole source."""

    def collect(self, work: Work) -> tuple[Collected, Labels]:
        """What every bucket says of its rows, in the order of the buckets; their labels beside it."""
        p, shards = self.plan, self._shards()
        quiet = Work(work.folder, lambda step, share: None, work.tell)
        quiet.step("compared", p.labels_key, self._compare)
        found = dict(_told(self.engine.run(_collect, shards), len(shards), work, "features"))
        pieces = [found[name] for name in shards]
        if kept := sum(x.kept for x in pieces):
            work.tell(f"{kept} of {len(pieces)} buckets are kept from the build that was stopped")
        if sum(x.rows for x in pieces) != self.rows:
            raise _other_rows(p, sum(x.rows for x in pieces), self.rows)
        return Collected(tuple(x for x in pieces if x.rows)), _joined(
            [s.labels() for s, x in zip(shards.values(), pieces, strict=True) if x.rows]
        )

    def _compare(self, folder: Path) -> None:
        """The labels that compare customers, of each bucket in a file of its own: a shard reads no more."""
        number = bucket_sql(self.plan.buckets)
        rows = dict(self.store.con.execute(f"SELECT {number}, count(*) FROM spine GROUP BY 1 ORDER BY 1").fetchall())
        compared = compare_customers(replace(self.store, last=self.plan.last), self.plan.labels)
        first = 0
        for bucket, n in rows.items():
            write_npz(folder / f"{bucket:03d}.npz", {t: v[first : first + n] for t, v in compared.items()}, packed=True)
            first += n

    def write(self, work: Work, fitted: Fitted, context: ModelContext, collected: Collected, labels: Labels) -> PartsWritten:
        """The columns of every bucket, by the artifacts that lie in the dataset's folder."""
        context.save(self.plan.out / "artifacts")
        shards = self._shards()
        found = dict(_told(self.engine.run(_write, shards), len(shards), work, "write"))
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

    def collect(self, store: EventStore, rows: int) -> Piece:
        """Collects, or finds again what was."""
        p, kept = self.plan, list[str]()
        work = Work(self.work.folder, self.work.progress, kept.append)
        piece = collect(work, store, rows, self.key, p.market, p.market_key, workers=1)
        work.step("labels", p.labels_key, lambda f: self._label(f, store, rows))
        return replace(piece, kept=bool(kept))

    def labels(self) -> Labels:
        """Those that `collect` left."""
        folder = self.work.folder / f"labels-{self.plan.labels_key}"
        arrays = read_npz(folder / "labels.npz")
        about = Stored.of(folder / "about.json", read_json(folder / "about.json"))
        names = np.array([*about.texts("brands"), None], dtype=object)  # -1 is the last: none
        return Labels(
            {k[2:]: v for k, v in arrays.items() if k.startswith("y:")}, names[arrays["brand"]],
            {k[2:]: v for k, v in arrays.items() if k.startswith("d:")}, about.texts("own"),
        )  # fmt: skip

    def _label(self, folder: Path, store: EventStore, rows: int) -> None:
        p = self.plan
        made = p.out / ".build" / f"compared-{p.labels_key}" / f"{self.bucket:03d}.npz"
        compared = read_npz(made) if made.is_file() else {}
        if any(len(v) != rows for v in compared.values()) or not made.is_file():
            raise _other_rows(p, rows, max((len(v) for v in compared.values()), default=0))
        labels = compute_labels(store, p.labels, p.own, compared)
        names = sorted({b for b in labels.brand if b is not None})
        number = {b: k for k, b in enumerate(names)}
        brand = np.fromiter((-1 if b is None else number[b] for b in labels.brand), np.int32, len(labels.brand))
        arrays = {f"y:{t}": v for t, v in labels.columns.items()} | {f"d:{t}": v for t, v in labels.defined.items()}
        write_npz(folder / "labels.npz", arrays | {"brand": brand}, packed=True)
        write_json(folder / "about.json", {"own": list(labels.own), "brands": names})


@reproducible()
def _collect(shard: Shard) -> Piece:
    with shard.opened() as (store, rows):
        return shard.collect(store, rows) if rows else Piece((), 0)


@reproducible()
def _write(shard: Shard) -> PartsWritten:
    plan, work = shard.plan, shard.work
    artifacts = plan.out / "artifacts"
    fits = digest_files(p for p in artifacts.rglob("*") if p.is_file())
    made = digest([shard.key, plan.labels_key, fits, source_digest(__name__)])
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
            collected = Collected((shard.collect(store, rows),))
            write_rows(writer, work, store, fitted, context, collected, shard.labels())
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


def _other_rows(plan: Plan, there: int, expected: int) -> UserError:
    return UserError(
        f"'{plan.events}': its {plan.buckets} buckets hold {there:,} of the {expected:,} rows: events.json and the files do not"
        " fit together; write the buckets again with `ple shard`"
    )


def _joined(labels: Sequence[Labels]) -> Labels:
    first = labels[0]
    return Labels(
        {t: np.concatenate([x.columns[t] for x in labels]) for t in first.columns},
        np.concatenate([x.brand for x in labels]),
        {t: np.concatenate([x.defined[t] for x in labels]) for t in first.defined},
        first.own,
    )
