"""`ple bench scale`: processor time a customer and peak memory a process of build, diagnose and predict by shards, at several
numbers of customers, and what follows from them for millions.

Each size is a synthetic bank in buckets of the size that `ple shard` makes (of half the smallest size's customers where no
size fills one), two at least: events in one bucket are not worked on by shards. A shard of a build and of a score is a bucket,
one of a diagnosis is `SHARD_ROWS` rows: memory of shards is judged between sizes that fill one. Time is the processor's, which
other work on the machine disturbs least; a command's own process and its shards are told apart, since only these are shared
out. Three sizes tell what one more customer costs: in time over customers, starting a program weighs most at the smallest size
and hides growth. The run that is measured and scores was trained for an epoch on `TRAINED` of the bank's rows: how good it is
does not matter here. With `--bank DIR` all is kept there: what has been measured by the same program, libraries, machine and
settings is not measured again, else it is made anew. A dataset has the rows of all cut-offs (2.4 a customer); scored is each
customer once, at the last of them.
"""

from __future__ import annotations

import math
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.bench.watched import Watched, watch
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.data.events.manifest import MAX_BUCKETS
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.provenance import library_versions
from ple_model.sources import package_digest
from ple_model.ticker import share_of

SIZES, QUICK = (10_000, 100_000, 300_000), (300, 600)
STAGES = ("build", "diagnose", "predict")
TRAINED = 2_000
"""Rows of the training."""
FLAT = 1.10
"""Ten times the customers may cost a tenth more each: allocators and disks are not exact."""
ASKED = ((1_000_000, 8), (5_000_000, 64), (50_000_000, 256))
"""(customers, processes) of the sizing table."""
SHORT = ("training.phase1_epochs=1", "training.phase2_epochs=0", "direct_path.bends=0")
KEPT = "measured.json"
MADE = ("buckets", "events", "dataset", "some", "run", "scores.parquet")
"""What lies in the folder of a size, beside `KEPT`."""


def run(settings: Settings) -> list[Row]:
    """Sizes from the fewest customers on; `Settings.bank` is where all is kept."""
    sizes = settings.sizes or (QUICK if settings.quick else SIZES)
    bucket = bucket_of(sizes)
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as scratch:
        home = settings.bank or Path(scratch)
        found = {n: _Size(home / f"customers-{n}", n, buckets_of_size(n, bucket), settings).measured() for n in sizes}
    return [*_each(found), *_growth(found, bucket), *_further(found), *sizing(max(sizes), found[max(sizes)])]


def bucket_of(sizes: Sequence[int]) -> int:
    """Customers of a bucket. `UserError` for a size that the program takes in fewer, larger buckets alone."""
    from ple_model.data.events.buckets import CUSTOMERS  # late: DuckDB

    if max(sizes) > CUSTOMERS * MAX_BUCKETS:
        raise UserError(f"--customers: {max(sizes):,} is not valid, it must be at most {CUSTOMERS * MAX_BUCKETS:,}")
    return CUSTOMERS if max(sizes) >= CUSTOMERS else max(1, min(sizes) // 2)


def buckets_of_size(customers: int, bucket: int) -> int:
    """One bucket is no shard: the first process would do all of it."""
    return max(2, math.ceil(customers / bucket))


class _Size:
    """A bank of so many customers, in its folder."""

    def __init__(self, home: Path, customers: int, buckets: int, settings: Settings) -> None:
        self.home, self.customers, self.buckets, self.settings = home, customers, buckets, settings
        self.tick = share_of(f"{customers:,} customers:", lines=True)

    def measured(self) -> dict[str, Watched]:
        """By stage; those that are kept of the same settings, program, libraries and machine are read back."""
        self.home.mkdir(parents=True, exist_ok=True)
        made_of: dict[str, Any] = {"buckets": self.buckets, "seed": self.settings.seed, "workers": self.settings.workers}
        made_of |= {"program": package_digest("ple_model", "analysis"), "libraries": library_versions(), "on": platform.node()}
        kept = read_json(self.home / KEPT) if (self.home / KEPT).is_file() else {}
        if kept.get("made_of") != made_of:
            self._remove(*MADE)
            kept = {"made_of": made_of, "stages": {}}
            write_json(self.home / KEPT, kept)
        found: dict[str, Any] = kept["stages"]
        for k, stage in enumerate(STAGES):
            self.tick(k / len(STAGES), stage)
            if stage not in found:
                found[stage] = asdict(self._work(stage))
                write_json(self.home / KEPT, {"made_of": made_of, "stages": found})
        self.tick(1.0, "all done")
        return {stage: Watched(**found[stage]) for stage in STAGES}

    def _work(self, stage: str) -> Watched:
        by = ("--engine", "local", "--workers", str(self.settings.workers))
        buckets, dataset, run = self._buckets(), self.home / "dataset", self.home / "run"
        if stage == "build":
            self._remove("dataset")
            return watch(("build", str(buckets), str(dataset), *by))
        if not (run / "metrics.json").is_file():
            self._train(dataset, run)
        if stage == "diagnose":
            self._remove("run/analysis")
            # exit 1: it has found something, as it must of such a training
            return watch(("diagnose", str(run), "--dataset", str(dataset), "--force", "--json", *by), good=(0, 1))
        self._remove("scores.parquet")
        last = max(read_json(dataset / "dataset.json")["cutoffs"])
        return watch(("predict", str(run), str(buckets), str(self.home / "scores.parquet"), "--cutoff", last, "--quiet", *by))

    def _remove(self, *names: str) -> None:
        """What a stage made, and what one that was stopped left of it: what goes on with a rest is not the whole."""
        for place in (self.home / name for name in names):
            for old in (place, place.with_name(f".{place.name}.parts")):
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink(missing_ok=True)

    def _buckets(self) -> Path:
        from ple_model.data.events.buckets import buckets_of, write_buckets  # late: DuckDB
        from ple_model.data.synth import generate  # late: the synthetic bank

        buckets, events = self.home / "buckets", self.home / "events"
        if not buckets.is_dir() or buckets_of(buckets) != self.buckets:
            self._remove("buckets", "events")
            generate(events, self.customers, self.settings.seed, workers=self.settings.workers)
            write_buckets(events, buckets, self.buckets)
            shutil.rmtree(events)
        return buckets

    def _train(self, dataset: Path, run: Path) -> None:
        from ple_model.data.dataset.reader import Dataset  # late: torch

        some = self.home / "some"
        self._remove("some", "run")
        Dataset.open(dataset).extract(some, limit=TRAINED, seed=self.settings.seed)
        watch(training(some, run))
        shutil.rmtree(some)


def training(dataset: Path, run: Path) -> tuple[str, ...]:
    """The command that makes the run, which is not measured."""
    short = [word for one in SHORT for word in ("--set", one)]
    return ("train", str(dataset), str(run), "--preset", "small", "--no-baselines", "--quiet", "--device", "cpu", *short)


def _each(found: Mapping[int, Mapping[str, Watched]]) -> list[Row]:
    """A line a stage and size."""
    return [
        Row(
            "scale", f"{stage}, processor time a customer, {n:,} customers", value := _ms(w, n), None, value,
            detail={name: round(number, 1) for name, number in asdict(w).items()},
        )
        for stage in STAGES
        for n, w in ((n, stages[stage]) for n, stages in found.items())
    ]  # fmt: skip


def _ms(w: Watched, customers: int) -> float:
    return 1000 * (w.first_s + w.shards_s) / customers


def _shard_mb(w: Watched, customers: int) -> float:
    return w.shard_mb


def _growth(found: Mapping[int, Mapping[str, Watched]], bucket: int) -> list[Row]:
    """Of the largest size against the smallest; of a shard's memory against the smallest that fills a shard, and where none but
    the largest does, without a verdict."""
    from analysis.recording.shards import SHARD_ROWS  # late: torch

    many, fills = max(found), {"build": 2 * bucket, "predict": 2 * bucket, "diagnose": SHARD_ROWS}
    target = Target(FLAT, at_least=False)
    what: dict[str, tuple[Callable[[Watched, int], float], str, Target | None]] = {
        "processor time a customer": (_ms, "ms", target),
        "peak memory of a shard's process": (_shard_mb, "MB", target),
        "peak memory of the first process": (lambda w, n: w.first_mb, "MB", None),
    }
    rows = []
    for stage in STAGES if len(found) > 1 else ():
        for name, (read, unit, bound) in what.items():
            filled = [n for n in found if n < many and (read is not _shard_mb or n >= fills[stage])]
            few = min(filled, default=min(found))
            ours, reference = read(found[many][stage], many), read(found[few][stage], few)
            ratio = ours / reference if reference else math.nan
            judged = bound if filled and reference else None  # unknown where nothing was seen
            rows.append(Row("scale", f"{stage}, {name}: {many:,} / {few:,}", ratio, judged, ours, reference, unit))
    return rows


def _further(found: Mapping[int, Mapping[str, Watched]]) -> list[Row]:
    """What a further customer costs between the two largest sizes, against the two smallest."""
    sizes = sorted(found)
    if len(sizes) < 3:
        return []

    def cost(stage: str, few: int, many: int) -> float:
        times = [found[n][stage].first_s + found[n][stage].shards_s for n in (few, many)]
        return 1000 * (times[1] - times[0]) / (many - few)

    rows = []
    for stage in STAGES:
        reference, ours = cost(stage, *sizes[:2]), cost(stage, *sizes[-2:])
        known = reference > 0
        name = f"{stage}, processor time a further customer: {sizes[-2]:,} to {sizes[-1]:,} / {sizes[0]:,} to {sizes[1]:,}"
        target = Target(FLAT, at_least=False) if known else None
        rows.append(Row("scale", name, ours / reference if known else math.nan, target, ours, reference))
    return rows


def sizing(customers: int, found: Mapping[str, Watched]) -> list[Row]:
    """Hours of each stage at the sizes of `ASKED`, from what `customers` took: the first process works alone, its shards share
    out what they take, each customer costs what one costs here, and nobody waits for a disk or a network. No memory is given
    where the program takes fewer, larger buckets than were measured."""
    from ple_model.data.events.buckets import CUSTOMERS  # late: DuckDB

    rows = []
    for wanted, processes in ASKED:
        for stage in STAGES:
            w, times = found[stage], wanted / customers / 3600
            hours = times * (w.first_s + w.shards_s / processes)
            detail = {"alone_h": times * w.first_s, "shards_h": times * w.shards_s / processes}
            if wanted <= MAX_BUCKETS * CUSTOMERS:
                detail |= {"memory_gb": (w.first_mb + processes * w.shard_mb) / 1024}
            row = Row(
                "scale", f"sizing: {stage} of {wanted:,} customers by {processes} processes", hours, None, hours, unit="h",
                source=f"in proportion to {customers:,} customers", detail={k: round(v, 2) for k, v in detail.items()},
            )  # fmt: skip
            rows.append(row)
    return rows


HELP = "build, diagnose and predict by shards: time a customer, memory a process, and what millions take"
BENCHMARKS = (Benchmark("scale", HELP, run, proof=True),)
