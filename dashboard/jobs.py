"""Trainings as jobs (`dashboard.job_store`): a row says what to train (data, run, settings), and `command` builds what runs
from values that were checked when they were read back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from dashboard.job_store import Record, Status, Store, facts_of, held, jobs_root, slot_path
from ple_model.commands_model import MODES
from ple_model.errors import UserError
from ple_model.progress_shape import fits
from ple_model.safe_paths import make_folder, tail, write_bytes
from ple_model.safe_text import read_object
from ple_model.state_folder import state_root
from ple_model.training.pause import NAME as PAUSE

__all__ = ["Job", "JobStore", "Training", "command", "held", "jobs_root", "progress", "slot_path", "stands_still", "state_root"]
PRESET = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
OVERRIDE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*=.*", re.DOTALL)
LINE_BYTES = 200_000
"""The last bytes of a progress file that the sidebar reads."""

SAID_BYTES = 10_000
"""The last bytes that hold what it said last, where that is short."""


@dataclass(frozen=True)
class Training:
    """What to train: `dataset` and `run` are absolute folders, `settings` are `key=value`, `config` is YAML text or empty."""

    dataset: Path
    run: Path
    preset: str = "small"
    settings: tuple[str, ...] = ()
    config: str = ""
    device: str = "auto"
    resume: bool = False
    parent: Path | None = None
    """The run whose weights it starts from."""
    phase_2: bool = False
    """Only the second phase, from the parent's weights."""
    encoder: Path | None = None
    """The encoder of `ple pretrain` that its temporal expert starts from."""
    encoder_mode: str = "frozen"

    def __post_init__(self) -> None:
        for path in (self.dataset, self.run, *(p for p in (self.parent, self.encoder) if p is not None)):
            if not path.is_absolute() or "\0" in str(path):
                raise UserError(f"training job: {str(path)!r} is not an absolute path")
        if PRESET.fullmatch(self.preset) is None:
            raise UserError(f"training job: {self.preset!r} is not the name of a preset")
        if DEVICE.fullmatch(self.device) is None:
            raise UserError(f"training job: {self.device!r} is not a device")
        if self.encoder_mode not in MODES:
            raise UserError(f"training job: {self.encoder_mode!r} is none of {', '.join(MODES)}")
        for item in self.settings:
            if not isinstance(item, str) or "\0" in item or OVERRIDE.fullmatch(item) is None:
                raise UserError(f"training job: {item!r} is not key=value")


@dataclass(frozen=True)
class Job(Record):
    """One training job."""

    training: Training

    @property
    def target(self) -> Path:
        return self.training.run

    @property
    def work(self) -> Training:
        return self.training

    @property
    def run(self) -> Path:
        """The folder it writes."""
        return self.training.run

    def outcome(self) -> Status:
        """The run's manifest knows whether training ended."""
        try:
            status = read_object(self.run / "manifest.json").get("status")
        except (OSError, UserError):
            return "lost"
        return status if status in ("finished", "stopped", "failed") else "lost"


def command(training: Training, config: Path | None = None) -> tuple[str, ...]:
    """The `ple train` argument list, the same a person would type; `config` is the file that holds its YAML.

    A resumed run goes on under its own config, which stands beside no other; one that never began is begun.
    """
    words = [sys.executable, "-m", "ple_model", "train", str(training.dataset), str(training.run)]
    resumed = training.resume and (training.run / "manifest.json").exists()
    if resumed:
        words.append("--resume")
    else:
        words += ["--preset", training.preset]
        if config is not None:
            words += ["--config", str(config)]
        for item in training.settings:
            words += ["--set", item]
        if training.parent is not None:
            words += ["--from", str(training.parent), *(["--phase-2"] if training.phase_2 else [])]
        if training.encoder is not None:
            words += ["--encoder", str(training.encoder), "--encoder-mode", training.encoder_mode]
    return (*words, "--device", training.device)


@dataclass(frozen=True)
class JobStore(Store[Job]):
    """The trainings of one folder of runs."""

    table: ClassVar[str] = "trainings"
    target_column: ClassVar[str] = "run"
    columns: ClassVar[tuple[str, ...]] = (
        "run TEXT NOT NULL", "dataset TEXT NOT NULL", "preset TEXT NOT NULL", "settings TEXT NOT NULL", "config TEXT NOT NULL",
        "device TEXT NOT NULL", "resume INTEGER NOT NULL", "parent TEXT NOT NULL DEFAULT ''",
        "phase_2 INTEGER NOT NULL DEFAULT 0", "encoder TEXT NOT NULL DEFAULT ''",
        "encoder_mode TEXT NOT NULL DEFAULT 'frozen'",
    )  # fmt: skip

    def read(self, row: sqlite3.Row) -> Job:
        try:
            settings = json.loads(row["settings"])
            if not isinstance(settings, list) or not isinstance(row["config"], str):
                raise UserError(f"job {row['id']!r:.60}: its row is damaged")
            training = Training(
                Path(row["dataset"]), Path(row["run"]), str(row["preset"]), tuple(settings), row["config"],
                str(row["device"]), bool(row["resume"]), Path(row["parent"]) if row["parent"] else None, bool(row["phase_2"]),
                Path(row["encoder"]) if row["encoder"] else None, str(row["encoder_mode"]),
            )  # fmt: skip
        except (TypeError, ValueError) as e:
            raise UserError(f"job {row['id']!r:.60}: its row is damaged ({e})") from e
        return Job(**facts_of(row), training=training)

    def config_path(self, training: Training) -> Path | None:
        """Where the YAML of a training is written when it starts; None for one without."""
        return self._yaml_path(training.config) if training.config else None

    def _yaml_path(self, text: str) -> Path:
        return self.root / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"

    def command(self, training: Training) -> tuple[str, ...]:
        """What the worker runs."""
        return command(training, self.config_path(training))

    def words(self, job: Job) -> tuple[str, ...]:
        return self.command(job.training)

    def prepare(self, job: Job) -> None:
        if job.training.config:
            self.keep_yaml(job.training.config)

    def keep_yaml(self, text: str) -> None:
        """Put a YAML where the command of its training looks for it."""
        make_folder(self.root)
        write_bytes(self._yaml_path(text), text.encode())

    def note_parent(self, job_id: str, name: str) -> None:
        """Remember the run that was looked at when this training was started: what it will be compared with."""
        write_bytes(self._parent_path(job_id), name.encode())

    def parent(self, job_id: str) -> str | None:
        """That run's name."""
        try:
            return tail(self._parent_path(job_id), 1000).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def _parent_path(self, job_id: str) -> Path:
        return self.log_path(job_id).with_suffix(".parent")

    def pause_path(self, job: Job) -> Path:
        return job.run / "state" / PAUSE

    def stands_still(self, job: Job) -> bool:
        return stands_still(job.run)

    def start(self, training: Training) -> Job:
        """Queue a training and start its worker; returns at once. A run folder that an active job writes is refused."""
        values = {
            "run": str(training.run), "dataset": str(training.dataset), "preset": training.preset,
            "settings": json.dumps(training.settings), "config": training.config, "device": training.device,
            "resume": int(training.resume), "parent": str(training.parent or ""), "phase_2": int(training.phase_2),
            "encoder": str(training.encoder or ""), "encoder_mode": training.encoder_mode,
        }  # fmt: skip
        taken = f"{training.run} is being trained already; stop that job or choose another name"
        return self.begin(training.run, values, taken, f"{training.run}: the training could not be started")

    def resume(self, job_id: str) -> Job:
        """Start a job's training again from where its run stands."""
        return self.start(replace(self.get(job_id).training, resume=True))


def stands_still(run: Path) -> bool:
    """Whether the last that a training said is that it does."""
    lines = progress(run, SAID_BYTES)
    return bool(lines) and lines[-1].get("event") == "paused"


def progress(run: Path, limit: int = LINE_BYTES) -> list[dict[str, Any]]:
    """The last lines of a run's `progress.jsonl` (at most `limit` bytes); a torn first or last line is skipped."""
    try:
        lines = tail(run / "progress.jsonl", limit).splitlines()
    except (FileNotFoundError, UserError):
        return []
    out: list[dict[str, Any]] = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            if fits(value):
                out.append(value)
    return out
