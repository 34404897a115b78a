"""The benchmark: plant each fault at each level on each seed, diagnose, and score what the checks said.

Data and weight faults copy the healthy run (by hard links; only what changes is written). Training faults train the shared tiny
configuration. A suggested fix that is a config key is applied on top of the same planted fault and trained again.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from analysis.checks.finding import Finding
from analysis.faults.base import Bench, Say, prepare, prepare_small
from analysis.faults.fault import FAMILIES, Level, PlantedFault, faults
from analysis.faults.measuring import confirmed, findings_of
from analysis.faults.oracle import oracle_of
from analysis.faults.planter import Healthy, Planter
from analysis.faults.score import BenchmarkScore, Case, judge_healthy
from analysis.faults.seeds import CUSTOMERS, LOOKED_AT, ONCE, note_use
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean
from ple_model.run import Run, load_run
from ple_model.threads import take_back

SEEDS = LOOKED_AT
QUICK = (
    "feed-collaborative", "nan-features", "hmm-absent-journey", "drift-columns", "expert-dead", "gate-collapsed",
    "gate-uniform", "transfer-silent", "sae-dead", "evidence-gone", "transfer-cycle", "labels-missing", "labels-shifted",
    "sentinel", "rows-duplicated", "expert-reinitialised", "rate-high",
)  # fmt: skip
"""A fault of every area, one of which trains: the subset for a continuous integration."""


@dataclass(frozen=True)
class Request:
    """What to run. `only`: names of faults, kinds (`join`), or ids of checks whose faults are meant; empty: all. `healthy`: no
    fault, the healthy runs of the seeds alone."""

    seeds: tuple[int, ...] = SEEDS
    only: tuple[str, ...] = ()
    customers: int = CUSTOMERS
    fixes: bool = True
    healthy: bool = False
    strong: bool = False
    """the first level of each fault alone"""
    workers: int = 1
    """processes, of one thread each"""

    def chosen(self) -> tuple[PlantedFault, ...]:
        """The faults asked for; `UserError` names one that is not there."""
        known = faults()
        words = {f.name: {f.name, f.family, *f.checks, *oracle_of(f).ids} for f in known.values()}
        every = dict.fromkeys([*known, *FAMILIES, *sorted(set().union(*words.values()))])
        for name in self.only:
            if name not in every:
                raise UserError(f"--only {name}: no such fault, kind or check{did_you_mean(name, every)}")
        return tuple(f for f in known.values() if not self.only or words[f.name] & set(self.only))


def run_benchmark(
    request: Request, workdir: Path, say: Say, keep: Callable[[BenchmarkScore], None] | None = None
) -> BenchmarkScore:
    """Every case of a request. `keep` gets the score so far after each case; an interrupt ends the benchmark with what it
    has."""
    chosen = request.chosen()
    torch.set_flush_denormal(True)
    workdir.mkdir(parents=True, exist_ok=True)
    once = tuple(note_use(workdir, datetime.now().isoformat(timespec="minutes"))) if ONCE in request.seeds else ()
    cases: list[Case] = []
    work = [] if request.healthy else [(f, v) for f in chosen for v in (f.levels[:1] if request.strong else f.levels)]
    clock = Clock(len(request.seeds) * len(work))
    try:
        for seed in request.seeds:
            if request.healthy:
                cases.append(_healthy_alone(workdir, seed, request.customers, say))
                if keep is not None:
                    keep(BenchmarkScore(tuple(cases), once))
                continue
            bench = prepare(workdir, seed, request.customers, say)
            healthy = Healthy.of(bench)
            cases += healthy.cases(seed)
            fixes = request.fixes and seed == request.seeds[0]
            # in an order drawn by the seed: what an interrupted benchmark holds is a fair draw of all
            order = np.random.default_rng(seed).permutation(len(work))
            drawn = [(f, v, fixes and v == f.levels[0]) for f, v in (work[i] for i in order)]
            with closing(planted(bench, healthy, drawn, workdir, request.workers)) as found:
                for case in found:
                    cases.append(case)
                    say(f"{clock.tick(case.seconds / request.workers)} {_line(case)}")
                    if keep is not None:
                        keep(BenchmarkScore(tuple(cases), once))
    except KeyboardInterrupt:
        say(f"interrupted after {clock.done} of {clock.total} cases")
    return BenchmarkScore(tuple(cases), once)


Work = tuple[PlantedFault, Level, bool]
"""A fault at a level, and whether its fix is tried."""


def planted(bench: Bench, healthy: Healthy, work: Sequence[Work], workdir: Path, workers: int) -> Generator[Case, None, None]:
    """The cases of one seed, as they are done."""
    if workers == 1:
        with tempfile.TemporaryDirectory(dir=workdir, prefix="case-") as folder:
            planter = Planter(bench, Path(folder), healthy)
            yield from (planter.case(fault, level, fixes=fix) for fault, level, fix in work)
        return
    paths = bench.run.path, bench.tiny.path, bench.rows.path, None if bench.bank is None else bench.bank.path
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_settle) as pool:
        asked = [
            pool.submit(_apart, bench.seed, paths, healthy, (f.name, f.levels.index(v), fix), workdir) for f, v, fix in work
        ]
        try:
            yield from (done.result() for done in as_completed(asked))
        finally:
            pool.shutdown(cancel_futures=True)


def _settle() -> None:
    """A process for cases: one thread, and an interrupt is the business of the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_back()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


Paths = tuple[Path, Path, Path, Path | None]
"""The `small` run, the tiny one, its rows and the bank that both are drawn from."""


def _apart(seed: int, paths: Paths, healthy: Healthy, what: tuple[str, int, bool], workdir: Path) -> Case:
    run, tiny, rows, bank = paths
    bench = Bench(seed, load_run(run), load_run(tiny), Dataset.open(rows), None if bank is None else Dataset.open(bank))
    name, level, fix = what
    fault = faults()[name]
    with tempfile.TemporaryDirectory(dir=workdir, prefix="case-") as folder:
        return Planter(bench, Path(folder), healthy).case(fault, fault.levels[level], fixes=fix)


def confirmed_alone(run: Run, found: Sequence[Finding]) -> frozenset[str]:
    """Of a run of `prepare_small`."""
    return confirmed(run, Dataset.open(run.path.parent / "dataset"), found)


def _healthy_alone(workdir: Path, seed: int, customers: int, say: Say) -> Case:
    """The healthy `small` run of a seed."""
    run = prepare_small(workdir, seed, customers, say)
    found = findings_of(run)
    case = judge_healthy("small", seed, found, confirmed_alone(run, found))
    said = "; ".join(
        f"{what}: {', '.join(named)}"
        for what, named in (
            ("false", [f"{a.severity} {a.id} {a.subject}" for a in case.false_alarms]),
            ("confirmed by other customers", [f"{a.severity} {a.id} {a.subject}" for a in case.confirmed]),
        )
        if named
    )
    say(f"seed {seed}: {len(case.false_alarms) + len(case.confirmed)} alarms{f'; {said}' if said else ''}")
    return case


@dataclass
class Clock:
    """Where a benchmark is, and how long the rest takes if it goes on as it did."""

    total: int
    done: int = 0
    seconds: float = 0.0

    def tick(self, seconds: float) -> str:
        """`[3/40, about 12 min left]`, after a case of so many seconds."""
        self.done, self.seconds = self.done + 1, self.seconds + seconds
        left = self.seconds / self.done * (self.total - self.done)
        return f"[{self.done}/{self.total}, about {left / 60:.0f} min left]"


def _line(case: Case) -> str:
    if case.void:
        word = "void"
    elif case.hits:
        word = "found" if case.found else "missed" if case.clear else "not found"
    elif not case.harmful:
        word = "does no harm"
    else:
        assert case.told is not None
        t = case.told
        word = f"cause {t.named}" if t.cause else "right subject" if t.subject else "an alarm" if t.alarm else "silent"
    more = f", {len(case.false_alarms)} false alarms" if case.false_alarms else ""
    more += f" ({case.error})" if case.error else ""
    return f"{case.fault} ({case.level}), seed {case.seed}: {word}{more}, {case.seconds:.0f} s"
