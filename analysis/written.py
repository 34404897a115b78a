"""A run folder against its `fingerprint.json`: which bytes changed and how, and which part of the model says something else."""

from __future__ import annotations

from dataclasses import replace

import torch

from analysis.stats.written import TensorChange, Written
from ple_model.config_values import changed_values
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.module_outputs import output_marks
from ple_model.run import Run
from ple_model.run_fingerprint import RunFingerprint, environment, file_hash, preprocess_marks, stored_rows
from ple_model.tensor_marks import TensorMark, change, mark

OLDER = "This run is of before fingerprint.json was kept: nobody knows what its training wrote."
UNFINISHED = "The training has not come to its end, where fingerprint.json is written."
LIKE = 0.25
"""Relative difference of root mean squares up to which a tensor has the size of a fresh start."""
FEW = 64
"""Values below which a root mean square says nothing about a start."""


def written(run: Run, model: PLEClusterAdaTT) -> Written:
    """What training wrote against what is there. `model` is the run's, in eval mode on the CPU."""
    try:
        then = RunFingerprint.load(run.path)
    except UserError as e:
        return Written(reason=f"fingerprint.json cannot be read: {str(e).removeprefix(str(run.path) + '/')}.")
    if then is None:
        return Written(reason=OLDER if run.manifest.status == "finished" else UNFINISHED)
    tensors, _ = read_tensors(run.path / "model.safetensors")
    found = _tensors(then, tensors, run)
    now = preprocess_marks(run.preprocess)
    changed = {k: v for k, v in then.preprocess.items() if k in now and now[k].hash != v.hash}
    try:
        sample = "same" if run.sample().manifest.fingerprint == then.sample else "changed"
    except UserError:
        sample = "absent"
    said = environment()
    other = file_hash(run.path / "config.yaml") != then.config
    settings = changed_values(then.settings, run.config) if other and then.settings is not None else {}
    result = Written(
        modules=_count(tensors),
        tensors=found,
        files={k: v.changed_parts(now[k]) for k, v in changed.items()},
        gone=tuple(k for k in then.preprocess if k not in now),
        config=bool(settings) if then.settings is not None else other,
        settings=settings,
        sample=sample,
        rows=then.rows,
        environment={k: (v, said[k]) for k, v in then.environment.items() if k in said and said[k] != v},
        expert_norm={k: v.norm for k, v in then.experts.items()},
        expert_spread={k: v.spread for k, v in then.experts.items()},
        gate_top={k: v.top for k, v in then.gates.items()},
        gate_entropy={k: v.entropy for k, v in then.gates.items()},
    )
    if sample != "same" or result.changed:
        return result
    return replace(result, outputs=_outputs(then, run, model))


def module_of(tensor: str) -> str:
    """The part of the model that a tensor belongs to: an expert by its name, else the first word."""
    parts = tensor.split(".")
    return parts[1] if parts[0] == "experts" and len(parts) > 2 else parts[0]


def _count(tensors: dict[str, torch.Tensor]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in tensors:
        counts[module_of(name)] = counts.get(module_of(name), 0) + 1
    return counts


def _tensors(then: RunFingerprint, tensors: dict[str, torch.Tensor], run: Run) -> dict[str, TensorChange]:
    """The tensors that changed; how they began is asked only where one did."""
    moved = {k: c for k, v in tensors.items() if k in then.tensors and (c := change(then.tensors[k], v)) is not None}
    if not moved:
        return {}
    fresh = PLEClusterAdaTT(run.config, run.context()).state_dict()
    found = {}
    for name, how in moved.items():
        old, new = then.tensors[name], mark(tensors[name])
        start = _start(old, new, mark(fresh[name])) if name in fresh else ""
        found[name] = TensorChange(
            module_of(name), how.how, new.values, how.factor, how.place, how.was, how.now, old.size, new.size, start
        )
    return found


def _start(old: TensorMark, new: TensorMark, fresh: TensorMark) -> str:
    if new.hash == fresh.hash:
        return "same"
    alike = new.values >= FEW and abs(new.size - fresh.size) <= LIKE * fresh.size
    return "like" if alike and abs(new.size - fresh.size) < abs(old.size - fresh.size) else ""


def _outputs(then: RunFingerprint, run: Run, model: PLEClusterAdaTT) -> dict[str, float]:
    inputs = stored_rows(run)
    if inputs is None or len(inputs) != then.rows:
        return {}
    now = output_marks(model, inputs)
    return {k: v.distance(now[k]) for k, v in then.outputs.items() if k in now}
