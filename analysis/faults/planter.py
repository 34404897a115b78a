"""Plants one fault after another in a seed's material: its data, weights or training, and what the checks then say."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from analysis.checks.finding import Finding
from analysis.faults.base import TINY_CUSTOMERS, Bench, tiny_config, train_run
from analysis.faults.causes import CauseTold
from analysis.faults.fault import Columns, Level, ModelChange, Plant, PlantedFault
from analysis.faults.harm import STOPPED, Harm, Losses, harm, losses, scored, yardsticks
from analysis.faults.measuring import ABOUT_SKILL, confirmed, findings_of
from analysis.faults.oracle import oracle_of, with_changed
from analysis.faults.rows import in_units, rewrite
from analysis.faults.score import Case, Hit, judge, judge_healthy
from ple_model.config import Config
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import write_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.model_parts import ModelParts
from ple_model.row_loss import Yardstick
from ple_model.run import Run, load_run


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
        known = self.healthy.confirmed[plant.trains]
        case = judge(fault, level, self.bench.seed, found, healthy, oracle, known)
        if plant.trains and self.planted is not None and any(a.id.startswith(ABOUT_SKILL) for a in case.false_alarms):
            own = confirmed(self.planted[0], self.bench.bank, found)  # a training of its own has a skill of its own
            case = judge(fault, level, self.bench.seed, found, healthy, oracle, known | own)
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
