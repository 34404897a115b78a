"""What an exported model takes and returns, as data: written beside it as JSON, so that its caller needs nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ple_model.amounts import Statistic
from ple_model.data.dataset.reader import Dataset
from ple_model.fields import FIELD_SHAPES
from ple_model.model import PLEClusterAdaTT
from ple_model.presence import task_of
from ple_model.run import Run

PRESENT = "present:"
"""Prefix of an input that says which rows have a field, or a part of `features`."""
FORMAT = 1


@dataclass(frozen=True)
class GraphInput:
    """One input: [rows, *shape] of `dtype`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str


@dataclass(frozen=True)
class GraphOutput:
    """One task's output: [rows, *shape] in float32."""

    name: str
    title: str
    kind: str
    shape: tuple[int, ...]
    meaning: str
    calibrated: bool = False
    unit: str = ""
    names: tuple[str, ...] = ()
    """Of its classes or brands, in the order of its columns."""
    statistic: Statistic | None = None
    """Of an amount: whether it is a mean."""
    trained: bool = True
    """False where the task had no label to learn from: its output means nothing."""
    condition: str = ""
    """For whom the task is defined."""


@dataclass(frozen=True)
class GraphSignature:
    run: str
    fingerprint: str
    """Of the data that it was trained on."""
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def signature_of(run: Run, model: PLEClusterAdaTT, rows: Dataset) -> GraphSignature:
    """`rows`: a dataset of the columns that the run was trained on."""
    return GraphSignature(
        run.name, run.manifest.data.fingerprint, (*_fields(rows), *_presence(rows)),
        tuple(_output(run, model, task) for task in model.task_names),
    )  # fmt: skip


def _fields(rows: Dataset) -> list[GraphInput]:
    found = []
    for name in ("features", "cluster_ids", *(f for f in rows.manifest.fields if f not in ("features", "cluster_ids"))):
        shape = (rows.width,) if name == "features" else FIELD_SHAPES[name]
        dtype = "int64" if not shape else "bool" if name.endswith("_mask") else "float32"
        found.append(GraphInput(name, shape, dtype, f"input field {name}, as `ple build` writes it (normalised)"))
    return found


def _presence(rows: Dataset) -> list[GraphInput]:
    keys = [k for k in rows.manifest.presence if task_of(k) is None]
    meaning = "which rows have {}; what the others hold there is not read"
    return [GraphInput(f"{PRESENT}{k}", (), "bool", meaning.format(k)) for k in keys]


def _output(run: Run, model: PLEClusterAdaTT, task: str) -> GraphOutput:
    spec = model.tasks[task]
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    calibrated = spec.kind == "binary" and task in run.calibration
    if spec.kind == "binary":
        meaning = "probability, calibrated on validation customers" if calibrated else "probability, not calibrated"
    elif spec.kind == "multiclass":
        shape, names = (spec.out_dim,), tuple(model.context.class_names.get(task) or spec.classes)
        meaning = "probability of each class"
    elif spec.kind == "contrastive":
        shape, names = (len(model.context.brands),), tuple(model.context.brands)
        meaning = "probability of each brand"
    else:
        shape = () if spec.out_dim == 1 else (spec.out_dim,)
        meaning = "amount, in the unit that pages show"
    return GraphOutput(
        task, spec.title, spec.kind, shape, meaning, calibrated, spec.unit, names,
        model.shows(task) if spec.kind == "regression" else None, model.context.learned(task), spec.condition.en,
    )  # fmt: skip
