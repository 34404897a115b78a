"""The run folder: the only contract between training and the app.

    manifest.json      what was trained, on what, with what, and how it ended
    config.yaml        the whole merged config, the list of the model's tasks included
    model.safetensors  the best weights so far
    progress.jsonl     losses, gates, gradients by epoch
    metrics.json       metrics by task on the validation and the test split
    distillation.json  of a student (`ple distill`): itself beside its teacher, size and latency
    fingerprint.json   hashes of all that training wrote, and what each part of the model said of the sample then
    preprocess/        what a new customer needs: context, normaliser, mixtures, HMMs, calibration.json
    sample/            a small dataset of customers, in the dataset format
    state/             resume state, lock, place of the dataset, a teacher's answers; left out of runs that are shipped
    analysis/          what `ple diagnose` stored

No file is a pickle: a folder from a stranger is safe to open, and a damaged or foreign one is a `UserError` of one
sentence. The format has a version; a change of it adds a migration (`migrations.py`) and keeps an old run as a test fixture.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ple_model.amounts import AmountMap, MeanShift, checked, checked_shifts
from ple_model.calibration import CalibrationMap
from ple_model.config import Config, config_from_dict
from ple_model.context import ModelContext
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import load_weights, read_json, read_tensors, write_json
from ple_model.migrations import migrated
from ple_model.progress import read_progress
from ple_model.run_kind import ENCODER, kind_of
from ple_model.run_manifest import Manifest
from ple_model.safe_paths import check_tree, is_file, open_file, write_bytes
from ple_model.safe_text import read_yaml
from ple_model.storage.cache import hold_copy
from ple_model.stored import Stored, shown
from ple_model.stored_metrics import checked_metrics
from ple_model.tasks import TASKS

if TYPE_CHECKING:
    from ple_model.model import PLEClusterAdaTT


HASHED = 16
"""Hex digits of a file's hash in fingerprint.json."""
LONGEST_LINE = 1 << 20
"""Bytes that are read of the first line of progress.jsonl."""


@dataclass(frozen=True)
class Run:
    """A run folder, opened. Weights, sample and metrics are read when asked for."""

    path: Path
    manifest: Manifest
    settings: Mapping[str, Any]
    """The configuration as plain data."""

    @cached_property
    def config(self) -> Config:
        """`UserError` names the key that is not valid. Its experts are classes of torch, which a page of numbers does not need:
        so it is made when it is asked for."""
        try:
            config = config_from_dict(self.settings)
        except UserError as e:
            raise UserError(f"{self.path / 'config.yaml'}: {e}") from e
        return _in_order(config, self.manifest.experts or _started_with(self.path))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks in their order, without torch where the file lists them, as all that a training writes do."""
        section = self.settings.get("task_experts")
        listed = section.get("enabled_tasks") if isinstance(section, Mapping) else None
        if isinstance(listed, list) and listed and set(map(str, listed)) <= set(TASKS):
            return tuple(map(str, listed))
        return tuple(self.config.tasks)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def preprocess(self) -> Path:
        """Folder of what a new customer needs."""
        return self.path / "preprocess"

    @property
    def live(self) -> bool:
        """Is a process training this run now? It holds the lock, so this is right after a crash too."""
        return lock_held(self.path)

    @property
    def state(self) -> str:
        """The manifest's status, except that a run called running whose process is gone is `interrupted`."""
        status = self.manifest.status
        return "interrupted" if status == "running" and not self.live else status

    @cached_property
    def _context(self) -> ModelContext:
        return ModelContext.load(self.preprocess)

    def context(self) -> ModelContext:
        """What the model knows of its data. `UserError` if `preprocess/` is damaged."""
        return self._context

    def model(self, device: str = "cpu", *, finite: bool = True) -> PLEClusterAdaTT:
        """The trained model in eval mode. `UserError` if the weights are missing, truncated or another model's, or if a weight,
        buffer or label scaler is no number; `finite=False` is for who looks for the cause."""
        from ple_model.device import pick_device  # late: torch
        from ple_model.finite import bad_tensors, listed, tensors_sentence  # late: torch
        from ple_model.model import PLEClusterAdaTT  # late: the whole model

        path = self.path / "model.safetensors"
        if not is_file(path):
            raise UserError(f"{self.path} has no weights yet: model.safetensors is written after the first epoch")
        tensors, _ = read_tensors(path)
        try:
            model = PLEClusterAdaTT(self.config, self.context())
        except (RuntimeError, MemoryError, ValueError) as e:
            raise UserError(f"{self.path / 'config.yaml'}: the model cannot be built: {' '.join(str(e).split())}") from e
        load_weights(model, tensors, path)
        bad = bad_tensors(tensors.items())
        if finite and bad:
            raise UserError(f"{tensors_sentence(str(path), bad)}; `ple diagnose {self.path}` says what they reach")
        if finite and self.context().nonfinite:
            named = listed(self.context().nonfinite)
            raise UserError(f"{self.preprocess}: {named} hold NaN or Inf; `ple diagnose {self.path}` says what they reach")
        model.amounts = {k: v for k, v in self.amounts.items() if k in model.tasks}
        model.shifts = {k: v for k, v in self.shifts.items() if k in model.tasks}
        return model.to(pick_device(device)).eval()

    def sample(self) -> Dataset:
        """The customers stored with the run, as a small dataset."""
        if not is_file(self.path / "sample" / "dataset.json"):
            raise UserError(f"{self.path} has no sample yet: it is written when the training ends")
        return Dataset.open(self.path / "sample")

    def dataset(self) -> Dataset | None:
        """The dataset it was trained on, if it is still where it was and its fingerprint is the same; else None."""
        try:
            place = Stored.of(self.path, read_json(self.path / "state" / "dataset.json")).text("path")
            if not Path(place).is_absolute():
                return None
            hold_copy(Path(place))
            found = Dataset.open(Path(place))
        except UserError:
            return None
        return found if found.manifest.fingerprint == self.manifest.data.fingerprint else None

    def progress(self, *, steps: bool = True) -> list[dict[str, Any]]:
        """Lines of `progress.jsonl`; `steps=False`: without the step events."""
        return read_progress(self.path / "progress.jsonl", steps=steps)

    def metrics(self) -> dict[str, Any]:
        """`metrics.json`; empty until the training has ended."""
        path = self.path / "metrics.json"
        return checked_metrics(path, read_json(path)) if is_file(path) else {}

    @cached_property
    def calibration(self) -> dict[str, CalibrationMap]:
        """Calibration by binary task; empty until the training has ended."""
        path = self.preprocess / "calibration.json"
        if not is_file(path):
            return {}
        stored = Stored.of(path, read_json(path)).values
        found: dict[str, CalibrationMap] = {}
        for task, raw in stored.items():
            try:
                found[task] = CalibrationMap.from_dict(raw)
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as e:
                raise UserError(f"{path} is damaged: task '{task}': {shown(str(e))}") from e
        return found

    @cached_property
    def amounts(self) -> dict[str, AmountMap]:
        """Predicted logarithm -> mean amount, by task whose label is a logarithm; empty until the training has ended, and for
        runs of before it was kept, whose amounts are medians."""
        path = self.preprocess / "amounts.json"
        return checked(read_json(path), str(path)) if is_file(path) else {}

    @cached_property
    def shifts(self) -> dict[str, MeanShift]:
        """What makes predictions of a label that is no logarithm add up, by task; empty until the training has ended, and for
        runs of before it was kept."""
        path = self.preprocess / "shifts.json"
        return checked_shifts(read_json(path), str(path)) if is_file(path) else {}

    def __repr__(self) -> str:
        m = self.manifest
        return f"Run({str(self.path)!r}, {m.preset}, {self.state}, data {m.data.name!r}, {m.parameters:,} parameters)"


@dataclass(frozen=True)
class RunEntry:
    """One folder in a list of runs: its manifest, or the sentence that says why it cannot be opened."""

    path: Path
    name: str
    manifest: Manifest | None = None
    state: str | None = None
    error: str | None = None


def lock_path(run: Path) -> Path:
    return run / "state" / "lock"


def lock_held(run: Path) -> bool:
    """Does some process hold the run's training lock? Never creates a file."""
    try:
        with open_file(lock_path(run)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, UserError):  # none, or a place where nobody can be training
        return False
    return False


def load_run(path: Path | str) -> Run:
    """Open a run folder. `UserError` in one sentence if it is none, is damaged, or needs a newer release."""
    path = Path(path)
    try:
        there = path.is_dir()
    except ValueError:  # a null byte
        there = False
    if not there:
        raise UserError(f"{str(path)!r}: no such run folder")
    if not os.path.lexists(path / "manifest.json"):
        if is_file(path / "dataset.json"):
            raise UserError(f"{path} is a dataset, not a run; `ple train {path} RUN` makes a run of it")
        raise UserError(f"{path} is not a run folder: it has no manifest.json")
    if kind_of(path) == ENCODER:
        raise UserError(f"{path} is an encoder run, no model; `ple train DATASET RUN --encoder {path}` makes one from it")
    check_tree(path)
    raw = read_json(path / "manifest.json")
    if not isinstance(raw, dict):
        raise UserError(f"{path / 'manifest.json'}: this is not the manifest of a run")
    try:
        config = read_yaml(path / "config.yaml")
    except FileNotFoundError as e:
        raise UserError(f"{path / 'config.yaml'} is missing") from e
    if not isinstance(config, dict):
        raise UserError(f"{path / 'config.yaml'} is damaged: it is not a mapping of sections")
    raw, config = migrated(path, raw, config)
    manifest = Manifest.from_dict(raw, path / "manifest.json")
    run = Run(path, manifest, config)
    if not _as_trained(path, manifest):
        _ = run.config
    return run


def _as_trained(path: Path, manifest: Manifest) -> bool:
    """Whether `config.yaml` is, byte by byte, what a training by this release wrote and read."""
    try:
        written = Stored.of(path / "fingerprint.json", read_json(path / "fingerprint.json")).text("config")
        with open_file(path / "config.yaml") as f:
            now = hashlib.file_digest(f, "sha256").hexdigest()
        release = version("ple-scope")
    except (OSError, UserError, PackageNotFoundError):
        return False
    return len(written) >= HASHED and now.startswith(written) and manifest.versions.get("ple-scope") == release


def _started_with(path: Path) -> list[str]:
    """The experts in their order as the first line of progress.jsonl has them; empty where it has none."""
    try:
        with open_file(path / "progress.jsonl") as f:
            first = json.loads(f.readline(LONGEST_LINE))
        found = first["experts"]
    except (OSError, UserError, ValueError, KeyError, TypeError):
        return []
    return found if isinstance(found, list) else []


def _in_order(config: Config, experts: list[str]) -> Config:
    """The weights were trained with the blocks of the experts in this order: that of the file's keys, which any tool may sort,
    means nothing. Left as it is where these are not its experts."""
    own = config.shared_experts
    if list(own) == experts or sorted(own) != sorted(map(str, experts)):
        return config
    return dataclasses.replace(config, shared_experts={name: own[name] for name in experts})


def list_runs(folder: Path | str) -> list[RunEntry]:
    """The models directly under `folder`, newest first; folders that look like runs but cannot be opened carry an error."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of runs")
    found: list[RunEntry] = []
    try:
        inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as e:
        raise UserError(f"{folder} cannot be read: {e.strerror or e}") from e
    for path in inside:
        if not os.path.lexists(path / "manifest.json") or kind_of(path) == ENCODER:
            continue
        try:
            if path.is_symlink():
                raise UserError(f"{path} is a link; a folder of runs holds the runs themselves")
            run = load_run(path)
            found.append(RunEntry(path, path.name, run.manifest, run.state))
        except UserError as e:
            found.append(RunEntry(path, path.name, error=str(e)))
    return sorted(found, key=lambda r: r.manifest.created if r.manifest else "", reverse=True)


def write_amounts(run: Path, maps: Mapping[str, AmountMap]) -> None:
    write_json(run / "preprocess" / "amounts.json", {k: m.to_dict() for k, m in maps.items()})


def write_shifts(run: Path, shifts: Mapping[str, MeanShift]) -> None:
    write_json(run / "preprocess" / "shifts.json", {k: s.to_dict() for k, s in shifts.items()})


def write_calibration(run: Path, maps: Mapping[str, CalibrationMap]) -> None:
    write_json(run / "preprocess" / "calibration.json", {k: m.to_dict() for k, m in maps.items()})


def write_config(run: Path, config: Config) -> None:
    write_bytes(run / "config.yaml", config.to_yaml().encode())
