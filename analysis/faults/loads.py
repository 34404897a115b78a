"""Partial loads: a part of the model, or of what lies beside it, is not what the training wrote."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path

import numpy as np

from analysis.faults.fault import Level, Plant, fault
from ple_model.data.dataset.normalize import Normalizer
from ple_model.experts.base import Expert
from ple_model.files import read_json, write_json
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.staging import staged_file

WEALTH = "spend_365d"


def _untrained(model: PLEClusterAdaTT) -> PLEClusterAdaTT:
    """The same model as it would start from another seed."""
    training = dataclasses.replace(model.config.training, seed=model.config.training.seed + 1)
    return PLEClusterAdaTT(dataclasses.replace(model.config, training=training), model.context)


def _reinitialise(model: PLEClusterAdaTT, *prefixes: str) -> None:
    fresh = _untrained(model).state_dict()
    for name, tensor in model.state_dict().items():
        if name.startswith(prefixes):
            tensor.copy_(fresh[name])


@fault(
    "expert-reinitialised",
    "weight",
    "A checkpoint was loaded without the tensors of some experts: they start anew.",
    levels=(Level("strong: deepfm, causal and raw_scale", 3.0), Level("weak: deepfm", 1.0)),
    family="partial load",
)
def _expert(count: float) -> Plant:
    names = ("deepfm", "causal", "raw_scale")[: int(count)]
    return Plant(weights=lambda model: _reinitialise(model, *(f"experts.{n}." for n in names)))


@fault(
    "expert-faint",
    "weight",
    "The last layer of an expert is a fraction of what it was.",
    levels=(Level("strong: a thousandth", 0.001), Level("weak: a tenth", 0.1)),
    family="partial load",
)
def _faint(factor: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        expert = model.experts["deepfm"]
        assert isinstance(expert, Expert)
        for p in expert.last_layer().parameters():
            p.data.mul_(factor)

    return Plant(weights=change)


@fault(
    "gates-loud",
    "weight",
    "The weights of all gates are a multiple of what they were.",
    levels=(Level("strong: 20 times", 20.0), Level("weak: 4 times", 4.0)),
    family="partial load",
)
def _loud(factor: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        model.cgc.linear.weight.data.mul_(factor)

    return Plant(weights=change)


@fault(
    "towers-reinitialised",
    "weight",
    "A checkpoint was loaded without its towers: they start anew.",
    levels=(Level("strong: all tensors", 1.0), Level("weak: the output layer", 0.0)),
    family="partial load",
)
def _towers(strength: float) -> Plant:
    return Plant(weights=lambda model: _reinitialise(model, "towers." if strength else "towers.out_"))


def _put(source: Path, target: Path) -> None:
    """Replace a file: the healthy run's own has another name for the same content."""
    with staged_file(target) as temporary:
        shutil.copyfile(source, temporary)


@fault(
    "calibration-of-another-run",
    "weight",
    "The calibration is that of another run.",
    levels=(Level("strong: all tasks", 1.0), Level("weak: churn", 0.0)),
    family="partial load",
)
def _calibration(strength: float) -> Plant:
    def change(run: Run, other: Run) -> tuple[str, ...]:
        target, source = run.preprocess / "calibration.json", other.preprocess / "calibration.json"
        if strength:
            _put(source, target)
        else:
            write_json(target, {**read_json(target), "churn": read_json(source)["churn"]})
        return (target.name,)

    return Plant(files=change)


@fault(
    "normaliser-of-another-run",
    "weight",
    "The normaliser is that of a run on wealthier customers; strong: the label scalers too.",
    levels=(Level("strong: normaliser and scalers", 1.0), Level("weak: the normaliser", 0.0)),
    family="partial load",
)
def _normaliser(strength: float) -> Plant:
    def change(run: Run, other: Run) -> tuple[str, ...]:
        sample = run.sample()
        schema, batch = sample.schema, sample.load(None)
        values = sample.normalizer().inverse(batch.inputs.features.numpy())
        spend = values[:, schema.index[WEALTH]]
        rich = spend > np.median(spend)
        made = Normalizer.fit(values[rich], [c.scale for c in schema.columns])
        with tempfile.TemporaryDirectory(dir=run.path) as folder:
            made.save(Path(folder))
            _put(Path(folder) / "normalizer.npz", run.preprocess / "normalizer.npz")
        if not strength:
            return ("normalizer.npz",)
        context = run.preprocess / "context.json"
        stored = read_json(context)
        for task, scaler in stored["label_scalers"].items():
            y = (batch.inputs.targets or {})[task].double().numpy()[rich]
            scaler.update(mean=float(np.nanmean(y)), std=float(np.nanstd(y)))
        write_json(context, stored)
        return ("normalizer.npz", "context.json")

    return Plant(files=change)
