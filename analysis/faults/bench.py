"""The benchmark: plant each fault at each level on each seed, diagnose, and score what the checks said.

Data and weight faults copy the healthy run (by hard links; only what changes is written). Training faults train the shared tiny
configuration. A suggested fix that is a config key is applied on top of the same planted fault and trained again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from analysis.checks import run_checks
from analysis.checks.finding import Finding
from analysis.faults.base import TINY_CUSTOMERS, Bench, Say, prepare, tiny_config, train_run
from analysis.faults.fault import Level, ModelChange, Plant, PlantedFault, faults
from analysis.faults.rows import rewrite
from analysis.faults.score import BenchmarkScore, Case, Hit, judge, judge_healthy
from analysis.record import record
from ple_model.config import Config
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean
from ple_model.files import write_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run, load_run

SEEDS = (11, 12, 13)
CUSTOMERS = 2000
QUICK = (
    "feed-collaborative", "nan-features", "hmm-absent-journey", "drift-columns", "expert-dead", "gate-collapsed",
    "gate-uniform", "transfer-silent", "sae-dead", "evidence-gone", "transfer-cycle", "labels-missing",
)  # fmt: skip
"""A fault of every area, one of which trains: the subset for a continuous integration."""


@dataclass(frozen=True)
class Request:
    """What to run. `only`: names of faults, or ids of checks whose faults are meant; empty: all."""

    seeds: tuple[int, ...] = SEEDS
    only: tuple[str, ...] = ()
    customers: int = CUSTOMERS
    fixes: bool = True

    def chosen(self) -> tuple[PlantedFault, ...]:
        """The faults asked for; `UserError` names one that is not there."""
        known = faults()
        ids = {i for f in known.values() for i in f.checks}
        for name in self.only:
            if name not in known and name not in ids:
                raise UserError(f"--only {name}: no such fault or check{did_you_mean(name, [*known, *sorted(ids)])}")
        return tuple(f for f in known.values() if not self.only or f.name in self.only or set(f.checks) & set(self.only))


def run_benchmark(
    request: Request, workdir: Path, say: Say, keep: Callable[[BenchmarkScore], None] | None = None
) -> BenchmarkScore:
    """Every case of a request. `keep` gets the score so far after each case; an interrupt ends the benchmark with what it
    has."""
    chosen = request.chosen()
    torch.set_flush_denormal(True)
    workdir.mkdir(parents=True, exist_ok=True)
    cases: list[Case] = []
    total = len(request.seeds) * sum(len(f.levels) for f in chosen)
    done = 0
    try:
        for seed in request.seeds:
            bench = prepare(workdir, seed, request.customers, say)
            with tempfile.TemporaryDirectory(dir=workdir, prefix="case-") as folder:
                planter = Planter(bench, Path(folder))
                cases += planter.healthy_cases()
                for fault in chosen:
                    for level in fault.levels:
                        fix = request.fixes and seed == request.seeds[0] and level == fault.levels[0]
                        case = planter.case(fault, level, fixes=fix)
                        cases.append(case)
                        done += 1
                        word = "void" if case.void else "found" if case.found else "missed" if level.clear else "not found"
                        more = f", {len(case.false_alarms)} false alarms" if case.false_alarms else ""
                        say(f"[{done}/{total}] {fault.name} ({level.name}), seed {seed}: {word}{more}, {case.seconds:.0f} s")
                        if keep is not None:
                            keep(BenchmarkScore(tuple(cases)))
    except KeyboardInterrupt:
        say(f"interrupted after {done} of {total} cases")
    return BenchmarkScore(tuple(cases))


class Planter:
    """Plants faults in one seed's material, in a scratch folder that is emptied after each case."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self.base = findings_of(bench.run)
        self.tiny = findings_of(bench.tiny)

    def healthy_cases(self) -> list[Case]:
        seed = self.bench.seed
        return [judge_healthy("small", seed, self.base), judge_healthy("tiny", seed, self.tiny)]

    def case(self, fault: PlantedFault, level: Level, *, fixes: bool = True) -> Case:
        """One fault at one level. An error that stops the run is part of the result, not of the benchmark."""
        began = time.monotonic()
        plant = fault.plant(level.strength)
        healthy = self.tiny if plant.trains else self.base
        error: str | None = None
        found: Sequence[Finding] = ()
        try:
            found = self._trained(plant) if plant.trains else self._edited(plant)
        except UserError as e:
            error = str(e)
        case = judge(fault, level, self.bench.seed, found, healthy)
        if fault.raises:
            case = replace(case, hits=tuple(self._raised(fault, h, error) for h in case.hits))
        elif fixes and plant.trains:
            case = replace(case, hits=tuple(self._with_fix(plant, h) for h in case.hits))
        self._clear()
        return replace(case, seconds=time.monotonic() - began, error=error)

    # --- faults in a finished run

    def _edited(self, plant: Plant) -> tuple[Finding, ...]:
        run = self._copy()
        data = run.sample()
        if plant.rows is not None:
            data = rewrite(data, self.folder / "rows", plant.rows, seed=self.bench.seed)
        if plant.weights is not None or plant.refit is not None:
            model = run.model()
            with torch.no_grad():
                if plant.weights is not None:
                    plant.weights(model)
            if plant.refit is not None:
                plant.refit(model, data.load(None).inputs)
            write_tensors(run.path / "model.safetensors", model.state_dict(), {"format": "pt"})
        return findings_of(run, None if plant.rows is None else data, plant.limit)

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
    def _raised(fault: PlantedFault, hit: Hit, error: str | None) -> Hit:
        named = error is not None and all(word in error for word in fault.raises)
        return replace(hit, found=named, alarm=named, already=False)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            shutil.rmtree(path)


@contextmanager
def built_wrong(change: ModelChange | None) -> Iterator[None]:
    """Every model built in this block is changed before it trains, as a bug in its code would change it."""
    if change is None:
        yield
        return
    original = PLEClusterAdaTT.initialise

    def initialise(self: PLEClusterAdaTT) -> None:
        original(self)
        change(self)

    PLEClusterAdaTT.initialise = initialise  # type: ignore[method-assign]
    try:
        yield
    finally:
        PLEClusterAdaTT.initialise = original  # type: ignore[method-assign]


def findings_of(run: Run, data: Dataset | None = None, limit: int | None = None) -> tuple[Finding, ...]:
    """What the real pipeline says of a run."""
    with np.errstate(all="ignore"):  # a fault may well put NaN into every statistic
        return run_checks(record(run, data, sample=limit).statistics)
