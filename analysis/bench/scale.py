"""`ple bench scale`: processor time a customer and peak memory a process of build, diagnose and predict by shards, at several
numbers of customers, and what follows from them for millions.

Each size is a synthetic bank in buckets of half the smallest size's customers, so a shard is the same work at every size. The
run that is measured and scores was trained for an epoch on `TRAINED` of the bank's rows: how good it is does not matter here.
Time is the processor's, which other work on the machine disturbs least; a command's own process and its shards are told apart,
since only these are shared out. With `--bank DIR` all is kept there: what has been measured is not measured again.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.bench.watched import Watched, watch
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.files import read_json, write_json
from ple_model.sources import package_digest
from ple_model.ticker import share_of

SIZES, QUICK = (10_000, 100_000), (300, 600)
STAGES = ("build", "diagnose", "predict")
TRAINED = 2_000
"""Rows of the training."""
FLAT = 1.10
"""Ten times the customers may cost a tenth more each: allocators and disks are not exact."""
ASKED = ((1_000_000, 8), (5_000_000, 64), (50_000_000, 256))
"""(customers, processes) of the sizing table."""
SHORT = ("training.phase1_epochs=1", "training.phase2_epochs=0", "direct_path.bends=0")
KEPT = "measured.json"


def run(settings: Settings) -> list[Row]:
    """Sizes from the fewest customers on; `Settings.bank` is where all is kept."""
    sizes = settings.sizes or (QUICK if settings.quick else SIZES)
    bucket = max(1, min(sizes) // 2)
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as scratch:
        home = settings.bank or Path(scratch)
        found = {n: _Size(home / f"customers-{n}", n, math.ceil(n / bucket), settings).measured() for n in sizes}
    return [*_each(found), *_growth(found), *sizing(max(sizes), found[max(sizes)])]


class _Size:
    """A bank of so many customers, in its folder."""

    def __init__(self, home: Path, customers: int, buckets: int, settings: Settings) -> None:
        self.home, self.customers, self.buckets, self.settings = home, customers, buckets, settings
        self.tick = share_of(f"{customers:,} customers:", lines=True)

    def measured(self) -> dict[str, Watched]:
        """By stage; those that are kept of the same settings and program are read back."""
        self.home.mkdir(parents=True, exist_ok=True)
        made_of: dict[str, Any] = {"buckets": self.buckets, "seed": self.settings.seed, "workers": self.settings.workers}
        made_of |= {"program": package_digest("ple_model", "analysis")}
        kept = read_json(self.home / KEPT) if (self.home / KEPT).is_file() else {}
        found: dict[str, Any] = kept.get("stages", {}) if kept.get("made_of") == made_of else {}
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
            shutil.rmtree(dataset, ignore_errors=True)
            return watch(("build", str(buckets), str(dataset), *by))
        if not (run / "metrics.json").is_file():
            self._train(dataset, run)
        if stage == "diagnose":  # exit 1: it has found something, as it must of such a training
            return watch(("diagnose", str(run), "--dataset", str(dataset), "--force", "--json", *by), good=(0, 1))
        return watch(("predict", str(run), str(buckets), str(self.home / "scores.parquet"), "--quiet", *by))

    def _buckets(self) -> Path:
        from ple_model.data.events.buckets import buckets_of, write_buckets  # late: DuckDB
        from ple_model.data.synth import generate  # late: the synthetic bank

        buckets, events = self.home / "buckets", self.home / "events"
        if not buckets.is_dir() or buckets_of(buckets) != self.buckets:
            for old in (buckets, events):
                shutil.rmtree(old, ignore_errors=True)
            generate(events, self.customers, self.settings.seed, workers=self.settings.workers)
            write_buckets(events, buckets, self.buckets)
            shutil.rmtree(events)
        return buckets

    def _train(self, dataset: Path, run: Path) -> None:
        from ple_model.data.dataset.reader import Dataset  # late: torch

        some = self.home / "some"
        for old in (some, run):
            shutil.rmtree(old, ignore_errors=True)
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


def _growth(found: Mapping[int, Mapping[str, Watched]]) -> list[Row]:
    """Of the largest size against the smallest."""
    few, many = min(found), max(found)
    target = Target(FLAT, at_least=False)
    what: dict[str, tuple[Callable[[Watched, int], float], str, Target | None]] = {
        "processor time a customer": (_ms, "ms", target),
        "peak memory of a shard's process": (lambda w, n: w.shard_mb, "MB", target),
        "peak memory of the first process": (lambda w, n: w.first_mb, "MB", None),
    }
    rows = []
    for stage in STAGES if few < many else ():
        for name, (read, unit, bound) in what.items():
            ours, reference = read(found[many][stage], many), read(found[few][stage], few)
            ratio = ours / reference if reference else math.nan
            rows.append(Row("scale", f"{stage}, {name}: {many:,} / {few:,}", ratio, bound, ours, reference, unit))
    return rows


def sizing(customers: int, found: Mapping[str, Watched]) -> list[Row]:
    """Hours of each stage at the sizes of `ASKED`, from what `customers` took: the first process works alone, its shards share
    out what they take, each customer costs what one costs here, and nobody waits for a disk or a network."""
    rows = []
    for wanted, processes in ASKED:
        for stage in STAGES:
            w, times = found[stage], wanted / customers / 3600
            hours = times * (w.first_s + w.shards_s / processes)
            detail = {"alone_h": times * w.first_s, "shards_h": times * w.shards_s / processes}
            detail |= {"memory_gb": (w.first_mb + processes * w.shard_mb) / 1024}
            row = Row(
                "scale", f"sizing: {stage} of {wanted:,} customers by {processes} processes", hours, None, hours, unit="h",
                source=f"in proportion to {customers:,} customers", detail={k: round(v, 2) for k, v in detail.items()},
            )  # fmt: skip
            rows.append(row)
    return rows


HELP = "build, diagnose and predict by shards: time a customer, memory a process, and what millions take"
BENCHMARKS = (Benchmark("scale", HELP, run, proof=True),)
