"""The benchmark: plant each fault at each level on each seed, diagnose, and score what the checks said.

Data and weight faults copy the healthy run (by hard links; only what changes is written). Training faults train the shared tiny
configuration. A suggested fix that is a config key is applied on top of the same planted fault and trained again.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from analysis.checks.finding import Finding
from analysis.faults.base import TINY_CUSTOMERS, Bench, Say, prepare, prepare_small, tiny_config, train_run
from analysis.faults.causes import CauseTold
from analysis.faults.fault import FAMILIES, Columns, Level, ModelChange, Plant, PlantedFault, faults
from analysis.faults.harm import STOPPED, Harm, Losses, harm, losses, scored, yardsticks
from analysis.faults.measuring import confirmed, findings_of
from analysis.faults.oracle import oracle_of, with_changed
from analysis.faults.rows import in_units, rewrite
from analysis.faults.score import BenchmarkScore, Case, Hit, judge, judge_healthy
from analysis.faults.seeds import CUSTOMERS, LOOKED_AT, ONCE, note_use
from ple_model.config import Config
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean
from ple_model.files import write_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.model_parts import ModelParts
from ple_model.row_loss import Yardstick
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
    paths = bench.run.path, bench.tiny.path, bench.rows.path
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


def _apart(seed: int, paths: tuple[Path, Path, Path], healthy: Healthy, what: tuple[str, int, bool], workdir: Path) -> Case:
    run, tiny, rows = paths
    bench = Bench(seed, load_run(run), load_run(tiny), Dataset.open(rows))
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


@dataclass(frozen=True, eq=False)
class Healthy:
    """What the healthy runs of a seed say, made once for all faults planted in them: `base` is the `small` one."""

    base: tuple[Finding, ...]
    tiny: tuple[Finding, ...]
    losses: dict[bool, tuple[Losses, dict[str, Yardstick]]]
    """of (False) the `small` run and (True) the tiny one on its own sample, and by what both and their faults are judged"""
    confirmed: dict[bool, frozenset[str]]
    """alarms about their skill ("ID subject") that other customers confirm"""

    @staticmethod
    def of(bench: Bench) -> Healthy:
        runs = {False: bench.run, True: bench.tiny}
        judges = {tiny: yardsticks(run) for tiny, run in runs.items()}
        lost = {tiny: (losses(scored(run, run.sample()), judges[tiny]), judges[tiny]) for tiny, run in runs.items()}
        base, tiny = findings_of(bench.run), findings_of(bench.tiny)
        true = {False: confirmed(bench.run, bench.bank, base), True: confirmed(bench.tiny, bench.bank, tiny)}
        return Healthy(base, tiny, lost, true)

    def cases(self, seed: int) -> list[Case]:
        return [
            judge_healthy("small", seed, self.base, self.confirmed[False]),
            judge_healthy("tiny", seed, self.tiny, self.confirmed[True]),
        ]


class Planter:
    """Plants faults in one seed's material, in a scratch folder that is emptied after each case."""

    def __init__(self, bench: Bench, folder: Path, healthy: Healthy) -> None:
        self.bench, self.folder, self.healthy = bench, folder, healthy
        self.changed: tuple[str, ...] = ()
        """tensors and files that the last fault changed"""
        self.planted: tuple[Run, Dataset] | None = None
        """the run and the rows in which it lies; None: it left no run"""

    def case(self, fault: PlantedFault, level: Level, *, fixes: bool = True) -> Case:
        """One fault at one level. An error that stops the run, or the diagnosis, is part of the result: nothing was told."""
        began = time.monotonic()
        plant = fault.plant(level.strength)
        healthy = self.healthy.tiny if plant.trains else self.healthy.base
        error: str | None = None
        found: Sequence[Finding] = ()
        self.changed, self.planted = (), None
        try:
            found = self._trained(plant) if plant.trains else self._edited(plant)
        except UserError as e:
            error = str(e)
        except Exception as e:  # one case must not take the others with it
            error = f"{type(e).__name__}: {e}"
        oracle = with_changed(oracle_of(fault), self.changed)
        case = judge(fault, level, self.bench.seed, found, healthy, oracle, self.healthy.confirmed[plant.trains])
        if fault.family != "mechanics":
            case = replace(case, harm=self._harm(plant))
        if fault.raises:
            case = self._raised(fault, case, error)
        elif fixes and plant.trains:
            case = replace(case, hits=tuple(self._with_fix(plant, h) for h in case.hits))
        self._clear()
        return replace(case, seconds=time.monotonic() - began, error=error)

    def _harm(self, plant: Plant) -> Harm:
        """What the fault does to the losses on held-out customers; those of a training with true inputs and labels."""
        if self.planted is None:
            return STOPPED
        run, data = self.planted
        healthy, judges = self.healthy.losses[plant.trains]
        if plant.trains:
            data = self.bench.tiny.sample()
        elif "normalizer.npz" in self.changed:
            theirs, ours = data.normalizer(), Normalizer.load(run.preprocess)

            def again(columns: Columns, rng: np.random.Generator) -> None:
                columns["features"] = ours.transform(theirs.inverse(columns["features"]))

            data = rewrite(data, self.folder / "renormalised", again)  # as raw events would be scored
        return harm(healthy, losses(scored(run, data), judges), self.bench.seed)

    # --- faults in a finished run

    def _edited(self, plant: Plant) -> tuple[Finding, ...]:
        run = self._copy()
        data = run.sample()
        if plant.units is not None:
            data = rewrite(data, self.folder / "units", in_units(data.normalizer(), plant.units), seed=self.bench.seed)
        if plant.rows is not None:
            data = rewrite(data, self.folder / "rows", plant.rows, seed=self.bench.seed)
        if plant.weights is not None or plant.refit is not None:
            self.changed = self._damaged(run, plant, data)
        if plant.files is not None:
            self.changed += plant.files(run, self.bench.tiny)
            run = load_run(run.path)
        self.planted = run, data
        own = plant.rows is None and plant.units is None
        return findings_of(run, None if own else data, plant.limit)

    @staticmethod
    def _damaged(run: Run, plant: Plant, data: Dataset) -> tuple[str, ...]:
        """Change the stored weights; names of the tensors that are others now."""
        model = run.model()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        with torch.no_grad():
            if plant.weights is not None:
                plant.weights(model)
        if plant.refit is not None:
            plant.refit(model, data.load(None).inputs)
        write_tensors(run.path / "model.safetensors", model.state_dict(), {"format": "pt"})
        return tuple(k for k, v in model.state_dict().items() if not torch.equal(v, before[k]))

    def _copy(self) -> Run:
        """The healthy run, by hard links: writing replaces a link and leaves the original alone."""
        shutil.copytree(
            self.bench.run.path, self.folder / "run", copy_function=os.link, ignore=shutil.ignore_patterns("analysis", "state")
        )
        return load_run(self.folder / "run")

    # --- faults that train

    def _trained(self, plant: Plant, fix: str | None = None) -> tuple[Finding, ...]:
        config = tiny_config((*plant.overrides, *((fix,) if fix else ())), seed=self.bench.seed)
        rows = self.bench.rows
        if plant.training_rows is not None:
            rows = rewrite(rows, self.folder / f"rows-{bool(fix)}", plant.training_rows, seed=self.bench.seed)
        path = self.folder / f"trained-{bool(fix)}"
        with built_wrong(plant.built), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fault may well make numpy or torch complain
            run = self._train(rows, path, config)
            if not fix:
                self.planted = run, rows
            # a training that failed leaves no sample: look at what it did on the rows that it had
            return findings_of(run, None if (path / "sample" / "dataset.json").exists() else rows)

    @staticmethod
    def _train(rows: Dataset, path: Path, config: Config) -> Run:
        """The run, finished or failed; the error only where it left nothing to look at."""
        try:
            return train_run(rows, path, config, TINY_CUSTOMERS)
        except UserError:
            if not (path / "model.safetensors").exists():
                raise
            return load_run(path)

    def _with_fix(self, plant: Plant, hit: Hit) -> Hit:
        """Train again with the finding's own fix on top of the fault: is the finding gone?"""
        if not hit.found or hit.fix is None:
            return hit
        try:
            found = self._trained(plant, hit.fix)
        except UserError:
            return replace(hit, fix_clears=False)
        still = any(f.alarm and (f.id, f.subject) == (hit.id, hit.subject) for f in found)
        return replace(hit, fix_clears=not still)

    @staticmethod
    def _raised(fault: PlantedFault, case: Case, error: str | None) -> Case:
        """The fault must stop the run: what the error says is what is told."""
        named = error is not None and all(word in error for word in fault.raises)
        hits = tuple(replace(h, found=named, alarm=named, already=False) for h in case.hits)
        true = tuple(f"{h.id} {h.subject}" for h in hits if h.alarm)
        return replace(case, hits=hits, true_alarms=true, told=CauseTold(error is not None, named, named, named, error or ""))

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            shutil.rmtree(path)


@contextmanager
def built_wrong(change: ModelChange | None) -> Iterator[None]:
    """Every model built in this block is changed before it trains, as a bug in its code would change it."""
    if change is None:
        yield
        return
    original = ModelParts.initialise

    def initialise(self: ModelParts) -> None:
        original(self)
        assert isinstance(self, PLEClusterAdaTT)
        change(self)

    ModelParts.initialise = initialise  # type: ignore[method-assign]
    try:
        yield
    finally:
        ModelParts.initialise = original  # type: ignore[method-assign]
