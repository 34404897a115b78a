"""A run folder against its `fingerprint.json`: which bytes changed and how, and which part of the model says something else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from analysis.resaved import rounded_by
from analysis.stats.written import TensorChange, Written
from ple_model.batch import PLEClusterInput
from ple_model.config_values import changed_values
from ple_model.epochlog import StepSizes
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.module_outputs import output_marks
from ple_model.output import PLEClusterOutput
from ple_model.row_marks import row_marks
from ple_model.run import Run
from ple_model.run_fingerprint import (
    FileMark,
    RunFingerprint,
    environment,
    file_hash,
    preprocess_marks,
    same_rows,
    stored_rows,
)
from ple_model.safe_paths import is_folder
from ple_model.tensor_marks import TensorMark, change, in_16_bits, mark

OLDER = "This run is of before fingerprint.json was kept: nobody knows what its training wrote."
UNFINISHED = "The training has not come to its end, where fingerprint.json is written."
LIKE = 2.2
"""Standard errors, about three, by which the root mean square of n fresh values may differ: those of a normal distribution are
0.71 / sqrt(n) of it."""
FEW = 64
"""Values below which a root mean square says nothing about a start."""

SAME_SIZE = 1e-5
"""Relative difference of two norms of the same weights that summation in float32 in another order may make."""
OF_A_SPLIT = "constant_loss"
"""Of context.json what each dataset has of its own training rows."""
BLOCKS = {"direct_path": "direct"}
"""What the log calls otherwise than the tensors."""


@dataclass(frozen=True, eq=False)
class Said:
    """Rows that the model was asked about anyway, and what it said of them."""

    inputs: PLEClusterInput
    output: PLEClusterOutput


def written(run: Run, model: PLEClusterAdaTT, said: Said | None = None) -> Written:
    """What training wrote against what is there. `model` is the run's, in eval mode on the CPU; `said`: of the stored rows that
    the outputs of training are of, where a caller has it."""
    try:
        then = RunFingerprint.load(run.path)
    except UserError as e:
        return Written(reason=f"fingerprint.json cannot be read: {str(e).removeprefix(str(run.path) + '/')}.")
    if then is None:
        if run.manifest.status != "finished":
            return Written(reason=UNFINISHED)
        return Written(
            reason=OLDER, modules=_count(model.state_dict()), sizes=_resized(run, model),
            files=_disagreeing(run), rounded=in_16_bits([p for p in model.parameters() if p.dtype == torch.float32]),
        )  # fmt: skip
    tensors, _ = read_tensors(run.path / "model.safetensors")
    found = _tensors(then, tensors, run)
    now = preprocess_marks(run.preprocess, then.preprocess)
    changed = {k: v for k, v in then.preprocess.items() if k in now and now[k].hash != v.hash}
    kept = run.path / "sample" / "artifacts"
    resaved = {k: by for k in changed if (by := rounded_by(run.preprocess / k, kept / k, then.preprocess[k])) is not None}
    sample = _sample(then, run)
    here = environment()
    other = file_hash(run.path / "config.yaml") != then.config
    settings = changed_values(then.settings, run.config) if other and then.settings is not None else {}
    result = Written(
        modules=_count(tensors),
        tensors=found,
        files={k: v.changed_parts(now[k]) for k, v in changed.items() if k not in resaved},
        resaved=resaved,
        exchanged={k: p for k, v in changed.items() if (p := _exchanged(v, now[k]))},
        gone=tuple(k for k in then.preprocess if k not in now),
        config=bool(settings) if then.settings is not None else other,
        settings=settings,
        sample=sample.state,
        sample_parts=sample.parts,
        sample_keys=sample.other_keys,
        rows=then.rows,
        environment={k: (v, here[k]) for k, v in then.environment.items() if k in here and here[k] != v},
        expert_norm={k: v.norm for k, v in then.experts.items()},
        expert_spread={k: v.spread for k, v in then.experts.items()},
        gate_top={k: v.top for k, v in then.gates.items()},
        gate_entropy={k: v.entropy for k, v in then.gates.items()},
    )
    if sample.state == "changed" and sample.parts and not sample.other_keys and not result.changed:
        return replace(result, sample_effect=_outputs(then, run, model, None, by_key=True))
    if sample.state != "same" or (result.changed and not found):
        return result
    outputs = _outputs(then, run, model, said, by_key=sample.moved)
    if result.changed:
        return replace(result, effect=outputs)
    return replace(result, outputs=outputs)


@dataclass(frozen=True)
class _Sample:
    """The stored customers against those of training."""

    state: Literal["same", "changed", "absent"]
    parts: tuple[str, ...] = ()
    other_keys: bool = False
    moved: bool = False
    """the same rows, in another order"""


def _sample(then: RunFingerprint, run: Run) -> _Sample:
    """By the files' content; where that is another, by the content of the rows, whatever their order."""
    try:
        sample = run.sample()
    except UserError:
        return _Sample("absent")
    if sample.manifest.fingerprint == then.sample:
        return _Sample("same")
    if then.stored is None:
        return _Sample("changed")
    now = row_marks(sample, 0)
    if now.keys != then.stored.keys:
        return _Sample("changed", other_keys=True)
    parts = then.stored.changed(now)
    return _Sample("changed", parts) if parts else _Sample("same", moved=True)


def rows_of_training(run: Run) -> bool:
    """Whether the stored customers are, by their content, those that training stored, though their files are not."""
    try:
        then = RunFingerprint.load(run.path)
    except UserError:
        return False
    return then is not None and then.stored is not None and _sample(then, run).moved


def _exchanged(then: FileMark, now: FileMark) -> tuple[tuple[str, str], ...]:
    """Pairs of entries that hold each other's values: `churn.a` is what `retention.a` was, and the reverse."""
    names = sorted({k.split(".")[0] for k in then.changed_parts(now)})

    def inner(mark: FileMark, name: str) -> dict[str, str]:
        return {k[len(name) :]: v for k, v in mark.parts.items() if k == name or k.startswith(f"{name}.")}

    return tuple(
        (a, b)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if inner(then, a) == inner(now, b) and inner(then, b) == inner(now, a) and inner(then, a)
    )


def module_of(tensor: str) -> str:
    """The part of the model that a tensor belongs to: an expert by its name, else the first word."""
    parts = tensor.split(".")
    return parts[1] if parts[0] == "experts" and len(parts) > 2 else parts[0]


def _resized(run: Run, model: PLEClusterAdaTT) -> dict[str, tuple[float, float]]:
    """Modules whose weights have another norm than the log has of the epoch whose weights were kept."""
    kept = [e for e in run.progress(steps=False) if e.get("event") == "epoch" and e.get("best") is True]
    then = kept[-1].get("weight_norm") if kept else None
    if not isinstance(then, dict):
        return {}
    now = StepSizes(model).norms()
    logged = {k: v for k, v in then.items() if k in model.blocks() and isinstance(v, float) and v > 0}
    # weights that are all 0, or no numbers, have no norm
    return {BLOCKS.get(k, k): (v, now.get(k, 0.0)) for k, v in logged.items() if abs(now.get(k, 0.0) / v - 1) > SAME_SIZE}


def _disagreeing(run: Run) -> dict[str, tuple[str, ...]]:
    """Files of preprocess/ that are not those which the stored customers were made with, with the parts that both have and
    that differ."""
    folder = run.path / "sample" / "artifacts"
    if not is_folder(folder):
        return {}
    theirs, ours = preprocess_marks(folder), preprocess_marks(run.preprocess)
    found = {}
    for name, there in theirs.items():
        own = ours.get(name)
        if own is None or own.hash == there.hash:
            continue
        both = there.parts.keys() & own.parts.keys()
        parts = tuple(k for k in there.changed_parts(own) if k in both and not k.startswith(OF_A_SPLIT))
        if parts or not there.parts:
            found[name] = parts
    return found


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
        start = _start(old, new, mark(fresh[name]), ordered=how.how == "order") if name in fresh else ""
        found[name] = TensorChange(
            module_of(name), how.how, new.values, how.factor, how.place, how.was, how.now, old.size, new.size, start
        )
    return found


def _start(old: TensorMark, new: TensorMark, fresh: TensorMark, *, ordered: bool) -> str:
    if new.hash == fresh.hash:
        return "same"
    if ordered:  # the same values: their size says nothing
        return ""
    alike = new.values >= FEW and abs(new.size - fresh.size) <= LIKE * fresh.size / math.sqrt(new.values)
    return "like" if alike and abs(new.size - fresh.size) < abs(old.size - fresh.size) / 2 else ""


def _outputs(
    then: RunFingerprint, run: Run, model: PLEClusterAdaTT, said: Said | None, *, by_key: bool = False
) -> dict[str, float]:
    """`by_key`: the stored rows stand in another order than in training, or hold other values."""
    if by_key:
        said = None
        inputs = same_rows(run, then.stored.first) if then.stored is not None else None
    else:
        inputs = stored_rows(run) if said is None or len(said.inputs) != then.rows else said.inputs
    if inputs is None or len(inputs) != then.rows:
        return {}
    now = output_marks(model, inputs, said.output if said is not None and inputs is said.inputs else None)
    return {k: v.distance(now[k]) for k, v in then.outputs.items() if k in now}
