"""`fingerprint.json` of a run: what training wrote, so that a later reader knows whether it is still that.

    tensors      a mark a tensor of model.safetensors (`tensor_marks`)
    preprocess   a hash a file of preprocess/, and of JSON and npz files one a part (a task's calibration, an array)
    config       hash of config.yaml
    settings     its values key by key, so that a later reader can say which one changed
    sample       fingerprint of the stored customers' files
    stored       marks of their rows by key (`row_marks`), which know them in another order too
    outputs      what each part of the model says of the first stored rows (`module_outputs`), on the CPU
    experts      by expert: mean norm and spread of its output on those rows, and how many of them it has input for
    gates        by task: mean largest weight and mean entropy on those rows
    environment  versions, device of the training, threads and instruction set that the outputs were computed with

Written at the very end of a training from the files themselves, so that what is marked is what a reader will find. Runs of
before have none.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ple_model.batch import PLEClusterInput
from ple_model.config_values import config_values
from ple_model.errors import UserError
from ple_model.files import read_json, read_tensors, write_json
from ple_model.model import PLEClusterAdaTT
from ple_model.module_outputs import ROWS, OutputMark, output_marks, read_marks, row_sizes
from ple_model.provenance import library_versions
from ple_model.row_marks import RowMarks, key_hashes, row_marks
from ple_model.run import Run, load_run
from ple_model.safe_arrays import read_npz
from ple_model.safe_paths import is_file, is_folder, open_file
from ple_model.sources import source_digest
from ple_model.stored import Stored
from ple_model.tensor_marks import HASH, TensorMark, marks
from ple_model.tensors import as_numpy

FILE = "fingerprint.json"
FORMAT = 1
PARTS_BYTES = 32 << 20
"""A larger file of preprocess/ is hashed as a whole only."""


@dataclass(frozen=True)
class FileMark:
    """A file's hash, and those of its parts where it has any."""

    hash: str
    parts: dict[str, str] = field(default_factory=dict)

    def changed_parts(self, other: FileMark) -> tuple[str, ...]:
        """Parts that are not the same in both."""
        return tuple(k for k in sorted({*self.parts, *other.parts}) if self.parts.get(k) != other.parts.get(k))


@dataclass(frozen=True)
class ExpertMark:
    norm: float
    spread: float
    rows: int


@dataclass(frozen=True)
class GateMark:
    top: float
    """Mean over rows of the largest weight."""
    entropy: float
    """Mean over rows, in nats."""


@dataclass(frozen=True)
class RunFingerprint:
    """See the module docstring."""

    tensors: dict[str, TensorMark]
    preprocess: dict[str, FileMark]
    config: str
    sample: str
    rows: int
    """Stored rows that `outputs`, `experts` and `gates` are of."""
    outputs: dict[str, OutputMark]
    experts: dict[str, ExpertMark]
    gates: dict[str, GateMark]
    environment: dict[str, str]
    stored: RowMarks | None = None
    """None: of a run of before they were kept, or of one without a sample."""
    settings: dict[str, str] | None = None
    """Values of the configuration by key; None: of a run of before they were kept."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "environment": self.environment,
            "config": self.config,
            "settings": self.settings,
            "sample": self.sample,
            "stored": None if self.stored is None else self.stored.to_dict(),
            "rows": self.rows,
            "tensors": {k: v.to_dict() for k, v in self.tensors.items()},
            "preprocess": {k: {"hash": v.hash, "parts": v.parts} for k, v in self.preprocess.items()},
            "outputs": {k: v.to_dict() for k, v in self.outputs.items()},
            "experts": {k: {"norm": v.norm, "spread": v.spread, "rows": v.rows} for k, v in self.experts.items()},
            "gates": {k: {"top": v.top, "entropy": v.entropy} for k, v in self.gates.items()},
        }

    def save(self, run: Path) -> None:
        """Put `fingerprint.json` in place (temporary file, then rename)."""
        write_json(run / FILE, self.to_dict())

    @staticmethod
    def load(run: Path) -> RunFingerprint | None:
        """What training left; None for a run that has none. `UserError` names a damaged file."""
        path = run / FILE
        if not is_file(path):
            return None
        found = Stored.of(path, read_json(path))
        found.whole("format", FORMAT, FORMAT)
        tensors, files, experts, gates = (found.mapping(k) for k in ("tensors", "preprocess", "experts", "gates"))
        said = found.mapping("environment")
        return RunFingerprint(
            tensors={k: TensorMark.from_stored(tensors.mapping(k)) for k in tensors.values},
            preprocess={k: _file_mark(files.mapping(k)) for k in files.values},
            config=found.text("config", 64),
            sample=found.text("sample", 200),
            stored=RowMarks.from_stored(found.mapping("stored")) if found.has("stored") else None,
            rows=found.whole("rows"),
            outputs=dict(read_marks(found.mapping("outputs"))),
            experts={k: _expert_mark(experts.mapping(k)) for k in experts.values},
            gates={k: _gate_mark(gates.mapping(k)) for k in gates.values},
            environment={k: said.text(k, 200) for k in said.values},
            settings=_settings(found.mapping("settings")) if found.has("settings") else None,
        )


def _file_mark(found: Stored) -> FileMark:
    parts = found.mapping("parts")
    return FileMark(found.text("hash", 64), {k: parts.text(k, 64) for k in parts.values})


def _settings(found: Stored) -> dict[str, str]:
    return {k: found.text(k) for k in found.values}


def _expert_mark(found: Stored) -> ExpertMark:
    return ExpertMark(found.number("norm", finite=False), found.number("spread", finite=False), found.whole("rows"))


def _gate_mark(found: Stored) -> GateMark:
    return GateMark(found.number("top", finite=False), found.number("entropy", finite=False))


def write_fingerprint(run: Path) -> None:
    """Mark what lies in the folder now. Call it after whatever a training writes, its sample included."""
    opened = load_run(run)
    tensors, _ = read_tensors(run / "model.safetensors")
    model = opened.model("cpu", finite=False)
    inputs = stored_rows(opened)
    experts, gates = ({}, {}) if inputs is None else shape_of(model, inputs)
    RunFingerprint(
        tensors=marks(tensors),
        preprocess=preprocess_marks(opened.preprocess),
        config=file_hash(run / "config.yaml"),
        settings=config_values(opened.config),
        sample=opened.sample().manifest.fingerprint if inputs is not None else "",
        stored=None if inputs is None else row_marks(opened.sample(), ROWS),
        rows=0 if inputs is None else len(inputs),
        outputs={} if inputs is None else output_marks(model, inputs),
        experts=experts,
        gates=gates,
        environment={"device": opened.manifest.device, **environment()},
    ).save(run)


def stored_rows(run: Run) -> PLEClusterInput | None:
    """The first rows of the stored sample; None where there is none."""
    try:
        batches = run.sample().batches(None, ROWS, window_rows=ROWS)
    except UserError:
        return None
    first = next(iter(batches), None)
    return None if first is None else first.inputs


def same_rows(run: Run, first: tuple[str, ...]) -> PLEClusterInput | None:
    """The stored rows with these hashes of their keys, in their order; None where one of them is not there."""
    sample = run.sample()
    total = sample.manifest.rows
    whole = next(iter(sample.batches(None, total, window_rows=total)))
    keys = key_hashes(whole.customer_id, whole.cutoff, whole.split)
    place = {f"{int(k):016x}": i for i, k in enumerate(keys)}
    if not set(first) <= place.keys():
        return None
    return whole.inputs.rows(torch.tensor([place[k] for k in first]))


@torch.no_grad()
def shape_of(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> tuple[dict[str, ExpertMark], dict[str, GateMark]]:
    """How large each expert's output is, and how each gate spreads its weight, on these rows."""
    output = model(inputs)
    experts, gates = {}, {}
    for name, value in output.encoded.expert_outputs.items():
        x = as_numpy(value)
        counted = as_numpy(output.encoded.expert_present[name]).astype(bool) & np.isfinite(x).all(1)
        experts[name] = ExpertMark(*row_sizes(x[counted]), int(counted.sum()))
    weights = as_numpy(output.gate_weights)
    weights = weights[np.isfinite(weights).all(axis=(1, 2))]
    for i, task in enumerate(model.task_names):
        w = weights[:, i]
        spread = -np.where(w > 0, w * np.log(np.where(w > 0, w, 1.0)), 0.0).sum(1)
        there = len(w) > 0
        gates[task] = GateMark(float(w.max(1).mean()) if there else math.nan, float(spread.mean()) if there else math.nan)
    return experts, gates


def preprocess_marks(folder: Path, then: Mapping[str, FileMark] | None = None) -> dict[str, FileMark]:
    """Every file below, by its name relative to `folder`. A file with the hash that it has in `then` is as marked there."""
    files = sorted(p for p in folder.rglob("*") if not is_folder(p) and not p.name.startswith("."))
    before = then or {}
    return {(name := p.relative_to(folder).as_posix()): _marked(p, before.get(name)) for p in files}


def _marked(path: Path, then: FileMark | None) -> FileMark:
    if then is not None and file_hash(path) == then.hash:
        return then
    try:
        parts = _parts(path) if path.stat().st_size <= PARTS_BYTES else {}
    except UserError:
        parts = {}
    return FileMark(file_hash(path), parts)


def _parts(path: Path) -> dict[str, str]:
    """Hash by array of an npz file, by key of a JSON file: two levels where the second is a mapping (a task's scaler)."""
    if path.suffix == ".npz":
        return {k: _digest(f"{v.dtype}|{v.shape}|".encode() + v.tobytes()) for k, v in read_npz(path).items()}
    if path.suffix != ".json":
        return {}
    value = read_json(path)
    out: dict[str, str] = {}
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        nested = isinstance(inner, Mapping) and 0 < len(inner) <= 100
        below = {f"{key}.{k}": v for k, v in inner.items()} if nested else {str(key): inner}
        out |= {k[:200]: _digest(json.dumps(v, sort_keys=True).encode()) for k, v in below.items()}
    return out if len(out) <= 1000 else {}


def environment() -> dict[str, str]:
    """What outputs may differ by although weights and rows are the same."""
    known = library_versions()
    return {
        **{k: known[k] for k in ("ple-scope", "python", "torch", "numpy") if k in known},
        "threads": str(torch.get_num_threads()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "code": source_digest("ple_model.model", "ple_model.data.dataset.reader"),
    }


def file_hash(path: Path) -> str:
    with open_file(path) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()[:HASH]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:HASH]
