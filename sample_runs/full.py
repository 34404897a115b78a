"""Make the bundled runs of the whole model of the reference (`v3_14`): `full`, on a seeded synthetic bank of 50,000 customers,
and `cut-feed`, on one of 10,000, whose sequences never arrive and whose gate of `nba` starts saturated.

Beside the reference's body they have what `small` has and the reference has not: the direct path of a fitted linear map and a
fitted brand query, brands that choose their share of the network, experts that are taught directly, the link of brands to
`lightgcn` (without them the network is behind a linear model: docs/learning.md); then an autoencoder of 32 active latents a
row, and the evidential KL term at full weight, which a short training needs. Epochs are fewer than the preset's, with adaTT's
warm-up and the freeze of the gates moved accordingly: `full` takes about two hours of two cores. Each stage is passed over
where its result is there and resumed where it was stopped, so the same command goes on after Ctrl-C, a kill or a restart:

    events -> dataset (-> with the feed cut) -> baselines -> run -> evaluation.json, evaluation.txt      in the work folder
    run without its training state, its weights in 16 bits, its customers drawn anew, with its analysis  in `sample_runs`

Large matrices ship rounded to float16, so that two runs of 4.8 million numbers and a thousand customers fit into what all
bundled runs may take; how far that moves an output is said when it is done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis import diagnose
from analysis.faults.feeds import cut_feed
from ple_model.config import Config, load_config
from ple_model.config_values import changed_values, config_values
from ple_model.data.build.build import build
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.manifest import EventsManifest
from ple_model.data.synth import generate
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.files import read_tensors, write_json, write_tensors
from ple_model.finish import write_sample
from ple_model.fitting import fitted_to
from ple_model.run import Run, load_run
from ple_model.run_fingerprint import write_fingerprint
from ple_model.safe_paths import write_bytes
from ple_model.skill import measure, stored
from ple_model.staging import staged_folder
from ple_model.train import Options, Stop, train

SEED = 205
CUSTOMERS = 50_000
PRESET = "v3_14"
SETTINGS = (
    "training.batch_size=256",
    "training.schedule=cosine",
    "training.phase2_rate=0.1",
    "training.brand_blend=validation",
    "training.expert_supervision=3.0",
    "adatt.warmup_epochs=1",
    "direct_path={enabled: true, start: fitted, hidden_dims: [256, 128], dropout: 0.5, rate: 0.0, ridge: 0.0, "
    "blend: validation, bends: 32, brand_query: true}",
    "sae={activation: batchtopk, k: 32}",
    "evidential.kl_lambda=1.0",
    "task_experts.tasks.brand_prediction.domain_experts=[lightgcn]",
)
LENGTHS = {
    "full": ("training.phase1_epochs=3", "training.phase2_epochs=1", "adatt.freeze_epoch=3"),
    "cut-feed": ("training.phase1_epochs=6", "training.phase2_epochs=2", "adatt.freeze_epoch=6"),
}
CUT = ("txn_seq", "session_seq")
COLLAPSE = ("task_experts.tasks.nba.gate_bias={deepfm: 20.0}",)
"""A saturated softmax has no gradient, so this gate never looks at the other experts."""
SHARES = {"test": 0.96, "validation": 0.04}
"""Nearly all customers that the model never saw: calibration is judged from 500 rows on."""
STORED_CUSTOMERS = {"full": 640, "cut-feed": 500}
"""With weights and analyses 44.5 MB; all bundled runs together may have 45."""
LARGE = 4096
"""Numbers from which a tensor is rounded."""
COMMAND = "make sample-runs-full"
LEFT_BEHIND = ("state", "analysis", "sample")
"""Folders of the trained run that do not ship: the state of its training, and what is made anew."""


@dataclass(frozen=True)
class Plan:
    """What is made, and where. A bank, a dataset or a run that is there already may be given; each is used as it is. `cut`:
    input fields that never arrive."""

    work: Path
    out: Path
    bank: Path | None = None
    dataset: Path | None = None
    run: Path | None = None
    customers: int = CUSTOMERS
    seed: int = SEED
    stored: int = STORED_CUSTOMERS["full"]
    preset: str = PRESET
    settings: tuple[str, ...] = (*SETTINGS, *LENGTHS["full"])
    threads: int = 1
    cut: tuple[str, ...] = ()

    @classmethod
    def named(cls, name: str, work: Path, out: Path) -> Plan:
        """That of a bundled run, under `work` and `out`."""
        plan = cls(work / name, out / name, stored=STORED_CUSTOMERS[name], settings=(*SETTINGS, *LENGTHS[name]))
        if name == "full":
            return plan
        return replace(plan, customers=10_000, seed=7, cut=CUT, settings=(*plan.settings, *COLLAPSE))

    @cached_property
    def config(self) -> Config:
        return load_config(self.preset, overrides=self.settings)


class Stopped(Exception):
    """Asked to stop; the same command goes on."""


def make_full(plan: Plan, say: Callable[[str], None] = print, stop: Stop | None = None) -> Path:
    """Whatever is left to do of `plan`; the folder that ships. `Stopped` when `stop()` was true on the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    try:
        data = dataset(plan, say, stop)
        if stored(data) is None:
            say("baselines")
            measure(data, lambda share, what: _look(stop))
        run = trained(plan, data, say, stop)
        evaluated(plan, run, data, say)
        return shipped(plan, run, data, say)
    finally:
        torch.set_num_threads(before)


def events(plan: Plan, say: Callable[[str], None]) -> Path:
    """The bank: that of the plan, or generated. `UserError` if one is there of another seed or size."""
    folder = plan.bank or plan.work / "events"
    if not (folder / "events.json").exists():
        say(f"events of {plan.customers:,} customers, seed {plan.seed}")
        generate(folder, plan.customers, plan.seed, workers=min(8, os.cpu_count() or 1))
    made = EventsManifest.load(folder).parameters
    for name, wanted in (("customers", plan.customers), ("seed", plan.seed)):
        if made.get(name) != wanted:
            raise UserError(f"{folder}: the bank's {name} is {made.get(name)!r}, asked for is {wanted}; choose another folder")
    return folder


def dataset(plan: Plan, say: Callable[[str], None], stop: Stop | None = None) -> Dataset:
    """The dataset: one that is there is used as it is, since a run that was begun on it goes on with no other."""
    folder = plan.dataset or plan.work / "dataset"
    if not (folder / "dataset.json").exists():
        bank = events(plan, say)
        say("dataset")
        build(bank, folder, progress=lambda step, share: _look(stop))
    data = Dataset.open(folder)
    if not plan.cut:
        return data
    cut = plan.work / "cut"
    return Dataset.open(cut) if (cut / "dataset.json").exists() else cut_feed(data, cut, plan.cut)


def trained(plan: Plan, data: Dataset, say: Callable[[str], None], stop: Stop | None) -> Run:
    """The run, trained to its end. `UserError` if one is there under other settings, which would be another model's."""
    folder = plan.run or plan.work / "run"
    if (folder / "manifest.json").exists():
        there = load_run(folder)
        config, _ = fitted_to(plan.config, data, data.context())
        for key, (wanted, found) in changed_values(config_values(config), there.config).items():
            raise UserError(f"{folder}: its {key} is {found}, asked for is {wanted}; choose another folder")
        if there.manifest.status == "finished":
            return there
        say(f"training goes on: {folder}")
    else:
        say(f"training: {folder}")
    options = Options(device="auto", baselines=True, sample_customers=plan.stored, command=COMMAND)
    run = train(
        data, folder, plan.config, preset=plan.preset, resume=True, progress=lambda line: _epoch(line, say), stop=stop,
        options=options,
    )  # fmt: skip
    if run.manifest.status != "finished":
        raise Stopped
    return run


def evaluated(plan: Plan, run: Run, data: Dataset, say: Callable[[str], None]) -> None:
    """Every task on the test split beside what simpler answers reach: for people, not a part of the run."""
    place = plan.work / "evaluation.json"
    of = {"created": run.manifest.created, "finished": run.manifest.finished, "data": data.manifest.fingerprint}
    if place.exists() and json.loads(place.read_text(encoding="utf-8")).get("of") == of:
        return
    say("evaluation")
    found = evaluate(run, data, "test", bootstrap_rounds=200, boosting=True, device="cpu")
    plan.work.mkdir(parents=True, exist_ok=True)
    write_bytes(plan.work / "evaluation.txt", (found.table() + "\n").encode())
    write_json(place, {"of": of, **found.to_dict()})


def shipped(plan: Plan, run: Run, data: Dataset, say: Callable[[str], None]) -> Path:
    """The run as it ships, and the analysis of its customers by the program of now; analyses by other programs are dropped."""
    if not _is_shipped(plan, run):
        say(f"{plan.stored:,} customers stored with the run")
        with staged_folder(plan.out, replace=True) as fresh:
            shutil.copytree(run.path, fresh, dirs_exist_ok=True, ignore=_left_behind(run.path))
            say(f"weights in 16 bits: {rounded(fresh, data)}")
            write_sample(fresh, data, plan.stored, shares=SHARES, baselines=stored(data))
            write_fingerprint(fresh)
    say("analysis")
    kept = diagnose(plan.out).store.path
    for other in kept.parent.iterdir():
        if other != kept and other.is_dir():
            shutil.rmtree(other)
    return plan.out


def rounded(run: Path, data: Dataset) -> str:
    """Round the large matrices of a run to float16 in their file, and say how far that moves the outputs of some test rows. Not
    those of the direct path, which adds up hundreds of columns, some of them of many standard deviations. `UserError` where a
    weight is beyond what float16 holds."""
    path = run / "model.safetensors"
    tensors, metadata = read_tensors(path)
    large = {k for k, v in tensors.items() if v.dtype == torch.float32 and v.numel() >= LARGE and not k.startswith("direct.")}
    short = {k: v.half() if k in large else v for k, v in tensors.items()}
    wide = [k for k, v in short.items() if v.is_floating_point() and not torch.equal(v.isfinite(), tensors[k].isfinite())]
    if wide:
        raise UserError(f"{path}: '{wide[0]}' does not fit into 16 bits")
    inputs = data.load("test", limit=512).inputs
    with torch.no_grad():
        before = load_run(run).model()(inputs)
        write_tensors(path, short, metadata)
        after = load_run(run).model()(inputs)
    moved = {
        task: float((after.logits[task] - said).square().mean().sqrt() / said.std().clamp_min(1e-9))
        for task, said in before.logits.items()
    }
    worst = max(moved, key=lambda task: moved[task])
    return f"raw outputs of {len(inputs)} test rows move by at most {moved[worst]:.1e} of their spread ({worst})"


def _is_shipped(plan: Plan, run: Run) -> bool:
    """Is this very run there, with so many customers?"""
    if not (plan.out / "manifest.json").exists() or not (plan.out / "sample" / "dataset.json").exists():
        return False
    there = load_run(plan.out)
    same = (there.manifest.created, there.manifest.finished) == (run.manifest.created, run.manifest.finished)
    return same and len(np.unique(np.asarray(there.sample().table(["customer_id"]).column(0)).astype(str))) == plan.stored


def _left_behind(run: Path) -> Callable[[str, list[str]], list[str]]:
    """For `copytree`: what of the trained run's own folder stays where it is."""
    return lambda folder, names: [n for n in names if n in LEFT_BEHIND] if Path(folder) == run else []


def _look(stop: Stop | None) -> None:
    if stop is not None and stop():
        raise Stopped


def _epoch(line: Mapping[str, Any], say: Callable[[str], None]) -> None:
    if line["event"] == "epoch":
        say(f"  epoch {line['epoch']}: {line['valid']['mean_ratio']:.3f} of the constant predictor, {line['seconds']:.0f} s")
